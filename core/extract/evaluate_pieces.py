"""What is right or wrong as a whole: a document's records as pieces, each an entity, relation, trigger or argument."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from core.errors import UserError
from core.extract.schema import Task
from core.records import Argument, Entity, Event, Extraction, Relation, Span

Rules = Literal["strict", "iepile"]
Slot = Literal["entity", "relation", "trigger", "argument"]
SLOTS: dict[Task, tuple[Slot, ...]] = {"ner": ("entity",), "re": ("relation",), "ee": ("trigger", "argument")}
Place = Any
"""Where a span is: (start, end); under `iepile`, and of what isn't in the text, its words."""


class Item(NamedTuple):
    """What must be equal for a piece to be right. `located` False matches nothing."""

    slot: Slot
    type: str
    key: tuple[Any, ...]
    located: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """`record` names it in its row as the evidence view does (`entity:3`; an argument `event:1`, its `part` 0, 1, …).

    `label` is what may be mistaken for another: the type, or an argument's role. `spans` are its places in the order
    that counts: head before tail, trigger before argument (under `iepile` an argument's own alone).
    """

    item: Item
    record: str
    label: str
    spans: tuple[Place, ...]
    words: str
    confidence: float | None = None
    part: int = -1


def pieces(row: Extraction, task: Task, rules: Rules) -> Iterator[Piece]:
    """In the row's order; what is said twice comes twice. Raises UserError where offsets don't fit the text."""
    return {"ner": _entities, "re": _relations, "ee": _events}[task](row, rules)


def _entities(row: Extraction, rules: Rules) -> Iterator[Piece]:
    for number, entity in enumerate(row.entities):
        yield entity_piece(number, entity, row, rules)


def entity_piece(number: int, entity: Entity, row: Extraction, rules: Rules) -> Piece:
    spans = (_place(entity, row, rules),)
    item = Item("entity", entity.type, spans, _is_in(rules, entity))
    return Piece(item, f"entity:{number}", entity.type, spans, entity.text, entity.confidence)


def _relations(row: Extraction, rules: Rules) -> Iterator[Piece]:
    for number, one in enumerate(row.relations):
        yield relation_piece(number, one, row, rules)


def relation_piece(number: int, one: Relation, row: Extraction, rules: Rules) -> Piece:
    spans = (_place(one.head, row, rules), _place(one.tail, row, rules))
    item = Item("relation", one.relation, spans, _is_in(rules, one.head, one.tail))
    words = f"{one.head.text} → {one.relation} → {one.tail.text}"
    return Piece(item, f"relation:{number}", one.relation, spans, words, one.confidence)


def _events(row: Extraction, rules: Rules) -> Iterator[Piece]:
    for number, event in enumerate(row.events):
        yield from event_pieces(number, event, row, rules)


def event_pieces(number: int, event: Event, row: Extraction, rules: Rules) -> Iterator[Piece]:
    """The trigger, then the arguments."""
    record, trigger = f"event:{number}", _place(event.trigger, row, rules)
    item = Item("trigger", event.type, (trigger,), _is_in(rules, event.trigger))
    yield Piece(item, record, event.type, (trigger,), event.trigger.text, event.confidence)
    for part, one in enumerate(event.arguments):
        place = _place(one, row, rules)
        spans: tuple[Place, ...] = (place,)
        if rules == "iepile":
            item = Item("argument", event.type, (one.role, place), True)
        else:
            located = _is_in(rules, event.trigger, one)
            item, spans = Item("argument", event.type, (trigger, one.role, place), located), (trigger, place)
        words = f"{event.trigger.text}, {one.role}: {one.text}"
        yield Piece(item, record, one.role, spans, words, one.confidence, part)


def _is_in(rules: Rules, *spans: Span | Entity | Argument) -> bool:
    return rules == "iepile" or all(span.start is not None for span in spans)


def _place(span: Span | Entity | Argument, row: Extraction, rules: Rules) -> Place:
    """What must be equal of a span: under `iepile` its words, else its offsets (its words where it has none)."""
    start, end = span.start, span.end
    if start is None and end is None:
        return span.text
    if start is None or end is None or not 0 <= start < end <= len(row.text) or row.text[start:end] != span.text:
        raise UserError(
            "The offsets {start} to {end} of “{words}” don't fit the text of the row {row}: “{text}”",
            remedy="Count Unicode characters from 0, the end not included, so that they cut out the very words.",
            start=start,
            end=end,
            words=span.text[:60],
            row=row.id or "–",
            text=row.text[:60],
        )
    return span.text if rules == "iepile" else (start, end)
