"""What was reviewed as rows for others: gold, training rows, examples. Only sentences that a person called whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from core.extract.answer import Found
from core.extract.dialects import oneke
from core.extract.normal import normalise
from core.extract.review.book import Book
from core.extract.review.splits import text_hash
from core.extract.review.values import Kind, Value, extraction, moved
from core.extract.schema import Example, Schema, Task
from core.extract.tasks import ee, ner
from core.extract.tasks import re as relations
from core.records import Extraction
from core.store import dump

By = Literal["sentences", "documents"]
_WORDS: dict[Task, Callable[[Any], list[Found]]] = {"ner": ner.words, "re": relations.words, "ee": ee.words}
_OF: dict[Task, str] = {"ner": "entities", "re": "relations", "ee": "events"}


@dataclass(frozen=True)
class Reviewed:
    """A row, the hash of the document it is of, and of its own text."""

    row: Extraction
    document: str
    own: str


def reviewed(book: Book, by: By = "sentences") -> Iterator[Reviewed]:
    """Sentences that are whole, or documents all of whose sentences are; in the input's order, streamed.

    A document of a single sentence keeps its id and its text to the letter either way, so its row meets a run's.
    """
    for document in book.documents():
        parts = [
            _Part(*row)
            for row in book.read(
                "SELECT id, start, end, text, whole AND pending = 0, whole_by FROM units WHERE row = ? ORDER BY start",
                [document.row],
            )
        ]
        whole = [part for part in parts if part.whole]
        if not whole or (by == "documents" and len(whole) < len(parts)):
            continue
        records = _accepted(book, document.row)
        about: dict[str, Any] = {"document": document.id, "row": document.row, "model": document.model}
        for group in [whole] if by == "documents" else [[part] for part in whole]:
            yield _row(document.id, document.hash, group, records, about, alone=len(group) == len(parts))


@dataclass(frozen=True)
class _Part:
    id: int
    start: int
    end: int
    text: str
    whole: int
    by: str


def _accepted(book: Book, row: int) -> dict[int, list[tuple[Kind, Value]]]:
    found = book.read(
        "SELECT r.unit, r.kind, r.value FROM records r JOIN units u ON u.id = r.unit"
        " WHERE u.row = ? AND r.state = 'accepted' ORDER BY r.unit, r.place",
        [row],
    )
    return {
        unit: [(kind, json.loads(value)) for _, kind, value in group]
        for unit, group in groupby(found, key=lambda one: one[0])
    }


def _row(
    id: str,
    document: str,
    parts: list[_Part],
    records: dict[int, list[tuple[Kind, Value]]],
    about: dict[str, Any],
    *,
    alone: bool,
) -> Reviewed:
    """`alone`: the row is the whole document."""
    text = "".join(json.loads(part.text) for part in parts)
    start, end = parts[0].start, parts[-1].end
    if not alone:
        start, end = start + len(text) - len(text.lstrip()), start + len(text.rstrip())
        text = text.strip()
    made = [
        (kind, moved(kind, value, start, (start, end))) for part in parts for kind, value in records.get(part.id, ())
    ]
    told = about | {"start": start, "reviewed_by": sorted({part.by for part in parts})}
    row = extraction(id if alone else f"{id}#{start}-{end}", text, made, provenance=told)
    return Reviewed(row, document, text_hash(text))


def part_of(whole: Extraction, start: int, end: int) -> Extraction:
    """What a run found in a piece of a document: predictions for a sentence of gold. Records that leave it are lost."""
    from core.extract.review.values import places, values

    kept = [
        (kind, moved(kind, value, start, (start, end)))
        for kind, _, value in values(whole)
        if (held := places(kind, value)) and all(start <= first and last <= end for first, last in held)
    ]
    return extraction(f"{whole.id}#{start}-{end}", whole.text[start:end], kept, provenance=whole.provenance)


def iepile(row: Extraction, schema: Schema, tasks: tuple[Task, ...], source: str) -> Iterator[dict[str, str]]:
    """Training rows in IEPile's form, one for each batch of types: those that do not occur are the negatives."""
    text = normalise(row.text).text
    for task in tasks:
        found = _WORDS[task](getattr(row, _OF[task]))
        for part in oneke.parts(task, schema, 0) if schema.types(task) else ():
            yield {
                "task": oneke.kind_of(task, part),
                "source": source,
                "instruction": oneke.inside(task, part, text),
                "output": oneke.write(task, part, found),
            }


def example(row: Extraction) -> Example:
    """A row as a schema shows it to models that are not trained for extraction."""
    entities: dict[str, list[str]] = {}
    for entity in row.entities:
        entities.setdefault(entity.type, []).append(entity.text)
    pairs: dict[str, list[tuple[str, str]]] = {}
    for one in row.relations:
        pairs.setdefault(one.relation, []).append((one.head.text, one.tail.text))
    events: dict[str, list[dict[str, str]]] = {}
    for event in row.events:
        roles = {argument.role: argument.text for argument in event.arguments}
        events.setdefault(event.type, []).append({"trigger": event.trigger.text} | roles)
    return Example.model_validate(
        {"text": normalise(row.text).text, "entities": entities, "relations": pairs, "events": events}
    )


def telling(rows: list[Reviewed], count: int) -> list[Reviewed]:
    """Of the rows, those that show most types: each next one adds the most that none before has."""
    left = [(row, set(_types(row.row))) for row in rows]
    chosen: list[Reviewed] = []
    seen: set[str] = set()
    while left and len(chosen) < count:
        place = max(range(len(left)), key=lambda at: (len(left[at][1] - seen), -len(left[at][0].row.text)))
        row, shown = left.pop(place)
        chosen.append(row)
        seen |= shown
    return chosen


def _types(row: Extraction) -> Iterator[str]:
    yield from (f"entity {one.type}" for one in row.entities)
    yield from (f"relation {one.relation}" for one in row.relations)
    yield from (f"event {one.type}" for one in row.events)


def line(row: Extraction) -> str:
    return dump(row.to_dict()) + "\n"
