"""Find the words of an answer in the text they were read from.

First verbatim at word boundaries, then verbatim anywhere, then without regard to case, width and
spaces. What is not found keeps its words and has no offsets.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property

import regex

from core.extract.normal import Source, tidy
from core.records import Span

_WORD = regex.compile(r"[\p{L}\p{N}\p{M}_]")
_UNBROKEN = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_NOTHING = frozenset(("none", "null", "nan", "n/a", "无", "没有"))


@dataclass(frozen=True)
class Finder:
    """Occurrences in one normalised text. Positions are the text's, not the document's."""

    source: Source
    document: str

    def places(self, words: str) -> list[tuple[int, int]]:
        """All places of the best kind there is, in order."""
        words = tidy(words)
        if not words:
            return []
        exact = _occurrences(self.source.text, words)
        return [place for place in exact if self._at_boundaries(*place)] or exact or self._tolerant(words)

    def span(self, words: str, place: tuple[int, int] | None) -> Span:
        """The span as the document has it; the answer's own words where it has none."""
        if place is None:
            return Span(words)
        start, end = self.source.original(*place)
        return Span(self.document[start:end], start, end)

    def _at_boundaries(self, start: int, end: int) -> bool:
        text = self.source.text
        return not _joined(text, start) and not _joined(text, end)

    def _tolerant(self, words: str) -> list[tuple[int, int]]:
        folded, origins = self._folded
        wanted, _ = _fold(words)
        found = _occurrences(folded, wanted) if wanted else []
        places = [(origins[start], origins[end - 1] + 1) for start, end in found]
        return [place for place in places if self._at_boundaries(*place)]

    @cached_property
    def _folded(self) -> tuple[str, list[int]]:
        return _fold(self.source.text)


def is_nothing(words: str) -> bool:
    """Whether a span that is not in the text is a way of saying "there is none"."""
    return tidy(words).casefold().strip(".。") in _NOTHING


def nearest(places: list[tuple[int, int]], to: tuple[int, int] | None) -> tuple[int, int] | None:
    """The place closest to another one; the first where there is nothing to be close to."""
    if not places or to is None:
        return places[0] if places else None
    return min(places, key=lambda place: (max(place[0] - to[1], to[0] - place[1]), place[0]))


def nearest_pair(
    heads: list[tuple[int, int]], tails: list[tuple[int, int]]
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """The head and tail closest to each other that don't overlap, the earliest of those."""
    if not heads or not tails:
        return nearest(heads, None), nearest(tails, None)
    pairs = [(head, nearest(_apart(tails, head) or tails, head)) for head in heads]
    return min(pairs, key=lambda pair: _distance(*pair))


def _apart(places: list[tuple[int, int]], other: tuple[int, int]) -> list[tuple[int, int]]:
    return [place for place in places if place[0] >= other[1] or place[1] <= other[0]]


def _distance(one: tuple[int, int], other: tuple[int, int] | None) -> tuple[bool, int, int]:
    gap = max(other[0] - one[1], one[0] - other[1]) if other else 1 << 40
    return gap < 0, gap, one[0]


def _joined(text: str, position: int) -> bool:
    """Whether a word goes on across that position."""
    if not 0 < position < len(text):
        return False
    before, after = text[position - 1], text[position]
    if _UNBROKEN.match(before) or _UNBROKEN.match(after):
        return regex.match(r"\p{M}", after) is not None
    return _WORD.match(before) is not None and _WORD.match(after) is not None


def _occurrences(text: str, words: str) -> list[tuple[int, int]]:
    found, at = [], text.find(words)
    while at >= 0:
        found.append((at, at + len(words)))
        at = text.find(words, at + 1)
    return found


def _fold(text: str) -> tuple[str, list[int]]:
    """Case, width and spaces taken away; for each character left, where it stood."""
    chars: list[str] = []
    origins: list[int] = []
    for position, char in enumerate(text):
        for folded in unicodedata.normalize("NFKC", char).casefold():
            if not folded.isspace():
                chars.append(folded)
                origins.append(position)
    return "".join(chars), origins
