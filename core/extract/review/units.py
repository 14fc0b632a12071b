"""What is reviewed at once: a sentence with all its records; sentences that a record connects are one unit.

The units of a document cover it without gaps, so that together they are its text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.extract.chunk import sentences
from core.extract.review.values import Kind, Place, Value, places, values
from core.records import Extraction


@dataclass(frozen=True)
class Found:
    """A record as the model gave it."""

    kind: Kind
    number: int
    value: Value
    confidence: float | None


@dataclass(frozen=True)
class Unit:
    start: int
    end: int
    text: str
    records: tuple[Found, ...]


def cut(extraction: Extraction) -> list[Unit]:
    """The units in the text's order; none where there is nothing to read."""
    if not extraction.text.strip():
        return []
    found = [
        Found(kind, number, value, value.get("confidence", extraction.confidence))
        for kind, number, value in values(extraction)
    ]
    edges = _edges(extraction.text, [held for one in found if (held := _reach(extraction.text, one))])
    starts = [start for start, _ in edges]
    of: dict[int, list[Found]] = {}
    for one in found:
        reach = _reach(extraction.text, one)
        of.setdefault(bisect_right(starts, reach[0]) - 1 if reach else 0, []).append(one)
    return [
        Unit(start, end, extraction.text[start:end], tuple(of.get(number, ())))
        for number, (start, end) in enumerate(edges)
    ]


def _reach(text: str, one: Found) -> Place | None:
    held = [(start, end) for start, end in places(one.kind, one.value) if 0 <= start < end <= len(text)]
    return (min(held)[0], max(end for _, end in held)) if held else None


def _edges(text: str, reaches: Iterable[Place]) -> list[Place]:
    """Sentences, those joined that a record reaches across or that hold nothing but white space."""
    made: list[Place] = []
    for start, end in _joined(_spoken(text, sentences(text)), sorted(reaches)):
        made.append((start, end))
    return made


def _spoken(text: str, pieces: list[Place]) -> list[Place]:
    made: list[Place] = []
    for start, end in pieces:
        if made and not (text[start:end].strip() and text[slice(*made[-1])].strip()):
            made[-1] = (made[-1][0], end)
        else:
            made.append((start, end))
    return made


def _joined(pieces: list[Place], reaches: list[Place]) -> Iterator[Place]:
    """Both in order."""
    waiting = 0
    start: int | None = None
    needed = 0
    for begin, end in pieces:
        start = begin if start is None else start
        while waiting < len(reaches) and reaches[waiting][0] < end:
            needed = max(needed, reaches[waiting][1])
            waiting += 1
        if needed <= end:
            yield start, end
            start = None
    if start is not None:
        yield start, pieces[-1][1]
