"""`findings.sqlite` of an evaluation: every document and every finding, so that each number opens its sentences."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract.evaluate_errors import Finding
from core.records import Extraction
from core.store import dump

FILE = "findings.sqlite"
FORMAT = 1
NONE = ""
"""In a confusion matrix: no piece on that side."""

_TABLES = """
CREATE TABLE documents (doc INTEGER PRIMARY KEY, id TEXT NOT NULL, start TEXT NOT NULL, gold TEXT NOT NULL);
CREATE TABLE predictions (run INTEGER, doc INTEGER, json TEXT NOT NULL, PRIMARY KEY (run, doc)) WITHOUT ROWID;
CREATE TABLE findings (
    run INTEGER, doc INTEGER, kind TEXT, slot TEXT, type TEXT,
    gold_label TEXT, gold_record TEXT, gold_words TEXT, pred_label TEXT, pred_record TEXT, pred_words TEXT,
    confidence REAL);
"""
_INDEXES = """
CREATE INDEX by_kind ON findings (run, kind, type);
CREATE INDEX by_document ON findings (run, doc);
"""
_HERE = "gold_record IS NOT NULL"
_SAID = "pred_record IS NOT NULL"


@dataclass(frozen=True)
class Wanted:
    """Which findings: of a run, narrowed by whatever is given. `gold`, `pred`: labels of a confusion's cell."""

    run: int
    kinds: tuple[str, ...] = ()
    type: str | None = None
    doc: int | None = None
    slot: str | None = None
    gold: str | None = None
    pred: str | None = None


@dataclass(frozen=True)
class Line:
    """A finding as a table shows it; the records are names as the evidence view has them, or None."""

    doc: int
    id: str
    kind: str
    slot: str
    type: str
    gold_label: str | None
    gold_record: str | None
    gold_words: str
    pred_label: str | None
    pred_record: str | None
    pred_words: str
    confidence: float | None


class Writer:
    """Fills a new file; a context manager that puts it in its place once it is whole."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._temporary = folder / f".{FILE}.tmp"

    def __enter__(self) -> Writer:
        self._temporary.unlink(missing_ok=True)
        self._database = sqlite3.connect(self._temporary)
        self._database.execute("PRAGMA synchronous = OFF")  # a file that was cut short is not used
        self._database.executescript(f"{_TABLES} PRAGMA user_version = {FORMAT};")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._database.executescript(_INDEXES)
            self._database.commit()
        self._database.close()
        if kind is None:
            self._temporary.replace(self._file)
        else:
            self._temporary.unlink(missing_ok=True)

    def document(self, doc: int, gold: Extraction) -> None:
        row = (doc, _clean(gold.id), _clean(gold.text[:200]), dump(gold.to_dict()))
        self._database.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", row)

    def prediction(self, run: int, doc: int, pred: Extraction, found: Iterable[Finding]) -> None:
        self._database.execute("INSERT INTO predictions VALUES (?, ?, ?)", (run, doc, dump(pred.to_dict())))
        rows = [(run, doc, one.kind, one.slot, _clean(one.type), *_side(one.gold), *_side(one.pred),
                 one.pred.confidence if one.pred else None) for one in found]  # fmt: skip
        self._database.executemany("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        return self._database.execute(question, values).fetchall()


class Findings:
    """Reads a finished file. Each call opens its own connection, so threads may share one."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        if not self._file.is_file():
            raise UserError(
                "There is no evaluation in {folder}.",
                remedy="Choose the folder that `extract report` wrote: it holds {file}.",
                folder=folder,
                file=FILE,
            )

    def lines(self, wanted: Wanted, limit: int = 500) -> list[Line]:
        """In the documents' order."""
        where, values = _where(wanted)
        question = (
            "SELECT doc, id, kind, slot, type, gold_label, gold_record, gold_words, pred_label, pred_record,"  # noqa: S608
            f" pred_words, confidence FROM findings JOIN documents USING (doc) WHERE {where}"
            " ORDER BY doc, findings.rowid LIMIT ?"
        )
        return [Line(*row) for row in self.ask(question, *values, limit)]

    def count(self, wanted: Wanted) -> int:
        where, values = _where(wanted)
        return self.ask(f"SELECT count(*) FROM findings WHERE {where}", *values)[0][0]  # noqa: S608 no value in it

    def documents(self, run: int, limit: int = 1000) -> list[tuple[int, str, str, int, int, int]]:
        """(doc, id, its text's start, gold, predicted, right), those with most errors first."""
        return self.ask(
            "SELECT doc, id, start,"  # noqa: S608 no value in it
            f" sum({_HERE}), sum({_SAID}), sum(kind = 'right')"
            " FROM findings JOIN documents USING (doc) WHERE run = ? GROUP BY doc"
            " ORDER BY sum(kind <> 'right') DESC, doc LIMIT ?",
            run,
            limit,
        )

    def pair(self, run: int, doc: int) -> tuple[Extraction, Extraction]:
        """The document's gold and a run's prediction."""
        question = "SELECT gold, json FROM documents JOIN predictions USING (doc) WHERE run = ? AND doc = ?"
        gold, pred = self.ask(question, run, doc)[0]
        return Extraction.from_dict(json.loads(gold)), Extraction.from_dict(json.loads(pred))

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(f"{self._file.resolve().as_uri()}?mode=ro", uri=True)) as database:
                return database.execute(question, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise UserError(
                "The evaluation in {folder} can't be read ({why}).",
                remedy="Evaluate again: it writes the folder anew.",
                folder=self._file.parent,
                why=error,
            ) from error


def confusion(rows: Sequence[tuple[Any, ...]]) -> dict[str, dict[str, dict[str, int]]]:
    """{slot: {gold's label: {predicted label: how many}}} of what `CONFUSION` found.

    A row adds up to gold's pieces of the label, a column to the predicted ones, the diagonal is what was right.
    """
    made: dict[str, dict[str, dict[str, int]]] = {}
    for slot, gold, pred, number in rows:
        cells = made.setdefault(slot, {}).setdefault(gold, {})
        cells[pred] = cells.get(pred, 0) + number
    return made


CONFUSION = (
    "SELECT slot, gold_label, pred_label, count(*) FROM findings WHERE run = ?1 AND kind IN ('right', 'wrong_type')"
    " GROUP BY 1, 2, 3 UNION ALL "
    "SELECT slot, gold_label, '', count(*) FROM findings WHERE run = ?1 AND kind NOT IN ('right', 'wrong_type')"
    " AND gold_record IS NOT NULL GROUP BY 1, 2 UNION ALL "
    "SELECT slot, '', pred_label, count(*) FROM findings WHERE run = ?1 AND kind NOT IN ('right', 'wrong_type')"
    " AND pred_record IS NOT NULL GROUP BY 1, 3"
)


def _side(piece: Any) -> tuple[str | None, str | None, str]:
    return (_clean(piece.label), piece.record, _clean(piece.words[:500])) if piece else (None, None, "")


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _where(wanted: Wanted) -> tuple[str, list[object]]:
    where, values = ["run = ?"], [wanted.run]  # type: tuple[list[str], list[object]]
    if wanted.kinds:
        where.append(f"kind IN ({', '.join('?' * len(wanted.kinds))})")
        values += wanted.kinds
    for name in ("type", "doc", "slot"):
        if (value := getattr(wanted, name)) is not None:
            where.append(f"{name} = ?")
            values.append(value)
    if wanted.gold is not None or wanted.pred is not None:
        gold, pred = wanted.gold or NONE, wanted.pred or NONE
        if gold and pred:
            where.append("kind IN ('right', 'wrong_type') AND gold_label = ? AND pred_label = ?")
            values += [gold, pred]
        else:
            side, label = ("gold", gold) if gold else ("pred", pred)
            where.append(f"kind NOT IN ('right', 'wrong_type') AND {side}_record IS NOT NULL AND {side}_label = ?")
            values.append(label)
    return " AND ".join(where), values


def all_lines(findings: Findings, run: int) -> Iterator[Line]:
    """Every error of a run, a piece at a time."""
    last = (-1, -1)
    question = (
        "SELECT findings.rowid, doc, id, kind, slot, type, gold_label, gold_record, gold_words, pred_label,"
        " pred_record, pred_words, confidence FROM findings JOIN documents USING (doc)"
        " WHERE run = ? AND kind <> 'right' AND (doc, findings.rowid) > (?, ?) ORDER BY doc, findings.rowid LIMIT 1000"
    )
    while rows := findings.ask(question, run, *last):
        last = (rows[-1][1], rows[-1][0])
        yield from (Line(*row[1:]) for row in rows)
