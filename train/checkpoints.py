"""Checkpoints: whole or not, which one to go on from, which are kept. One counts once `complete.json` stands in it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core import resources
from core.errors import UserError
from core.launchers.contract import COMPLETE

_NAME = re.compile(r"checkpoint-(\d+)")


def step_of(folder: Path) -> int:
    found = _NAME.fullmatch(folder.name)
    return int(found[1]) if found else -1


def all_in(out: Path) -> list[Path]:
    """Whole and torn ones, the oldest first."""
    found = [folder for folder in out.glob("checkpoint-*") if folder.is_dir() and step_of(folder) >= 0]
    return sorted(found, key=step_of)


def whole_in(out: Path) -> list[Path]:
    return [folder for folder in all_in(out) if is_complete(folder)]


def complete(folder: Path) -> None:
    """Mark a checkpoint as whole: every file on disk, then their sizes in `complete.json`, by rename."""
    sizes = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
            sizes[str(file.relative_to(folder))] = file.stat().st_size
    temporary = folder / (COMPLETE + ".tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        json.dump(sizes, handle)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(folder / COMPLETE)


def is_complete(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def remove(folder: Path) -> None:
    """`complete.json` goes first: a removal that is cut short leaves no folder that looks whole."""
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def keep_newest(out: Path, count: int, every: int = 0) -> None:
    """Remove all but the newest whole ones, and those of every so many steps."""
    whole = whole_in(out)
    spared = {folder for folder in whole if every and step_of(folder) % every == 0}
    for folder in set(all_in(out)) - set(whole[-count:]) - spared:
        remove(folder)


def chosen(out: Path, resume: str) -> Path | None:
    """The checkpoint that `resume` (a name, `last` or empty) means. Raises UserError: not there, or not whole."""
    if not resume:
        return None
    whole = whole_in(out)
    if resume == "last":
        return whole[-1] if whole else None
    for folder in whole:
        if folder.name == resume:
            return folder
    raise UserError(
        "The checkpoint {name} is not there, or not whole.",
        remedy="Choose one of: {known}.",
        name=resume,
        known=", ".join(folder.name for folder in whole) or "–",
    )


def forget_after(out: Path, step: int) -> None:
    """Remove torn ones, and those of a run that went on from `step` before: its last one would be taken for ours."""
    for folder in all_in(out):
        if step_of(folder) > step or not is_complete(folder):
            remove(folder)


def refuse_without_room(folder: Path, *, any_rank: Callable[[bool], bool] = bool) -> None:
    """Raises UserError before a checkpoint is begun that would not fit, as large as the one before it.

    Of many ranks all raise it together (`any_rank`): one that fails alone leaves the others waiting for it.
    """
    whole = [one for one in whole_in(folder.parent) if one != folder]
    size = sum(file.stat().st_size for file in whole[-1].rglob("*") if file.is_file()) if whole else 0
    free = shutil.disk_usage(folder.parent).free
    if any_rank(size > free):
        raise _full(folder.name, folder.parent, f"it takes {resources.size(size)}, and {resources.size(free)} are free")


@contextmanager
def room_for(what: str, folder: Path) -> Iterator[None]:
    """Says what could not be written. torch, safetensors and the system each tell of a full disk in their own way."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and "write" not in str(error):
            raise
        free = resources.size(shutil.disk_usage(folder).free)
        raise _full(what, folder, f"{str(error).strip().splitlines()[0][:200]} ({free} are free)") from error


def _full(what: str, folder: Path, why: str) -> UserError:
    return UserError(
        "{what} could not be written to {folder}: {why}",
        remedy="Make room on that disk, and go on from the last checkpoint, which is kept.",
        what=what,
        folder=folder,
        why=why,
    )
