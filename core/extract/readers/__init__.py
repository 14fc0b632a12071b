"""Readers: a document file as text with its structure. One file a format; a new file here is a new format.

The text's paragraphs are an empty line apart, a table's rows and a list's items a line each, cells ` | ` apart.
Where pages and headings start is kept, so that any codepoint can be traced back to its page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from core import registry
from core.errors import UserError
from core.extract.readers._paper import Heading, Paper, heading_at, page_at

__all__ = ["LARGEST", "Heading", "Paper", "heading_at", "page_at", "read", "suffixes"]

LARGEST = 300 << 20
"""Bytes of a document file; more is no document."""


class Reader(Protocol):
    """What each of these modules offers."""

    SUFFIXES: tuple[str, ...]
    read: Callable[[Path], Paper]
    """Raises UserError for a file that can't be read; pages that can't be are named in the Paper."""


@cache
def _readers() -> dict[str, Reader]:
    found: dict[str, ModuleType] = registry.plugins(__name__)
    return {suffix: cast(Reader, module) for module in found.values() for suffix in module.SUFFIXES}


def suffixes() -> tuple[str, ...]:
    """Of the files that are read as one document each: `.docx`, `.html` …"""
    return tuple(_readers())


def read(path: Path) -> Paper:
    """Raises UserError: no reader for it, too large, encrypted, broken, or nothing written in it."""
    reader = _readers()[path.suffix.lower()]
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UserError(
                "{path} has {size} MB; documents of up to {limit} MB are read.",
                remedy="Split it into several files.",
                path=path,
                size=size >> 20,
                limit=LARGEST >> 20,
            )
        paper = reader.read(path)
    except OSError as error:
        raise UserError(
            "{path} can't be read: {why}.",
            remedy="Check that the file is there and may be read.",
            path=path,
            why=error.strerror or error,
        ) from error
    if paper.text.strip():
        return paper
    if paper.pages:
        raise UserError(
            "{path} holds pictures of pages ({count}), no text.",
            remedy="Run a text recognition (OCR) over it, and give what that writes.",
            path=path,
            count=len(paper.pages),
        )
    raise UserError("{path} has no text in it.", remedy="Choose a file with text.", path=path)
