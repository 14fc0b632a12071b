"""A sentence of an audit as a row of its own, with its records moved to where they stand in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from core.extract.audit_values import Item
from core.extract.evaluate_pieces import Piece
from core.records import Argument, Entity, Event, Extraction, Relation, Span


def sentence_row(item: Item, pieces: Iterable[Piece], added: Extraction | None) -> Extraction:
    """The sentence with the records of these pieces and those that were added; ends beyond it have no place there."""
    records = {piece.record for piece in pieces}
    row, more = item.document, added or Extraction("", "")
    entities = [one for number, one in enumerate(row.entities) if f"entity:{number}" in records]
    relations = [one for number, one in enumerate(row.relations) if f"relation:{number}" in records]
    events = [one for number, one in enumerate(row.events) if f"event:{number}" in records]
    return Extraction(
        f"{row.id}.{item.start}",
        item.sentence,
        entities=tuple(_moved(one, item) for one in (*entities, *more.entities)),
        relations=tuple(_relation(one, item) for one in (*relations, *more.relations)),
        events=tuple(_event(one, item) for one in (*events, *more.events)),
        provenance={name: row.provenance[name] for name in ("warnings", "reads_language") if name in row.provenance},
    )


def _moved(one: Any, item: Item) -> Any:
    """A Span, an Entity or an Argument."""
    if one.start is None or one.end is None or not item.start <= one.start < one.end <= item.end:
        return replace(one, start=None, end=None)
    return replace(one, start=one.start - item.start, end=one.end - item.start)


def _relation(one: Relation, item: Item) -> Relation:
    return replace(one, head=_moved(one.head, item), tail=_moved(one.tail, item))


def _event(one: Event, item: Item) -> Event:
    arguments = tuple(_moved(argument, item) for argument in one.arguments)
    return replace(one, trigger=_moved(one.trigger, item), arguments=arguments)


def found(words: str, item: Item, nth: int = 0) -> Span | None:
    """The nth place of the words in the sentence; None where it doesn't hold them."""
    words = words.strip()
    places = occurrences(words, item)
    if not places:
        return None
    start = places[min(nth, len(places) - 1)]
    return Span(words, start, start + len(words))


def occurrences(words: str, item: Item) -> list[int]:
    """Where the words begin in the document, within the sentence."""
    words, places = words.strip(), []
    at = item.document.text.find(words, item.start, item.end) if words else -1
    while at >= 0:
        places.append(at)
        at = item.document.text.find(words, at + 1, item.end)
    return places


def with_entity(added: Extraction | None, item: Item, type: str, span: Span) -> Extraction:
    made = _base(added, item)
    return replace(made, entities=(*made.entities, Entity(span.text, type, span.start, span.end)))


def with_relation(added: Extraction | None, item: Item, head: Span, type: str, tail: Span) -> Extraction:
    made = _base(added, item)
    return replace(made, relations=(*made.relations, Relation(head, type, tail)))


def with_event(
    added: Extraction | None, item: Item, type: str, trigger: Span, arguments: Iterable[tuple[str, Span]]
) -> Extraction:
    made = _base(added, item)
    parts = tuple(Argument(role, span.text, span.start, span.end) for role, span in arguments)
    return replace(made, events=(*made.events, Event(type, trigger, parts)))


def without(added: Extraction, kind: str, number: int) -> Extraction | None:
    """Without that one of the added records; None where none is left."""
    field = {"entity": "entities", "relation": "relations", "event": "events"}[kind]
    kept = tuple(one for at, one in enumerate(getattr(added, field)) if at != number)
    changed: dict[str, Any] = {field: kept}
    made = replace(added, **changed)
    return made if made.entities or made.relations or made.events else None


def _base(added: Extraction | None, item: Item) -> Extraction:
    return added or Extraction(item.document.id, item.document.text)
