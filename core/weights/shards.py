"""Weights that are spread over several files: whether all that the index names are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from core.errors import UserError

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)")
_INDEX_LIMIT = 50 << 20


def indexes(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.index.json"))


def indexed(index: Path) -> set[str]:
    """The files that an index's weight_map names. Raises UserError where it is none."""
    return set(weight_map(index).values())


def parts(folder: Path) -> set[str]:
    """All parts that the names of split GGUF files (`NAME-00001-of-00003.gguf`) speak of."""
    found: set[str] = set()
    for path in folder.glob("*.gguf"):
        if split := _SPLIT.fullmatch(path.name):
            stem, count, suffix = split["stem"], int(split["count"]), split["suffix"]
            found |= {f"{stem}-{number:05d}-of-{count:05d}{suffix}" for number in range(1, min(count, 1000) + 1)}
    return found


def weight_map(index: Path) -> dict[str, str]:
    """tensor -> file, of a `*.index.json`. Raises UserError where it is none, or names files elsewhere."""
    try:
        if index.stat().st_size > _INDEX_LIMIT:
            raise ValueError("larger than 50 MB")
        found = json.loads(index.read_text("utf-8"))["weight_map"]
        if not all(isinstance(name, str) and name == Path(name).name and "\\" not in name for name in found.values()):
            raise ValueError("it names files outside of its folder")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            "{file} is not an index of weights: {why}",
            remedy="Download it again, or delete the folder if you do not trust its origin.",
            file=index,
            why=error,
        ) from error
    return found


def missing(folder: Path, offered: Iterable[str]) -> list[str]:
    """Shards that are named but not here, though the source offers them: left out by choice.

    Raises UserError where the source does not even offer one: then the repository is incomplete.
    """
    known = set(offered)
    spoken_of = parts(folder).union(*(indexed(index) for index in indexes(folder)))
    absent = sorted(name for name in spoken_of if not (folder / name).is_file())
    gone = [name for name in absent if name not in known]
    if gone:
        raise UserError(
            "The repository is incomplete: {files} of its index are not in it.",
            remedy="Choose another revision or another source.",
            files=", ".join(gone[:5]),
        )
    return absent
