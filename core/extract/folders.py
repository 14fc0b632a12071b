"""A folder as input: one document a file, or, where it holds tables alone, the rows of all of them."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Collection, Iterator
from pathlib import Path

from core.extract import readers
from core.extract.readers import Paper

_KEPT = 20_000_000  # characters of documents read lately: a run looks at its first ones before it starts
_papers: OrderedDict[tuple, Paper] = OrderedDict()


def paper_of(path: Path) -> Paper:
    """The document, read once a version of its file. Raises UserError."""
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _papers:
        _papers[key] = readers.read(path)
        while len(_papers) > 1 and sum(len(one.text) for one in _papers.values()) > _KEPT:
            _papers.popitem(last=False)
    return _papers[key]


def files(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Files of these kinds, in all its folders, in the order of their names; hidden and temporary ones left out."""
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in suffixes and not name.startswith((".", "~$")) and path.is_file():
                yield path


def name_in(folder: Path, path: Path) -> str:
    """`2024/report.pdf`: how a file is called within its folder, on all systems alike."""
    return path.relative_to(folder).as_posix()


def digest(folder: Path, suffixes: Collection[str]) -> str:
    """Of the files' names and contents."""
    made = hashlib.sha256()
    for path in files(folder, suffixes):
        with path.open("rb") as file:
            made.update(f"{name_in(folder, path)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return made.hexdigest()
