"""Events: a line an event type; each event a trigger and its arguments, roles in the schema's order."""

from __future__ import annotations

from collections.abc import Sequence

from core.extract import grammar as gbnf
from core.extract.answer import Found
from core.extract.grammar import Spans
from core.extract.ground import Finder, is_nothing, nearest, nearest_to_all
from core.extract.schema import EventType, Schema, label
from core.records import Argument, Event

EVENTS = 6  # a type and chunk
SAME_ROLE = 3  # arguments of one role


def grammar(schema: Schema, spans: Spans) -> str:
    if not spans.possible:
        return gbnf.nothing()
    rules = [_event(number, event) for number, event in enumerate(schema.events)]
    separator = gbnf.literal(gbnf.SEPARATOR)
    bodies = [f"e{number} ({separator} e{number}){{0,{EVENTS - 1}}}" for number in range(len(rules))]
    return gbnf.lines([event.name for event in schema.events], bodies, [*rules, *spans.free()])


def _event(number: int, event: EventType) -> str:
    arguments = [f"({gbnf.literal(gbnf.PART + label(role.name) + ': ')} span){{0,{SAME_ROLE}}}" for role in event.roles]
    return " ".join([f"e{number} ::= span", *arguments])


def ground(found: Sequence[Found], finder: Finder) -> list[Event]:
    """Triggers of a type at the free place closest to their arguments, arguments at the place closest to it."""
    made: dict[Event, None] = {}
    taken: set[tuple[str, tuple[int, int]]] = set()
    for one in found:
        places = finder.places(one.text)
        if not places and is_nothing(one.text):
            continue
        arguments_at = [finder.places(text) for _, text in one.parts]
        free = [place for place in places if (one.type, place) not in taken]
        place = nearest_to_all(free or places[:1], arguments_at)
        if place:
            taken.add((one.type, place))
        arguments = []
        for (role, text), there in zip(one.parts, arguments_at, strict=True):
            if there or not is_nothing(text):
                span = finder.span(text, nearest(there, place))
                arguments.append(Argument(role, span.text, span.start, span.end, span.fit))
        made[Event(one.type, finder.span(one.text, place), tuple(dict.fromkeys(arguments)))] = None
    return list(made)


def words(records: Sequence[Event]) -> list[Found]:
    """What an answer would say: for training data and tests."""
    return [
        Found(one.type, one.trigger.text, tuple((argument.role, argument.text) for argument in one.arguments))
        for one in records
    ]
