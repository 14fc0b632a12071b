"""The records of several calls as one document's: what two chunks both say of the same place is one record.

Chunks repeat sentences of one another, so that the same mention may be found twice, and not always with the same
ends: of two that overlap the longer one is kept, unless one call gave both. An event found twice has the arguments
of both. Relations that differ in place are two: each has its own evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from core.records import Argument, Entity, Event, Extraction, Relation, Span

R = TypeVar("R", bound=Entity | Relation | Event)
Spans = Span | Entity | Argument


def merged(pieces: Sequence[Extraction]) -> tuple[tuple[Entity, ...], tuple[Relation, ...], tuple[Event, ...]]:
    """Entities in the text's order; relations and events too, where there are several pieces."""
    if len(pieces) == 1:
        one = pieces[0]
        entities = sorted(dict.fromkeys(one.entities), key=lambda made: _order([made]))
        return tuple(entities), tuple(dict.fromkeys(one.relations)), tuple(dict.fromkeys(one.events))
    return (
        _merged([one.entities for one in pieces], lambda one: one.type, lambda one: [one], _surer),
        _merged([one.relations for one in pieces], lambda one: one.relation, lambda one: [one.head, one.tail], _surer),
        _merged([one.events for one in pieces], lambda one: one.type, lambda one: [one.trigger], _with_arguments),
    )


@dataclass
class _Known:
    """A record and the pieces that say it."""

    record: Any
    spans: list[Any]
    pieces: set[int]

    @property
    def length(self) -> tuple[int, int]:
        """(spans that are in the text, their codepoints)."""
        located = [one for one in self.spans if one.start is not None]
        return len(located), sum(one.end - one.start for one in located)


def _merged(
    pieces: Sequence[Iterable[R]],
    kind: Callable[[R], str],
    spans: Callable[[R], list[Any]],
    together: Callable[[R, R], R],
) -> tuple[R, ...]:
    same: dict[Hashable, list[_Known]] = {}
    for number, records in enumerate(pieces):
        for record in dict.fromkeys(records):
            known = same.setdefault((kind(record), *map(_place, spans(record))), [])
            other = next((one for one in known if number not in one.pieces), None)
            if other is None:  # new, or said twice by this very piece, which means two
                known.append(_Known(record, spans(record), {number}))
            else:
                other.record = together(other.record, record)
                other.pieces.add(number)
    kept: list[_Known] = []
    by_kind: dict[str, list[_Known]] = {}
    for group in same.values():
        for one in group:
            by_kind.setdefault(kind(one.record), []).append(one)
    for some in by_kind.values():
        kept += _without_variants(some, together)
    return tuple(one.record for one in sorted(kept, key=lambda one: _order(one.spans)))


def _without_variants(some: list[_Known], together: Callable[[R, R], R]) -> list[_Known]:
    """Of one type. What overlaps in every span with a longer one of another piece goes into that one."""
    kept: list[_Known] = []
    near: list[_Known] = []
    words = {tuple(map(_word, one.spans)) for one in some if all(span.start is not None for span in one.spans)}
    for one in sorted(some, key=lambda one: (_order(one.spans[:1]), *(-size for size in one.length))):
        if any(span.start is None for span in one.spans):
            if tuple(map(_word, one.spans)) not in words:
                kept.append(one)
            continue
        near = [other for other in near if other.spans[0].end > one.spans[0].start]
        other = next((other for other in near if not other.pieces & one.pieces and _overlap(other, one)), None)
        if other is None:
            near.append(one)
            kept.append(one)
            continue
        longer, shorter = (other, one) if other.length >= one.length else (one, other)
        other.record, other.spans = together(longer.record, shorter.record), longer.spans
        other.pieces |= one.pieces
    return kept


def _overlap(one: _Known, other: _Known) -> bool:
    pairs = zip(one.spans, other.spans, strict=True)
    return all(here.start < there.end and there.start < here.end for here, there in pairs)


def _surer(one: R, other: R) -> R:
    """The first, as sure as the surer of the two."""
    known = [made.confidence for made in (one, other) if made.confidence is not None]
    return replace(one, confidence=max(known)) if known else one


def _with_arguments(one: Event, other: Event) -> Event:
    has = {(argument.role, _place(argument)) for argument in one.arguments}
    more = tuple(argument for argument in other.arguments if (argument.role, _place(argument)) not in has)
    return replace(_surer(one, other), arguments=one.arguments + more)


def _place(span: Spans) -> Hashable:
    return (span.start, span.end) if span.start is not None else span.text.casefold()


def _word(span: Spans) -> str:
    return " ".join(span.text.split()).casefold()


def _order(spans: Sequence[Any]) -> tuple[bool, int, int]:
    """Located ones first, by the place of the first."""
    first = next((span for span in spans if span.start is not None), None)
    return (first is None, first.start if first else 0, first.end if first else 0)
