"""Files that are whole under their final name, or not there at all."""

from __future__ import annotations

import os
from pathlib import Path


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file or folder its final name; it and its name survive a power cut.

    A folder must not exist yet under the final name; a file may, and is replaced.
    """
    for path in [temporary] if temporary.is_file() else [p for p in temporary.rglob("*") if p.is_file()]:
        sync_file(path)
    if temporary.is_dir():
        sync_folder(temporary)
    temporary.replace(final)
    sync_folder(final.parent)


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write the whole text or leave what was there. Without `sync`, a power cut may undo it: for what can be redone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        if sync:
            publish(temporary, path)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    # opened for writing: Windows flushes no file that is open for reading only
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a no-op where folders can't be opened (Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
