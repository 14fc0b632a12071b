"""Hashes of files, and what is remembered of them so that the same bytes are not hashed at every call.

`.checked.json` in a model's folder holds, for each file that was hashed here, its size, time of
change and sha256. As long as size and time are the same, that hash is believed; `verify` never
believes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from core.weights import durable

MEMORY = ".checked.json"
_BLOCK = 4 << 20


@dataclass(frozen=True)
class Checked:
    size: int
    mtime_ns: int
    sha256: str


def digest(path: Path, algorithm: str = "sha256", *, moved: Callable[[int], None] = lambda count: None) -> str:
    """The hex digest of a file, read in blocks; `moved(bytes)` after each of them."""
    made = hashlib.new(algorithm, usedforsecurity=False)
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            made.update(view[:count])
            moved(count)
    return made.hexdigest()


def remember(folder: Path, known: dict[str, str]) -> None:
    """Note that these files (name -> sha256) were hashed just now; other notes stay."""
    notes = _read(folder) | {name: Checked(*_stamp(folder / name), sha256) for name, sha256 in known.items()}
    kept = {name: asdict(note) for name, note in notes.items() if (folder / name).is_file()}
    durable.write_text(folder / MEMORY, json.dumps(kept, indent=1, sort_keys=True), sync=False)


def remembered(folder: Path, name: str) -> str | None:
    """The sha256 of a file, if its size and time are those of when it was hashed."""
    note = _read(folder).get(name)
    if note is None or not (folder / name).is_file():
        return None
    return note.sha256 if _stamp(folder / name) == (note.size, note.mtime_ns) else None


def broken(folder: Path, known: dict[str, str], *, again: bool = False) -> list[str]:
    """The names whose files are missing or differ from their known sha256; files found well are remembered.

    Hashes only what is new or changed, unless `again`.
    """
    wrong, fresh = [], {}
    for name, sha256 in known.items():
        if not again and remembered(folder, name) == sha256:
            continue
        if (folder / name).is_file() and digest(folder / name) == sha256:
            fresh[name] = sha256
        else:
            wrong.append(name)
    if fresh:
        remember(folder, fresh)
    return wrong


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read(folder: Path) -> dict[str, Checked]:
    """The notes; none where they are missing or spoiled: then files are simply hashed again."""
    try:
        return {name: Checked(**note) for name, note in json.loads((folder / MEMORY).read_text("utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
