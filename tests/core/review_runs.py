"""Small runs to review, written by the store that batches use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.extract.schema import Schema, from_json
from core.records import Argument, Entity, Event, Extraction, Relation, Span
from core.store import Writer

SCHEMA = from_json(
    {
        "name": "people",
        "entities": ["person", "place"],
        "relations": [{"name": "born in", "head": "person", "tail": "place"}, "works in"],
        "events": [{"name": "move", "roles": ["who", "goal"]}],
    }
)
TEXT = "😀 Ada was born in London. Nothing here. Bob works in Ulm."


def span(text: str, words: str) -> Span:
    start = text.index(words)
    return Span(words, start, start + len(words))


def entity(text: str, words: str, type: str, confidence: float | None = None) -> Entity:
    place = span(text, words)
    return Entity(words, type, place.start, place.end, confidence=confidence)


def document(id: str = "a", text: str = TEXT, row: int = 0, model: str = "m") -> Extraction:
    """Three sentences: two with an entity pair and a relation, one with nothing."""
    return Extraction(
        id,
        text,
        (
            entity(text, "Ada", "person", 0.9),
            entity(text, "London", "place", 0.4),
            entity(text, "Bob", "person", 0.7),
            entity(text, "Ulm", "place"),
        ),
        (
            Relation(span(text, "Ada"), "born in", span(text, "London"), confidence=0.5),
            Relation(span(text, "Ulm"), "works in", span(text, "Bob"), confidence=0.8),
        ),
        (Event("move", span(text, "works"), (Argument("who", "Bob", *place(text, "Bob")),), confidence=0.75),),
        provenance={"row": row, "model": model},
    )


def place(text: str, words: str) -> tuple[int, int]:
    start = text.index(words)
    return start, start + len(words)


def write_run(folder: Path, rows: Iterable[Extraction], schema: Schema = SCHEMA) -> Path:
    with Writer(folder, {"task": ["ner", "re", "ee"], "schema": schema.hash}) as store:
        for number, row in enumerate(rows):
            store.put(number, f"key {number}", row)
    return folder
