"""Entities: a line a type, spans in the text's order."""

from __future__ import annotations

from collections.abc import Sequence

from core.extract import grammar as gbnf
from core.extract.answer import Found
from core.extract.grammar import Spans
from core.extract.ground import Finder, is_nothing
from core.extract.schema import Schema
from core.records import Entity

Place = tuple[int, int]


def grammar(schema: Schema, spans: Spans) -> str:
    if not spans.possible:
        return gbnf.nothing()
    names = [made.name for made in schema.entities]
    return gbnf.lines(names, ["spans"] * len(names), spans.rising())


def ground(found: Sequence[Found], finder: Finder) -> list[Entity]:
    """Spans of a type rise through the text: each is looked for behind the one before, and if it isn't there
    (a free answer, in any order), at the first place that this type has not taken yet."""
    made: list[Entity] = []
    reached: dict[str, int] = {}
    taken: set[tuple[str, Place]] = set()
    for one in found:
        places = finder.places(one.text)
        if not places and is_nothing(one.text):
            continue
        free = [place for place in places if (one.type, place) not in taken]
        place = next((place for place in free if place[0] >= reached.get(one.type, 0)), free[0] if free else None)
        if places and place is None:
            continue  # said more often than it occurs
        if place:
            taken.add((one.type, place))
            reached[one.type] = place[1]
        span = finder.span(one.text, place)
        made.append(Entity(span.text, one.type, span.start, span.end, span.fit))
    return made


def words(records: Sequence[Entity]) -> list[Found]:
    """What an answer would say: for training data and tests. Records in any order."""
    return [Found(entity.type, entity.text) for entity in sorted(records, key=lambda entity: entity.start or 0)]
