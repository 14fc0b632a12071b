"""A document's text, and where in it pages and headings are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Heading(NamedTuple):
    """`level`: 1 the topmost."""

    start: int
    end: int
    level: int


@dataclass(frozen=True)
class Paper:
    """`pages`: where each page starts; () for formats without pages. Numbers of pages count from 1."""

    text: str
    pages: tuple[int, ...] = ()
    headings: tuple[Heading, ...] = ()
    empty_pages: tuple[int, ...] = ()
    """Without text: scanned, or empty."""
    unread_pages: tuple[int, ...] = ()
    """Broken: nothing of them is in the text."""

    def facts(self) -> dict[str, Any]:
        """What a record's provenance keeps of it."""
        told = {
            "pages": list(self.pages),
            "headings": [list(one) for one in self.headings],
            "pages_without_text": list(self.empty_pages),
            "pages_unread": list(self.unread_pages),
        }
        return {name: value for name, value in told.items() if value}


@dataclass
class Writer:
    """Puts a Paper together, block by block."""

    parts: list[str] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    headings: list[Heading] = field(default_factory=list)
    length: int = 0

    def block(self, text: str, *, level: int = 0, line: bool = False) -> None:
        """A paragraph; `level` > 0: a heading; `line`: right under the block before, as rows and items are."""
        text = text.strip()
        if not text:
            return
        if self.parts:
            self._put("\n" if line else "\n\n")
        if level:
            self.headings.append(Heading(self.length, self.length + len(text), level))
        self._put(text)

    def row(self, cells: list[str], *, first: bool) -> None:
        cells = [" ".join(cell.split()) for cell in cells]
        if any(cells):
            self.block(" | ".join(cells), line=not first)

    def paper(self) -> Paper:
        return Paper("".join(self.parts), tuple(self.pages), tuple(self.headings))

    def _put(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)


def page_at(provenance: Mapping[str, Any], position: int | None) -> int | None:
    """The number of the page on which a codepoint of a document stands, by what its provenance keeps."""
    pages = provenance.get("pages")
    if position is None or not isinstance(pages, list | tuple) or not pages:
        return None
    return max(1, bisect_right(pages, position))


def heading_at(provenance: Mapping[str, Any], text: str, position: int | None) -> str:
    """The heading under which a codepoint stands; "" where the document has none before it."""
    headings = provenance.get("headings")
    if position is None or not isinstance(headings, list | tuple):
        return ""
    at = bisect_right(headings, position, key=lambda one: one[0])
    return text[headings[at - 1][0] : headings[at - 1][1]] if at else ""
