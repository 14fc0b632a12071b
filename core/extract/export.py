"""A run's store as files for others: records.jsonl, entities.csv, relations.csv, events.csv, errors.csv, audit.json.

The CSV files start with a byte order mark, so that Excel reads their Chinese, and a cell that Excel
would take for a formula (it starts with = + - @, a tab or a line end) gets a `'` before it, since
texts come from anywhere. records.jsonl holds everything to the letter: programs read that one.
"""

from __future__ import annotations

import csv
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from core.errors import UserError
from core.extract import audit
from core.extract.chunk import sentences
from core.records import Extraction
from core.store import Store, clean, dump

RECORDS = "records.jsonl"
_WHERE = ("row", "id")
_ABOUT = ("sentence", "model", "warnings")
TABLES: dict[str, tuple[str, ...]] = {
    "entities.csv": (*_WHERE, "text", "type", "start", "end", "confidence", *_ABOUT),
    "relations.csv": (
        *_WHERE,
        *("head", "relation", "tail", "head_start", "head_end", "tail_start", "tail_end"),
        *("confidence", "swapped"),
        *_ABOUT,
    ),
    "events.csv": (
        *_WHERE,
        *("event", "type", "trigger", "trigger_start", "trigger_end", "role", "argument", "start", "end"),
        *("confidence", *_ABOUT),
    ),
    "errors.csv": (*_WHERE, "problem", "remedy", "text"),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass
class Exported:
    rows: int = 0
    failed: int = 0
    entities: int = 0
    relations: int = 0
    events: int = 0
    not_located: int = 0
    """Spans that are not in their text."""

    def counts(self) -> dict[str, int]:
        return dict(vars(self))


def export_run(folder: str | Path) -> Exported:
    """Write all files anew from the store, each whole or not at all. Streams; safe while the run goes on."""
    folder = Path(folder)
    store, made = Store(folder), Exported()
    names, mark = (RECORDS, *TABLES), secrets.token_hex(4)  # a page may export while the run does
    temporary = {name: folder / f".{name}.{mark}.tmp" for name in names}
    try:
        with ExitStack() as stack:
            files = {name: stack.enter_context(_open(temporary[name], name)) for name in names}
            writers = {name: csv.writer(files[name]) for name in TABLES}
            for name, writer in writers.items():
                writer.writerow(TABLES[name])
            for number, extraction in enumerate(store.results()):
                files[RECORDS].write(dump(extraction.to_dict()) + "\n")
                for name, rows in _rows(number, extraction).items():
                    writers[name].writerows([cell(value) for value in row] for row in rows)
                _count(made, extraction)
        for name in names:
            temporary[name].replace(folder / name)
        if not made.failed:
            (folder / "errors.csv").unlink()
        audit.write_told(folder)
    except OSError as error:
        raise UserError(
            "The results could not be written to {folder}: {why}.",
            remedy="Free some space or close the programs that hold the files, then start the run again: "
            "nothing is asked twice.",
            folder=folder,
            why=error.strerror or error,
        ) from error
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return made


def _open(path: Path, name: str) -> TextIO:
    return path.open("w", encoding="utf-8" if name == RECORDS else "utf-8-sig", newline="" if name != RECORDS else "\n")


def _rows(number: int, extraction: Extraction) -> dict[str, list[tuple]]:
    where = (extraction.provenance.get("row", number) + 1, extraction.id)
    about = _About(extraction)
    rows: dict[str, list[tuple]] = {
        "entities.csv": [
            (*where, one.text, one.type, one.start, one.end, one.confidence, *about(one.start))
            for one in extraction.entities
        ],
        "relations.csv": [
            (
                *(*where, one.head.text, one.relation, one.tail.text),
                *(one.head.start, one.head.end, one.tail.start, one.tail.end),
                *(one.confidence, "yes" if one.swapped else ""),
                *about(one.head.start if one.head.located else one.tail.start),
            )
            for one in extraction.relations
        ],
        "events.csv": list(_events(where, extraction, about)),
    }
    if extraction.error:
        error = UserError.from_dict(extraction.error)
        told = (error.problem.format(**error.values), error.remedy.format(**error.values))
        rows["errors.csv"] = [(*where, *told, extraction.text[:1000])]
    return rows


def _events(where: tuple, extraction: Extraction, about: _About) -> Iterator[tuple]:
    """A row an argument, and one for an event without any; `event` counts a document's events from 1."""
    for number, event in enumerate(extraction.events, start=1):
        trigger = (event.trigger.text, event.trigger.start, event.trigger.end)
        arguments: list[tuple[Any, ...]] = [(one.role, one.text, one.start, one.end) for one in event.arguments]
        for argument in arguments or [("", "", None, None)]:
            yield (*where, number, event.type, *trigger, *argument, event.confidence, *about(event.trigger.start))


class _About:
    """The last columns: the sentence a record was read from, the model, what must be known before believing it."""

    def __init__(self, extraction: Extraction) -> None:
        self._text = extraction.text
        self._sentences: list[tuple[int, int]] | None = None
        provenance = extraction.provenance
        warnings = [UserError.from_dict(one).problem for one in provenance.get("warnings", ()) if isinstance(one, dict)]
        self._rest = (provenance.get("model", ""), "; ".join(warnings))

    def __call__(self, position: int | None) -> tuple[str, str, str]:
        return (self._sentence(position), *self._rest)

    def _sentence(self, position: int | None) -> str:
        if position is None:
            return ""
        if self._sentences is None:
            self._sentences = sentences(self._text)
        start, end = next(span for span in self._sentences if span[1] > position)
        return self._text[start:end].strip()[:2000]


def cell(value: object) -> str:
    if value is None:
        return ""
    text = clean(str(value)).replace("\0", " ")
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    """A negative number is no formula."""
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text


def _count(made: Exported, extraction: Extraction) -> None:
    made.rows += 1
    made.failed += extraction.error is not None
    made.entities += len(extraction.entities)
    made.relations += len(extraction.relations)
    made.events += len(extraction.events)
    spans: list[Any] = [*extraction.entities]
    spans += [span for one in extraction.relations for span in (one.head, one.tail)]
    spans += [span for one in extraction.events for span in (one.trigger, *one.arguments)]
    made.not_located += sum(span.start is None for span in spans)
