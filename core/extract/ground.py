"""Find the words of an answer in the text they were read from.

First verbatim at word boundaries, then verbatim anywhere, then without regard to spelling, then loosely
(core/extract/folding.py says what that leaves out; a span keeps how well it fits). What is not found keeps
its words and has no offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import regex

from core.extract import folding
from core.extract.chunk import at_grapheme
from core.extract.folding import Folded
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
        """All places of the best kind there is, in order; none that reaches from the context into the text."""
        words = tidy(words)
        if not words:
            return []
        exact = self._within(_whole(self.source.text, _occurrences(self.source.text, words)))
        return [place for place in exact if self._at_boundaries(*place)] or exact or self._tolerant(words)

    def span(self, words: str, place: tuple[int, int] | None) -> Span:
        """The span as the document has it; the answer's own words where it has none."""
        if place is None:
            return Span(words)
        start, end = self.source.original(*place)
        return Span(self.document[start:end], start, end, folding.fit(tidy(words), self.source.text[slice(*place)]))

    def _at_boundaries(self, start: int, end: int) -> bool:
        text = self.source.text
        return not _joined(text, start) and not _joined(text, end)

    def _within(self, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
        own = self.source.own
        return [place for place in places if place[0] >= own or place[1] <= own] if own else places

    def _tolerant(self, words: str) -> list[tuple[int, int]]:
        for fold, text in ((folding.spelling, self._spelled), (folding.loosely, self._loose)):
            found = _whole(self.source.text, self._within(text.places(fold(words))))
            if places := [place for place in found if self._at_boundaries(*place)]:
                return places
        return []

    @cached_property
    def _spelled(self) -> Folded:
        return folding.spelling(self.source.text)

    @cached_property
    def _loose(self) -> Folded:
        return folding.loosely(self.source.text)


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


def nearest_to_all(places: list[tuple[int, int]], others: list[list[tuple[int, int]]]) -> tuple[int, int] | None:
    """The place with the shortest ways to one place of each of the others; the first among equals."""

    def way(place: tuple[int, int]) -> int:
        there = [nearest(them, place) for them in others]
        return sum(max(0, one[0] - place[1], place[0] - one[1]) for one in there if one)

    return min(places, key=way, default=None)


def _whole(text: str, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places that cut neither a character nor a number."""
    return [place for place in places if not (_cuts(text, place[0]) or _cuts(text, place[1]))]


def _cuts(text: str, position: int) -> bool:
    if not 0 < position < len(text):
        return False
    number = text[position - 1].isdigit() and text[position].isdigit()
    return number or not at_grapheme(text, position)


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
