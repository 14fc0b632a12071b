"""Every record of a run, flat, so that a page of a table comes in milliseconds whatever the run's size.

A run's store holds one row a document; a table shows one row a record, filtered and sorted. So the records are
laid out in SQLite in memory, once, and each look at the page adds what finished since the last.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.records import Entity, Extraction, Span
from core.store import Store

Kind = Literal["entity", "relation", "event", "failure"]
KINDS: tuple[Kind, ...] = ("entity", "relation", "event", "failure")
PAGE = 100
PIECE = 4000
"""Documents read in one look: about 0.3 s."""

_ORDERS = {
    "file": "doc, nth",
    "type": "type COLLATE NOCASE, doc, nth",
    "text": "one COLLATE NOCASE, doc, nth",
    "sure": "sure IS NULL, sure, doc, nth",
}
ORDERS = tuple(_ORDERS)


@dataclass(frozen=True)
class Query:
    """Which records, in which order. `words`: anywhere in text, type or id."""

    kind: Kind
    words: str = ""
    types: tuple[str, ...] = ()
    order: str = "file"


@dataclass(frozen=True)
class Row:
    """A record: `doc` is its document's row in the input, `nth` its place among that document's of its kind.

    entity: type, one = text · relation: type, one = head, two = tail · event: type, one = trigger, two = arguments
    failure: type = problem, one = remedy, two = the text (`values` filled by who draws it).
    """

    doc: int
    nth: int
    id: str
    type: str
    one: str
    two: str
    located: bool
    marked: bool
    """Made by a model that does not declare the text's language."""
    swapped: bool = False
    """A relation whose head and tail may have changed places."""
    sure: float | None = None
    """Its confidence, where that was measured."""


class RecordsIndex:
    """Thread-safe: Streamlit's sessions share one a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self.seen = 0
        """The sequence number of the last document taken in."""
        self.behind = True
        """Whether the store may hold finished documents that are not here yet."""
        self._renewed = 0
        self._types: Counter[tuple[Kind, str]] = Counter()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            "CREATE TABLE records (kind TEXT, doc INTEGER, nth INTEGER, id TEXT, type TEXT, one TEXT, two TEXT,"
            " located INTEGER, marked INTEGER, swapped INTEGER, sure REAL, PRIMARY KEY (kind, doc, nth)) WITHOUT ROWID"
        )

    def refresh(self, limit: int = PIECE) -> None:
        """Take in what finished since the last call, at most `limit` documents."""
        with self._lock:
            read = 0
            self._forget_other_rows()
            for seq, extraction in Store(self.folder).finished(after=self.seen, limit=limit):
                self.seen, read = seq, read + 1
                self._take(int(extraction.provenance.get("row", seq)), extraction)
            self.behind = read >= limit

    def _forget_other_rows(self) -> None:
        """Where the run went on under a changed schema: its rows are made anew."""
        renewed = int(Store(self.folder).noted("renewed") or 0)
        if renewed != self._renewed:
            self._renewed, self.seen = renewed, 0
            self._types.clear()
            self._database.execute("DELETE FROM records")

    def _take(self, doc: int, extraction: Extraction) -> None:
        for kind in KINDS:  # a failed row that was asked again comes a second time
            gone = self._database.execute(
                "DELETE FROM records WHERE kind = ? AND doc = ? RETURNING type", (kind, doc)
            ).fetchall()
            self._types.subtract((kind, type) for (type,) in gone)
        rows = list(_flat(doc, extraction))
        self._database.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._types.update((row[0], row[4]) for row in rows)

    def count(self, query: Query) -> int:
        where, values = _where(query)
        return self._ask(f"SELECT count(*) FROM records WHERE {where}", values)[0][0]  # noqa: S608 no value in it

    def counts(self) -> dict[Kind, int]:
        with self._lock:
            return {kind: sum(n for (of, _), n in self._types.items() if of == kind) for kind in KINDS}

    def page(self, query: Query, number: int) -> list[Row]:
        """The records of a page, numbered from 1."""
        where, values = _where(query)
        rows = self._ask(
            "SELECT doc, nth, id, type, one, two, located, marked, swapped, sure FROM records"  # noqa: S608 no value in it
            f" WHERE {where} ORDER BY {_ORDERS[query.order]} LIMIT ? OFFSET ?",
            [*values, PAGE, PAGE * (number - 1)],
        )
        return [_made(*row) for row in rows]

    def judged(self, kind: Kind) -> bool:
        """Whether any of these records has a confidence."""
        return bool(self._ask("SELECT 1 FROM records WHERE kind = ? AND sure IS NOT NULL LIMIT 1", [kind]))

    def place(self, query: Query, doc: int, nth: int) -> int | None:
        """Where a record stands under the query, from 0; None if the query leaves it out."""
        where, values = _where(query)
        found = self._ask(
            "SELECT place FROM (SELECT doc, nth, row_number() OVER"  # noqa: S608 no value in it
            f" (ORDER BY {_ORDERS[query.order]}) - 1 AS place FROM records WHERE {where}) WHERE doc = ? AND nth = ?",
            [*values, doc, nth],
        )
        return found[0][0] if found else None

    def types(self, kind: Kind) -> list[str]:
        """The types that occur, in alphabetical order."""
        with self._lock:
            return sorted(type for (of, type), n in self._types.items() if of == kind and n > 0)

    def extraction(self, doc: int) -> Extraction | None:
        return next(Store(self.folder).results(after=doc - 1, limit=1), None)

    def _ask(self, sql: str, values: list) -> list[tuple]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()


def _made(
    doc: int, nth: int, id: str, type: str, one: str, two: str, located: int, marked: int, swapped: int, sure: float
) -> Row:
    return Row(doc, nth, id, type, one, two, bool(located), bool(marked), bool(swapped), sure)


def _where(query: Query) -> tuple[str, list]:
    where: list[str] = ["kind = ?"]
    values: list[object] = [query.kind]
    if query.types:
        where.append(f"type IN ({', '.join('?' * len(query.types))})")
        values += query.types
    for word in query.words.split():
        where.append("(one || char(10) || two || char(10) || type || char(10) || id) LIKE ? ESCAPE '\\'")
        values.append("%" + word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%")
    return " AND ".join(where), values


def _flat(doc: int, extraction: Extraction) -> Iterator[tuple]:
    marked = extraction.provenance.get("reads_language") is False
    head = (doc, extraction.id)
    for nth, entity in enumerate(extraction.entities):
        yield _row("entity", head, nth, (entity.type, entity.text, ""), [entity], marked, sure=entity.confidence)
    for nth, relation in enumerate(extraction.relations):
        words = (relation.relation, relation.head.text, relation.tail.text)
        yield _row(
            "relation",
            head,
            nth,
            words,
            [relation.head, relation.tail],
            marked,
            swapped=relation.swapped,
            sure=relation.confidence,
        )
    for nth, event in enumerate(extraction.events):
        told = " · ".join(f"{argument.role}: {argument.text}" for argument in event.arguments)
        words = (event.type, event.trigger.text, told)
        yield _row("event", head, nth, words, [event.trigger], marked, sure=event.confidence)
    if extraction.error is not None:
        told = json.dumps(extraction.error, ensure_ascii=False)
        yield _row(
            "failure", head, 0, (str(extraction.error.get("problem", "")), told, extraction.text[:500]), (), marked
        )


def _row(
    kind: Kind,
    head: tuple[int, str],
    nth: int,
    words: tuple[str, str, str],
    spans: Iterable[Entity | Span],
    marked: bool,
    *,
    swapped: bool = False,
    sure: float | None = None,
) -> tuple:
    return (kind, head[0], nth, head[1], *words, all(span.located for span in spans), marked, swapped, sure)
