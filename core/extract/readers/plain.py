"""Plain text as one document: as it stands, in whatever encoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.errors import UserError
from core.extract import headings
from core.extract.encodings import encoding_of
from core.extract.readers._paper import Heading, Paper

SUFFIXES = (".txt", ".text")


def read(path: Path) -> Paper:
    text = decoded(path)
    return Paper(text, headings=tuple(_headings(text)))


def _headings(text: str) -> Iterator[Heading]:
    at = 0
    for line in text.splitlines(keepends=True):
        words = line.strip()
        if level := headings.level(words):
            start = at + line.index(words)
            yield Heading(start, start + len(words), level)
        at += len(line)


def decoded(path: Path) -> str:
    """A text file's content, line ends as they are. Raises UserError for what is no text."""
    with path.open(encoding=encoding_of(path), errors="replace", newline="") as file:
        text = file.read()
    if text[:4096].count("\0") > 8:
        raise UserError("{path} is not a text file.", remedy="Save it as text, and give that.", path=path)
    return text
