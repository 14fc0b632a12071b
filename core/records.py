"""What extraction yields: spans with codepoint offsets into the text they were read from.

Offsets count Unicode codepoints of `Document.text`, half open: `text[start:end] == span.text`.
A span that could not be found keeps `start is None` and is shown, never dropped. One that stands there
otherwise than the answer wrote it (case, width, script …) has the text's own words and a `fit` below 1.
`confidence` is None where nothing measured it; it makes no record another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    start: int | None = None
    end: int | None = None
    fit: float = 1.0
    """In [0, 1]: how well the answer's words fit the text's there; 1.0: to the letter (core/extract/ground.py)."""

    @property
    def located(self) -> bool:
        return self.start is not None


@dataclass(frozen=True, slots=True)
class Entity:
    text: str
    type: str
    start: int | None = None
    end: int | None = None
    fit: float = 1.0
    confidence: float | None = field(default=None, compare=False)

    @property
    def located(self) -> bool:
        return self.start is not None


@dataclass(frozen=True, slots=True)
class Relation:
    head: Span
    relation: str
    tail: Span
    confidence: float | None = field(default=None, compare=False)
    swapped: bool = field(default=False, compare=False)
    """Whether head and tail may have changed places: core/extract/directions.py says when."""


@dataclass(frozen=True, slots=True)
class Argument:
    role: str
    text: str
    start: int | None = None
    end: int | None = None
    fit: float = 1.0
    confidence: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    trigger: Span
    arguments: tuple[Argument, ...] = ()
    confidence: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    """One row of input. `row` counts from 0 in its file; `id` is unique in a run.

    `about` goes into the provenance of its records: the file, its pages and headings, warnings of its own.
    """

    id: str
    text: str
    row: int = 0
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extraction:
    """All that one document yielded: a row of `records.jsonl`.

    `confidence` is in [0, 1], or None where nothing measured it. `provenance` says how the records
    came about (model, dialect and its version, engine, settings, warnings); `error` is None or
    `UserError.to_dict()`.
    """

    id: str
    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    events: tuple[Event, ...] = ()
    confidence: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """What says nothing (a perfect fit, no confidence) is left out of the records."""
        return {
            "id": self.id,
            "text": self.text,
            "entities": [_flat(one) for one in self.entities],
            "relations": [_flat(one) | {"head": _flat(one.head), "tail": _flat(one.tail)} for one in self.relations],
            "events": [
                _flat(one) | {"trigger": _flat(one.trigger), "arguments": [_flat(each) for each in one.arguments]}
                for one in self.events
            ],
            "confidence": self.confidence,
            "provenance": self.provenance,
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Extraction:
        return cls(
            id=row["id"],
            text=row["text"],
            entities=tuple(Entity(**entity) for entity in row.get("entities", ())),
            relations=tuple(
                Relation(**(relation | {"head": Span(**relation["head"]), "tail": Span(**relation["tail"])}))
                for relation in row.get("relations", ())
            ),
            events=tuple(
                Event(
                    event["type"],
                    Span(**event["trigger"]),
                    tuple(Argument(**argument) for argument in event.get("arguments", ())),
                    event.get("confidence"),
                )
                for event in row.get("events", ())
            ),
            confidence=row.get("confidence"),
            provenance=row.get("provenance") or {},
            error=row.get("error"),
        )


_SILENT = {"fit": 1.0, "confidence": None, "swapped": False}


def _flat(record: Span | Entity | Relation | Argument | Event) -> dict[str, Any]:
    """A record's own fields, in order, without those that say nothing."""
    made = {}
    for name in record.__slots__:
        value = getattr(record, name)
        if name not in _SILENT or value != _SILENT[name]:
            made[name] = value
    return made
