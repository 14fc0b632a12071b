"""What extraction yields: spans with codepoint offsets into the text they were read from.

Offsets count Unicode codepoints of `Document.text`, half open: `text[start:end] == span.text`.
A span that could not be found keeps `start is None` and is shown, never dropped.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    start: int | None = None
    end: int | None = None

    @property
    def located(self) -> bool:
        return self.start is not None


@dataclass(frozen=True, slots=True)
class Entity:
    text: str
    type: str
    start: int | None = None
    end: int | None = None

    @property
    def located(self) -> bool:
        return self.start is not None


@dataclass(frozen=True, slots=True)
class Relation:
    head: Span
    relation: str
    tail: Span


@dataclass(frozen=True, slots=True)
class Argument:
    role: str
    text: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    trigger: Span
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One row of input. `row` counts from 0 in its file; `id` is unique in a run."""

    id: str
    text: str
    row: int = 0


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
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Extraction:
        return cls(
            id=row["id"],
            text=row["text"],
            entities=tuple(Entity(**entity) for entity in row.get("entities", ())),
            relations=tuple(
                Relation(Span(**relation["head"]), relation["relation"], Span(**relation["tail"]))
                for relation in row.get("relations", ())
            ),
            events=tuple(
                Event(
                    event["type"],
                    Span(**event["trigger"]),
                    tuple(Argument(**argument) for argument in event.get("arguments", ())),
                )
                for event in row.get("events", ())
            ),
            confidence=row.get("confidence"),
            provenance=row.get("provenance") or {},
            error=row.get("error"),
        )
