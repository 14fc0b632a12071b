"""Taking away what a recovery has used up, and a recovery itself."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core import paths
from core.weights.recovery import (
    Key,
    Recovery,
    bytes_at,
    folder,
    full_precision,
    keys,
    out_of,
    part_folder,
    workplace,
)  # fmt: skip
from core.weights.recovery_steps import steps


@dataclass(frozen=True)
class Spent:
    """Something made or downloaded here that no later step needs."""

    key: str
    """A step's, or `adapter`."""
    path: Path
    bytes: int


def spent_inputs(recovery: Recovery) -> list[Spent]:
    """What was downloaded or made here and has served. A person's own folders are never among them."""
    over = {step.key: step.over for step in steps(recovery, deep=False)}
    served: list[tuple[str, Path, bool]] = []
    if recovery.family != "merged":
        served += [(key, out_of(recovery, key), over["recover"]) for key in ("base", "delta")]
    if recovery.adapter is not None:
        served += [
            ("recover", out_of(recovery, "recover"), over["merge"]),
            ("adapter", part_folder(recovery, recovery.adapter, "adapter"), over["merge"]),
        ]
    served.append(("merge", full_precision(recovery), over["verify"]))
    mine = {part.folder for part in (recovery.base, recovery.delta, recovery.adapter) if part and part.folder}
    if recovery.family == "sample":
        mine = set()
    return [
        Spent(key, place, bytes_at(place))
        for key, place, has_served in served
        if has_served and place.is_dir() and place not in mine and _is_ours(recovery, place)
    ]


def remove_spent(recovery: Recovery, wanted: Iterable[str]) -> None:
    """Remove these of the spent inputs; others are left alone."""
    chosen = set(wanted)
    for spent in spent_inputs(recovery):
        if spent.key in chosen:
            _remove(spent.path)


def undo(recovery: Recovery, key: Key) -> None:
    """Remove what a step made and what was made of that; inputs stay."""
    order = keys(recovery)
    for later in order[order.index(key) :]:
        if later in ("recover", "merge", "export"):
            _remove(out_of(recovery, later))


def forget(recovery: Recovery) -> None:
    """Remove the choices and what was made on the way; the model that came out stays."""
    if _is_ours(recovery, workplace(recovery)):
        _remove(workplace(recovery))
    (folder() / f"{recovery.name}.json").unlink(missing_ok=True)


def _is_ours(recovery: Recovery, place: Path) -> bool:
    own = (workplace(recovery), paths.models() / recovery.name)
    return any(place.absolute().is_relative_to(root.absolute()) for root in own)


def _remove(place: Path) -> None:
    """Gone under its name at once, so that a kill half-way leaves nothing that looks whole."""
    if not place.exists():
        return
    grave = place.rename(place.with_name(f".removed-{secrets.token_hex(4)}"))
    shutil.rmtree(grave, ignore_errors=True) if grave.is_dir() else grave.unlink()
