"""A record under review as plain data, and what a person may change in it.

A value is a record as `Extraction.to_dict` writes it; its parts are named `span` (an entity), `head` and
`tail`, `trigger` and `argument:N`. Offsets count codepoints of the document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from core.errors import UserError
from core.records import Extraction

Kind = Literal["entity", "relation", "event"]
KINDS: tuple[Kind, ...] = ("entity", "relation", "event")
LISTS: dict[Kind, str] = {"entity": "entities", "relation": "relations", "event": "events"}
Value = dict[str, Any]
Place = tuple[int, int]


def values(extraction: Extraction) -> Iterator[tuple[Kind, int, Value]]:
    """Every record with its kind and its number among those of the kind."""
    row = extraction.to_dict()
    for kind in KINDS:
        for number, value in enumerate(row[LISTS[kind]]):
            yield kind, number, value


def extraction(id: str, text: str, records: list[tuple[Kind, Value]], **about: Any) -> Extraction:
    row: dict[str, Any] = {"id": id, "text": text, **{name: [] for name in LISTS.values()}, **about}
    for kind, value in records:
        row[LISTS[kind]].append(value)
    return Extraction.from_dict(row)


def type_of(kind: Kind, value: Value) -> str:
    return value["relation"] if kind == "relation" else value["type"]


def spans(kind: Kind, value: Value) -> list[tuple[str, Value]]:
    if kind == "entity":
        return [("span", value)]
    if kind == "relation":
        return [("head", value["head"]), ("tail", value["tail"])]
    arguments = [(f"argument:{number}", one) for number, one in enumerate(value.get("arguments", ()))]
    return [("trigger", value["trigger"]), *arguments]


def places(kind: Kind, value: Value) -> list[Place]:
    """Of the spans that stand in the text."""
    return [(one["start"], one["end"]) for _, one in spans(kind, value) if one.get("start") is not None]


def same(kind: Kind, value: Value) -> str:
    """What identical records share: kind, type and words (of a triple head, relation and tail), wherever they stand."""
    words = [(_role(part, one), one["text"]) for part, one in spans(kind, value)]
    return json.dumps([kind, type_of(kind, value), *sorted(words[1:]), words[0][1]])


def content(kind: Kind, value: Value) -> str:
    """What two reviewers must agree on: kind, type, and the place of every span (its words where it has none)."""
    told = [(_role(part, one), one.get("start"), one.get("end"), one["text"]) for part, one in spans(kind, value)]
    return json.dumps([kind, type_of(kind, value), *sorted(told, key=str)])


def _role(part: str, one: Value) -> str:
    return f"argument {one['role']}" if part.startswith("argument:") else part


def moved(kind: Kind, value: Value, by: int, within: Place) -> Value:
    """The value in a text that begins `by` codepoints later; spans outside `within` (document) lose their place."""
    made = json.loads(json.dumps(value))
    for _, one in spans(kind, made):
        if one.get("start") is None:
            continue
        inside = within[0] <= one["start"] and one["end"] <= within[1]
        one |= {"start": one["start"] - by, "end": one["end"] - by} if inside else {"start": None, "end": None}
    return made


# What a person may change. Each gives a new value.


def with_type(kind: Kind, value: Value, type: str) -> Value:
    return value | {"relation" if kind == "relation" else "type": type}


def with_span(kind: Kind, value: Value, part: str, span: Value) -> Value:
    """`span`: text, start and end."""
    if kind == "entity":
        return _exact(value) | span
    if part in ("head", "tail", "trigger") and part in value:
        return value | {part: span}
    arguments = _arguments(kind, value)
    number = _number(part, len(arguments))
    arguments[number] = {"role": arguments[number]["role"]} | span
    return value | {"arguments": arguments}


def swapped(kind: Kind, value: Value) -> Value:
    """Head and tail in each other's place."""
    if kind != "relation":
        raise UserError("Only a relation has a direction.", remedy="Choose a relation, then change its direction.")
    made = {name: one for name, one in value.items() if name != "swapped"}
    return made | {"head": value["tail"], "tail": value["head"]}


def with_argument(kind: Kind, value: Value, role: str, span: Value) -> Value:
    return value | {"arguments": [*_arguments(kind, value), {"role": role} | span]}


def with_role(kind: Kind, value: Value, part: str, role: str) -> Value:
    arguments = _arguments(kind, value)
    number = _number(part, len(arguments))
    arguments[number] = arguments[number] | {"role": role}
    return value | {"arguments": arguments}


def without_argument(kind: Kind, value: Value, part: str) -> Value:
    arguments = _arguments(kind, value)
    del arguments[_number(part, len(arguments))]
    return value | {"arguments": arguments}


def _exact(value: Value) -> Value:
    return {name: one for name, one in value.items() if name != "fit"}


def _arguments(kind: Kind, value: Value) -> list[Value]:
    if kind != "event":
        raise UserError("Only an event has arguments.", remedy="Choose an event, or change the record's own spans.")
    return list(value.get("arguments", ()))


def _number(part: str, count: int) -> int:
    number = part.removeprefix("argument:")
    if part == number or not number.isdecimal() or int(number) >= count:
        raise UserError(
            "The record has no part “{part}”.", remedy="Load the page again and choose the part anew.", part=part
        )
    return int(number)
