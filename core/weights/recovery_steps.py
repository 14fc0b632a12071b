"""How far a recovery is, read off the outputs of its steps, and what each step runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from core import paths
from core.errors import UserError
from core.models import Card
from core.operation import Request
from core.weights import catalog, hashes, published, stream
from core.weights.adapter import MergeRequest, plan_merge
from core.weights.adapter_file import open_adapter
from core.weights.checkpoint import open_checkpoint
from core.weights.delta import RecoverRequest, plan_recover
from core.weights.download import DownloadRequest
from core.weights.export import ExportRequest, plan_export
from core.weights.recovery import (
    ZHIXI_MERGED,
    Key,
    Part,
    Recovery,
    bytes_at,
    card_of,
    full_precision,
    keys,
    out_of,
    part_folder,
    quant,
    stamp,
    workplace,
)  # fmt: skip
from core.weights.sample_family import SampleFamilyRequest
from core.weights.verify import VerifyRequest

State = Literal["done", "spent", "next", "waiting", "wrong"]
FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja", "LICENSE*")


@dataclass(frozen=True)
class Step:
    key: Key
    state: State
    out: Path
    size: int = 0
    """Bytes that lie there."""
    error: UserError | None = None
    """Why it can't be done with these choices."""

    @property
    def over(self) -> bool:
        return self.state in ("done", "spent")


def steps(recovery: Recovery, *, deep: bool = True) -> list[Step]:
    """Every step with its state. `deep` also asks whether the parts fit together and outputs are of these inputs."""
    found: dict[str, Step] = {}
    for key in reversed(keys(recovery)):
        out = out_of(recovery, key)
        there = _is_there(recovery, key)
        state: State = "done" if there else "waiting"
        if not there and any(found[later].over for later in _users(recovery, key)):
            state = "spent"
        found[key] = Step(key, state, out, bytes_at(out) if there else 0)
    order = [found[key] for key in keys(recovery)]
    return [_judged(recovery, step, found, deep=deep) for step in order]


def remaining(recovery: Recovery) -> list[Key]:
    return [step.key for step in steps(recovery, deep=False) if not step.over]


def not_chosen(recovery: Recovery) -> list[Key]:
    """The steps for which a folder or repository has still to be named, and is still needed."""
    left = remaining(recovery)
    parts: tuple[tuple[Key, Part | None], ...] = (
        ("base", recovery.base), ("delta", recovery.delta), ("merge", recovery.adapter),
    )  # fmt: skip
    return [key for key, part in parts if part is not None and key in left and not part.chosen]


def _judged(recovery: Recovery, step: Step, found: dict[str, Step], *, deep: bool) -> Step:
    """With what speaks against it, or `next` where all that it needs is there."""
    ready = all(found[before].state == "done" for before in _inputs(recovery, step.key))
    error = _wrong_folder(recovery, step) if not step.over else None
    if error is None and deep and ready:
        error = _misfit(recovery, step)
    if error is not None:
        return Step(step.key, "wrong", step.out, step.size, error)
    return step if step.over or not ready else Step(step.key, "next", step.out, step.size)


def _inputs(recovery: Recovery, key: Key) -> tuple[Key, ...]:
    if key in ("base", "delta"):
        return ()
    order = keys(recovery)
    return ("base", "delta") if key == "recover" else (order[order.index(key) - 1],)


def _users(recovery: Recovery, key: Key) -> list[Key]:
    return [later for later in keys(recovery) if key in _inputs(recovery, later) and later != "verify"]


def _is_there(recovery: Recovery, key: Key) -> bool:
    if key in ("base", "delta"):
        part: Part = getattr(recovery, key)
        return part.chosen and _part_error(recovery, part, key) is None and _is_whole(recovery, part, key)
    if key in ("recover", "merge"):
        return manifest(out_of(recovery, key), f"weights {key}") is not None
    model = paths.models() / recovery.name
    gguf = out_of(recovery, "export")
    known = card_of(model).files.get(gguf.name)
    if key == "export":
        return known is not None and gguf.is_file()
    return known is not None and all(hashes.remembered(place, name) for place, name in _to_verify(recovery))


def _to_verify(recovery: Recovery) -> list[tuple[Path, str]]:
    """(folder, file) of everything that is to be read again; what lies in the model's folder is checked with it."""
    gguf, full = out_of(recovery, "export"), full_precision(recovery)
    made = manifest(full, "") or {"files": card_of(full).files}
    inside = full.is_relative_to(gguf.parent)
    place, before = (gguf.parent, f"{full.relative_to(gguf.parent).as_posix()}/") if inside else (full, "")
    return [(gguf.parent, gguf.name), *((place, before + name) for name in made["files"])]


def _is_whole(recovery: Recovery, part: Part, key: str) -> bool:
    """A person's own folder is taken as it is; what is downloaded or made here is whole once its last file is there."""
    place = part_folder(recovery, part, key)
    if recovery.family == "sample":  # its adapter is made last
        return recovery.adapter is not None and manifest(recovery.adapter.folder or place, "") is not None
    if part.folder:
        return True
    known = card_of(place).files
    return bool(known) and all((place / name).is_file() for name in known)


def manifest(place: Path, operation: str) -> dict | None:
    """The manifest of weights made here, once every file it names is there; None before. "": of any operation."""
    try:
        made = json.loads((place / stream.MANIFEST).read_text("utf-8"))
        files = made["files"]
        whole = all((place / name).is_file() for name in files) and (len(files) < 2 or (place / stream.INDEX).is_file())
        return made if whole and operation in ("", made["operation"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _wrong_folder(recovery: Recovery, step: Step) -> UserError | None:
    """Why the chosen folder of an own part can't be used. What is yet to be downloaded or made is no error."""
    part = {"base": recovery.base, "delta": recovery.delta, "merge": recovery.adapter}.get(step.key)
    if part is None or part.folder is None or recovery.family == "sample":
        return None
    return _part_error(recovery, part, "adapter" if step.key == "merge" else step.key)


def _part_error(recovery: Recovery, part: Part, key: str) -> UserError | None:
    place = part_folder(recovery, part, key)
    return _error_in(place, key == "adapter", stamp(place))


@lru_cache(maxsize=64)
def _error_in(place: Path, is_adapter: bool, at: tuple) -> UserError | None:
    """Read anew only when the folder has changed since."""
    try:
        open_adapter(place) if is_adapter else open_checkpoint(place)
    except UserError as error:
        return error
    return None


def _misfit(recovery: Recovery, step: Step) -> UserError | None:
    """Whether the inputs belong together, asked of the operation's own plan; and whether an output is theirs."""
    try:
        if step.key == "recover":
            plan = plan_recover(_recover(recovery))
        elif step.key == "merge" and _adapter_is_there(recovery):
            plan = plan_merge(_merge(recovery))
        elif step.key == "export" and step.state != "done":
            plan_export(_export(recovery))
            return None
        else:
            return None
    except UserError as error:
        return error if step.state != "done" else None
    made = manifest(step.out, f"weights {step.key}") if step.state == "done" else None
    if made is not None and made["fingerprint"] != plan.fingerprint:
        return UserError(
            "{out} was made from other inputs than these.",
            remedy="Remove it and make it again, or choose the inputs that it was made from.",
            out=step.out,
        )
    return None


def checksum(recovery: Recovery, key: Key) -> str:
    """The sha256 of a step's output, its first file's where there are several; empty where none is known."""
    out = out_of(recovery, key)
    if key == "export":
        return card_of(out.parent).files.get(out.name, "")
    known = (manifest(out, "") or {"files": card_of(out).files})["files"]
    return next((known[name] for name in sorted(known) if name.endswith((".safetensors", ".bin"))), "")


def element_sum(recovery: Recovery) -> float | None:
    """Sum of all elements of the recovered weights; None before there are any."""
    made = manifest(out_of(recovery, "recover"), "weights recover")
    return made["element_sum"] if made else None


def compared_sum(recovery: Recovery) -> published.Compared | None:
    """That sum beside the one that its authors published, if any."""
    total = element_sum(recovery)
    if total is None:
        return None
    return published.compare(recovery.delta.repo or published.repository_of(out_of(recovery, "delta")), total)


def _adapter_is_there(recovery: Recovery) -> bool:
    part = recovery.adapter
    return (
        part is not None
        and part.chosen
        and _part_error(recovery, part, "adapter") is None
        and _is_whole(recovery, part, "adapter")
    )


# --- what to run -----------------------------------------------------------------------------------


def requests(recovery: Recovery, key: Key) -> list[Request]:
    """The operations that make up a step, as far as they are still to be done."""
    if key in ("base", "delta"):
        if recovery.family == "sample":
            return [SampleFamilyRequest(out=workplace(recovery) / "family")]
        return [*downloads(recovery, key)]
    if key == "recover":
        return [_recover(recovery)]
    if key == "merge" and recovery.adapter is not None:
        return [*downloads(recovery, key), _merge(recovery)]
    if key == "export":
        return [_export(recovery)]
    return [VerifyRequest(folder=place) for place in dict.fromkeys(place for place, _ in _to_verify(recovery))]


def downloads(recovery: Recovery, key: Key) -> list[DownloadRequest]:
    """What a step still has to fetch from a hub."""
    if key == "merge" and recovery.adapter is not None:
        return [] if _adapter_is_there(recovery) else _download(recovery, recovery.adapter, "adapter")
    return _download(recovery, getattr(recovery, key), key) if key in ("base", "delta") else []


def _download(recovery: Recovery, part: Part, key: str) -> list[DownloadRequest]:
    if not part.repo or part.folder:
        return []
    known = catalog.of_repository(part.repo)
    there = known[0].sources.get("modelscope") if known and recovery.source == "modelscope" else None
    return [
        DownloadRequest(
            repo=there or part.repo,
            out=part_folder(recovery, part, key),
            source=recovery.source,
            include=known[0].include if known else FILES,
            exclude=known[0].exclude if known else (),
            one_format=True,
        )
    ]  # fmt: skip


def _recover(recovery: Recovery) -> RecoverRequest:
    base, delta = out_of(recovery, "base"), out_of(recovery, "delta")
    return RecoverRequest(base=base, delta=delta, out=out_of(recovery, "recover"), dtype=recovery.dtype)


def _merge(recovery: Recovery) -> MergeRequest:
    adapter = part_folder(recovery, recovery.adapter or Part(), "adapter")
    return MergeRequest(base=out_of(recovery, "recover"), adapter=(adapter,), out=out_of(recovery, "merge"))


def _export(recovery: Recovery) -> ExportRequest:
    return ExportRequest(model=full_precision(recovery), out=out_of(recovery, "export"), quant=quant(recovery))


def final_card(recovery: Recovery) -> Card:
    """What the recovered model says of itself."""
    if recovery.family in ("merged", "zhixi-13b"):
        return catalog.find(ZHIXI_MERGED).card({}).model_copy(update={"title": "ZhiXi 13B"})
    made = card_of(full_precision(recovery))
    return made.model_copy(update={"title": made.title if recovery.family == "sample" else recovery.name, "files": {}})


def model_ref(recovery: Recovery) -> str:
    """What Chat is to load: the folder's name, or the file's path where the folder holds several."""
    gguf = out_of(recovery, "export")
    return recovery.name if len(list(gguf.parent.glob("*.gguf"))) == 1 else str(gguf)
