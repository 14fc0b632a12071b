"""Gold (and predictions) from files: records.jsonl, IEPile's and InstructIE's raw rows, BIO. Streamed.

    {"text": …, "entity": [{"entity", "entity_type"}]}          also with "id", "source" and "schema"
    {"text": …, "relation": [{"head", "relation", "tail"}]}
    {"text": …, "event": [{"event_trigger", "event_type", "arguments": [{"argument", "role"}]}]}

Raw rows tell words, not places. They are looked for as an answer's are (`tasks`), so that gold and
prediction mean the same mention where a text has several; what isn't found is kept without offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from core.errors import UserError
from core.extract import bio
from core.extract.answer import Found
from core.extract.encodings import encoding_of
from core.extract.ground import Finder, is_nothing
from core.extract.normal import normalise
from core.extract.schema import Task
from core.extract.tasks import ee
from core.extract.tasks import re as relations
from core.records import Argument, Entity, Event, Extraction, Relation, Span

_RAW: dict[Task, str] = {"ner": "entity", "re": "relation", "ee": "event"}
_WORDS = ConfigDict(coerce_numbers_to_str=True)
Place = tuple[int, int]


@with_config(_WORDS)
class _RawEntity(TypedDict):
    entity: str
    entity_type: str


@with_config(_WORDS)
class _RawRelation(TypedDict):
    head: str
    relation: str
    tail: str


@with_config(_WORDS)
class _RawArgument(TypedDict):
    argument: str
    role: str


@with_config(_WORDS)
class _RawEvent(TypedDict):
    event_trigger: str
    event_type: str
    arguments: NotRequired[list[_RawArgument]]


@with_config(_WORDS)
class _RawRow(TypedDict):
    id: NotRequired[str | None]
    source: NotRequired[str | None]
    schema: NotRequired[Any]
    text: str
    entity: NotRequired[list[_RawEntity]]
    relation: NotRequired[list[_RawRelation]]
    event: NotRequired[list[_RawEvent]]


_raw_rows = TypeAdapter(_RawRow)
_records = TypeAdapter(Extraction)
_objects = TypeAdapter(dict[str, Any])


def read(path: Path, task: Task, *, located: bool = True) -> Iterator[Extraction]:
    """The rows of a file of any of the formats above; of raw rows and BIO only the task's records.

    Rows without an id have the id "". `located=False` leaves raw rows' words as they stand, without
    offsets, as `iepile` rules compare them. Raises UserError, with the line, at the first bad row.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("There is no file {path}.", remedy="Check the name and the folder.", path=path)
    encoding = encoding_of(path)
    with path.open(encoding=encoding, errors="replace", newline="\n") as file:
        first = list(islice((line for line in file if line.strip()), 20))
    if not first:
        raise UserError("{path} is empty.", remedy="Choose a file with at least one text in it.", path=path)
    if (row := _object(first[0])) is not None:
        if "text" in row and any(name in row for name in ("entities", "relations", "events")):
            return _read_records(path, encoding)
        return _read_raw(path, encoding, task, located)
    if not bio.is_bio(first):
        raise UserError(
            "{path} holds neither JSON lines nor tokens with BIO tags.",
            remedy="Give a records.jsonl, JSON lines with text and entity, relation or event, or a BIO file.",
            path=path,
        )
    if task != "ner":
        raise UserError(
            "{path} holds BIO tags, which tell entities only.",
            remedy="Score the task ner, or give gold as JSON lines.",
            path=path,
        )
    return _read_bio(path, encoding)


def _read_bio(path: Path, encoding: str) -> Iterator[Extraction]:
    with path.open(encoding=encoding, errors="replace", newline="\n") as file:
        yield from bio.read(file, path)


def _read_records(path: Path, encoding: str) -> Iterator[Extraction]:
    for number, line in _lines(path, encoding):
        try:
            yield _records.validate_json(line)
        except ValidationError as error:
            raise _malformed(path, number, error) from error


def _read_raw(path: Path, encoding: str, task: Task, located: bool) -> Iterator[Extraction]:
    field = _RAW[task]
    for number, line in _lines(path, encoding):
        try:
            row = _raw_rows.validate_json(line)
        except ValidationError as error:
            raise _malformed(path, number, error) from error
        if field not in row:
            raise UserError(
                "Line {line} of {path} has no “{field}”.",
                remedy="Choose the task that the file is for; a row with nothing in it has an empty list.",
                line=number,
                path=path,
                field=field,
            )
        yield from_raw(row, task, located=located)


def from_raw(row: Any, task: Task, *, located: bool = True) -> Extraction:
    """A raw row as an Extraction; `source` and `schema` go into its provenance."""
    text = row["text"]
    finder = Finder(normalise(text), text) if located else None
    about = {name: row[name] for name in ("source", "schema") if name in row}
    made = Extraction(row.get("id") or "", text, provenance=about)
    if task == "ner":
        return _with(made, entities=_entities(row["entity"], finder))
    if task == "re":
        return _with(made, relations=_relations(row["relation"], finder))
    return _with(made, events=_events(row["event"], finder))


def _entities(rows: list[_RawEntity], finder: Finder | None) -> tuple[Entity, ...]:
    """Longer ones choose first, each the first place that its type has not taken and no longer one covers."""
    if finder is None:
        return tuple(Entity(row["entity"], row["entity_type"]) for row in rows)
    made: dict[int, Entity] = {}
    taken: set[tuple[str, Place]] = set()
    for number in sorted(range(len(rows)), key=lambda number: -len(rows[number]["entity"])):
        words, kind = rows[number]["entity"], rows[number]["entity_type"]
        free = [place for place in finder.places(words) if (kind, place) not in taken]
        bare = (place for place in free if not any(_covers(other, place) for _, other in taken))
        place = next(bare, free[0] if free else None)
        if place:
            taken.add((kind, place))
        span = finder.span(words, place)
        made[number] = Entity(span.text, kind, span.start, span.end)
    return tuple(made[number] for number in range(len(rows)))


def _covers(longer: Place, place: Place) -> bool:
    return longer[0] <= place[0] and place[1] <= longer[1] and longer != place


def _relations(rows: list[_RawRelation], finder: Finder | None) -> tuple[Relation, ...]:
    made: list[Relation] = []
    for row in rows:
        words = Relation(Span(row["head"]), row["relation"], Span(row["tail"]))
        found = finder and relations.ground([Found(words.relation, words.head.text, (("", words.tail.text),))], finder)
        made.extend(found or [words])  # what an answer may not say, such as a mention with itself, still is gold
    return tuple(made)


def _events(rows: list[_RawEvent], finder: Finder | None) -> tuple[Event, ...]:
    found = [
        Found(
            row["event_type"],
            row["event_trigger"],
            tuple((one["role"], one["argument"]) for one in row.get("arguments", ())),
        )
        for row in rows
    ]
    if finder is not None:
        return tuple(ee.ground(found, finder))
    return tuple(
        Event(one.type, Span(one.text), tuple(Argument(role, text) for role, text in one.parts if not is_nothing(text)))
        for one in found
    )


def _with(made: Extraction, **records: Any) -> Extraction:
    return Extraction(made.id, made.text, provenance=made.provenance, **records)


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    with path.open(encoding=encoding, errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def _object(line: str) -> dict[str, Any] | None:
    try:
        return _objects.validate_json(line)
    except ValidationError:
        return None


def _malformed(path: Path, line: int, error: ValidationError) -> UserError:
    first = error.errors(include_url=False, include_context=False)[0]
    return UserError(
        "Line {line} of {path} is not a row to score: {where}: {why}.",
        remedy="Write one JSON object a line: a row of records.jsonl, or text with entity, relation or event.",
        line=line,
        path=path,
        where=".".join(map(str, first["loc"])) or "JSON",
        why=first["msg"],
    )
