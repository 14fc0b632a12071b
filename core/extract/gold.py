"""Gold (and predictions) from files: records.jsonl, raw rows, tables, IEPile's test rows, BIO, Label Studio. Streamed.

    {"text": …, "entity": [{"entity", "entity_type"}]}          also with "id", "source" and "schema"
    {"text": …, "relation": [{"head", "relation", "tail"}]}
    {"text": …, "event": [{"event_trigger", "event_type", "arguments": [{"argument", "role"}]}]}

Raw rows, as IEPile and InstructIE have them, tell words, not places. They are looked for as an answer's are (`tasks`),
so that gold and prediction mean the same mention where a text has several; what isn't found is kept without offsets.
A folder is read as the run that it holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from core.errors import UserError
from core.extract import bio, calls, evaluate_iepile, evaluate_tables, instructkgc
from core.extract.answer import Found
from core.extract.encodings import encoding_of
from core.extract.ground import Finder, is_nothing
from core.extract.normal import normalise
from core.extract.schema import Task
from core.extract.tasks import ee
from core.extract.tasks import re as relations
from core.records import Argument, Entity, Event, Extraction, Relation, Span
from core.store import FILE as STORE
from core.store import Store

_RAW = evaluate_tables.RAW
_SHAPES = (
    "Give a records.jsonl, JSON lines with text and entity, relation or event, a CSV or Excel table, a BIO file or "
    "an export of Label Studio."
)
_WORDS = ConfigDict(coerce_numbers_to_str=True)
Place = tuple[int, int]


@with_config(_WORDS)
class _RawEntity(TypedDict):
    entity: str
    entity_type: str
    start: NotRequired[int]
    end: NotRequired[int]


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


def read(path: Path, task: Task, *, located: bool = True, predicted: bool = False) -> Iterator[Extraction]:
    """The rows of a file of any of the formats above; of all but records.jsonl only the task's records.

    Rows without an id have the id "". `located=False` leaves raw rows' words as they stand, without
    offsets, as `iepile` rules compare them. `predicted`: of rows that hold both, the answer and not the label.
    Raises UserError, with the line, at the first bad row.
    """
    path = Path(path)
    if path.is_dir():
        return _read_run(path)
    if not path.is_file():
        raise UserError("There is no file {path}.", remedy="Check the name and the folder.", path=path)
    if evaluate_tables.is_table(path):
        return _read_rows(path, evaluate_tables.rows(path, task), task, located)
    encoding = encoding_of(path)
    with path.open(encoding=encoding, errors="replace", newline="\n") as file:
        first = list(islice((line for line in file if line.strip()), 20))
    if not first:
        raise UserError("{path} is empty.", remedy="Choose a file with at least one text in it.", path=path)
    if (row := _object(first[0])) is not None:
        if "text" in row and any(name in row for name in ("entities", "relations", "events")):
            return _read_records(path, encoding)
        if task == "re" and instructkgc.is_row(row):
            return _read_instructkgc(path, located)
        if evaluate_iepile.is_test_row(row):
            return _read_test_rows(path, encoding, task, located=located, predicted=predicted)
        return _read_raw(path, encoding, task, located)
    if first[0].lstrip().startswith("["):
        return _read_list(path, encoding, task, located)
    if not bio.is_bio(first):
        raise UserError("{path} holds no gold that can be read.", remedy=_SHAPES, path=path)
    if task != "ner":
        raise UserError(
            "{path} holds BIO tags, which tell entities only.",
            remedy="Score the task ner, or give gold as JSON lines.",
            path=path,
        )
    return _read_bio(path, encoding)


def _read_instructkgc(path: Path, located: bool) -> Iterator[Extraction]:
    for made in instructkgc.gold(path):
        triples = [{"head": one.head.text, "relation": one.relation, "tail": one.tail.text} for one in made.relations]
        yield from_raw({"id": made.id, "text": made.text, "relation": triples}, "re", located=located)


def _read_run(folder: Path) -> Iterator[Extraction]:
    """A run's store, which is newer than its records.jsonl while it works."""
    if (folder / STORE).is_file():
        return Store(folder).results()
    if (folder / "records.jsonl").is_file():
        return _read_records(folder / "records.jsonl", "utf-8")
    raise UserError(
        "There is no extraction run in {folder}.",
        remedy="Choose the folder that `extract run` wrote: it holds {file}.",
        folder=folder,
        file=STORE,
    )


def _read_list(path: Path, encoding: str, task: Task, located: bool) -> Iterator[Extraction]:
    """One JSON list: an export of Label Studio, or raw rows."""
    try:
        rows = json.loads(path.read_text(encoding=encoding, errors="replace"))
    except (ValueError, RecursionError) as error:
        raise UserError("{path} holds no gold that can be read.", remedy=_SHAPES, path=path) from error
    if rows and isinstance(rows[0], dict) and "data" in rows[0]:
        from core.extract import labelstudio

        return labelstudio.read(path)
    return _read_rows(path, iter(rows), task, located)


def _read_rows(path: Path, rows: Iterator[Any], task: Task, located: bool) -> Iterator[Extraction]:
    for number, row in enumerate(rows, start=1):
        yield from_raw(_checked(row, path, number, task), task, located=located)


def _read_test_rows(path: Path, encoding: str, task: Task, *, located: bool, predicted: bool) -> Iterator[Extraction]:
    for number, line in _lines(path, encoding):
        row = _object(line)
        if row is None or not evaluate_iepile.is_test_row(row):
            raise UserError(
                "Line {line} of {path} is not a row of IEPile: id, instruction and label or output.",
                remedy="Give a file in which all rows have one shape.",
                line=number,
                path=path,
            )
        raw, readable = evaluate_iepile.raw(row, task, predicted=predicted)
        made = from_raw(_checked(raw, path, number, task), task, located=located)
        yield made if readable else replace(made, error=calls.UNREADABLE.to_dict())


def _checked(row: Any, path: Path, line: int, task: Task) -> Any:
    try:
        made = _raw_rows.validate_python(row)
    except ValidationError as error:
        raise _malformed(path, line, error) from error
    return _with_field(made, path, line, task)


def _with_field(row: Mapping[str, Any], path: Path, line: int, task: Task) -> Any:
    if _RAW[task] not in row:
        raise UserError(
            "Line {line} of {path} has no “{field}”.",
            remedy="Choose the task that the file is for; a row with nothing in it has an empty list.",
            line=line,
            path=path,
            field=_RAW[task],
        )
    return row


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
    for number, line in _lines(path, encoding):
        try:
            row = _raw_rows.validate_json(line)
        except ValidationError as error:
            raise _malformed(path, number, error) from error
        yield from_raw(_with_field(row, path, number, task), task, located=located)


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
        if "start" in rows[number] or "end" in rows[number]:  # told by whoever made the gold; checked by the score
            made[number] = Entity(words, kind, rows[number].get("start"), rows[number].get("end"))
            continue
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
