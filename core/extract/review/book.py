"""The review file: `review.sqlite` in a run's folder: its sentences, what people decided, and every step of it.

Write-ahead log: several windows and a running batch may be at work at once. A decision is one transaction, so it is
there whole or not at all. What the model said (`origin`) is never changed.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.extract.review import units
from core.extract.review.splits import text_hash
from core.extract.review.values import same, type_of
from core.extract.schema import TASKS, Schema, Task, from_json
from core.records import Extraction
from core.store import FILE as STORE
from core.store import Store, clean, dump

FILE = "review.sqlite"
FORMAT = 1
PIECE = 2000
"""Documents taken in at one look: about a second."""

State = Literal["pending", "accepted", "rejected", "proposed", "removed"]
"""`proposed`: only another reviewer has it; `removed`: added and taken back."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, hash TEXT NOT NULL, model TEXT NOT NULL, units INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS units (
    id INTEGER PRIMARY KEY AUTOINCREMENT, row INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    text TEXT NOT NULL, -- JSON: a lone surrogate has no bytes in UTF-8
    records INTEGER NOT NULL DEFAULT 0, pending INTEGER NOT NULL DEFAULT 0, confidence REAL,
    whole INTEGER NOT NULL DEFAULT 0, whole_by TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS units_row ON units (row, start);
CREATE INDEX IF NOT EXISTS units_state ON units (whole, pending);
CREATE TABLE IF NOT EXISTS records (
    name TEXT PRIMARY KEY, unit INTEGER NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL, same TEXT NOT NULL,
    state TEXT NOT NULL, confidence REAL, origin TEXT, value TEXT NOT NULL, place INTEGER NOT NULL,
    decided_by TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS records_unit ON records (unit, place);
CREATE INDEX IF NOT EXISTS records_same ON records (same, state);
CREATE INDEX IF NOT EXISTS records_type ON records (kind, type);
CREATE INDEX IF NOT EXISTS records_said ON records (state) WHERE origin IS NOT NULL;
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL UNIQUE, at REAL NOT NULL, who TEXT NOT NULL,
    why TEXT NOT NULL, op TEXT NOT NULL, unit INTEGER NOT NULL, changes TEXT NOT NULL,
    undoes INTEGER, undone_by INTEGER);
CREATE TABLE IF NOT EXISTS opinions ( -- of other reviewers
    who TEXT NOT NULL, record TEXT NOT NULL, unit INTEGER NOT NULL, state TEXT NOT NULL, value TEXT,
    why TEXT NOT NULL, PRIMARY KEY (who, record)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS opinions_record ON opinions (record);
CREATE TABLE IF NOT EXISTS wholes (who TEXT NOT NULL, unit INTEGER NOT NULL, PRIMARY KEY (who, unit)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disputes (
    who TEXT NOT NULL, record TEXT NOT NULL, unit INTEGER NOT NULL, settled INTEGER,
    PRIMARY KEY (who, record)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS disputes_unit ON disputes (unit, settled);
"""


@dataclass(frozen=True)
class Document:
    row: int
    id: str
    hash: str
    model: str
    units: int


class Book:
    """A run's review. Each call opens its own connection: threads may share one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.file = self.folder / FILE

    @property
    def there(self) -> bool:
        return self.file.is_file()

    def read(self, question: str, values: Sequence[object] = ()) -> list[tuple]:
        with self._connected() as database:
            return database.execute(question, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: what is written in it is there whole once it ends, and not at all if it fails."""
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def meta(self, name: str, default: Any = None) -> Any:
        found = self.read("SELECT value FROM meta WHERE name = ?", [name])
        return json.loads(found[0][0]) if found else default

    def set_meta(self, **values: Any) -> None:
        with self.writing() as database:
            database.executemany(_META, [(name, dump(value)) for name, value in values.items()])

    @property
    def id(self) -> str:
        """The same in every copy that was handed to somebody."""
        return self.meta("review", "")

    def schema(self) -> Schema | None:
        told = self.meta("schema")
        return from_json(told) if told else None

    def tasks(self) -> tuple[Task, ...]:
        """What the run was asked for: what a whole sentence is whole in."""
        told = self.meta("tasks")
        if told:
            return tuple(told)
        kinds = {kind for (kind,) in self.read("SELECT DISTINCT kind FROM records")}
        return tuple(task for task in TASKS if _KINDS[task] in kinds)

    def documents(self) -> Iterator[Document]:
        with self._connected() as database:
            for row in database.execute("SELECT row, id, hash, model, units FROM documents ORDER BY row"):
                yield Document(*row)

    # From the run

    @property
    def behind(self) -> bool:
        """Whether the run holds finished documents that are not here yet."""
        return (self.folder / STORE).is_file() and Store(self.folder).last() > int(self.meta("seen", 0))

    def refresh(self, limit: int = PIECE, schema: Schema | None = None) -> int:
        """Take in what the run has finished since the last look; how many documents. `schema`: what it asked for."""
        if (self.folder / STORE).is_file():
            return self._take(Store(self.folder), limit, schema)
        if not self.there:
            Store(self.folder)  # says that there is no run
        return 0

    def refresh_all(self, schema: Schema | None = None) -> None:
        while self.refresh(schema=schema) >= PIECE:
            pass

    def _take(self, store: Store, limit: int, schema: Schema | None) -> int:
        settings = store.settings()
        self._create()
        with self.writing() as database:
            known = {name: json.loads(value) for name, value in database.execute("SELECT name, value FROM meta")}
            fresh: dict[str, Any] = {}
            if "tasks" not in known and settings.get("task"):
                fresh["tasks"] = settings["task"]
            if schema is not None and (known.get("schema") is None or settings.get("schema") == schema.hash):
                told = schema.model_dump(mode="json")
                fresh |= {"schema": told} if told != known.get("schema") else {}
            read, seen = 0, int(known.get("seen", 0))
            for seq, extraction in store.finished(after=seen, limit=limit):
                seen, read = seq, read + 1
                put(database, extraction, int(extraction.provenance.get("row", seq)))
            if read:
                fresh["seen"] = seen
            database.executemany(_META, [(name, dump(value)) for name, value in fresh.items()])
        return read

    def create(self, **meta: Any) -> None:
        """An empty review that no run stands behind, such as one received from somebody."""
        self._create()
        self.set_meta(**meta)

    def _create(self) -> None:
        if self.there:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._connected(new=True) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(_TABLES)
            meta = {"format": FORMAT, "review": secrets.token_hex(8), "created": time.time()}
            database.executemany(
                "INSERT OR IGNORE INTO meta VALUES (?, ?)", [(name, dump(value)) for name, value in meta.items()]
            )
        self.file.chmod(0o600)

    @contextmanager
    def _connected(self, *, new: bool = False) -> Iterator[sqlite3.Connection]:
        if not new and not self.there:
            raise UserError(
                "There is no review in {folder}.",
                remedy="Open the run on the Review page, or receive a package with `extract review open`.",
                folder=self.folder,
            )
        try:
            database = sqlite3.connect(self.file, timeout=30, isolation_level=None)
            try:
                database.execute("PRAGMA synchronous = NORMAL")
                _check_format(database, self.file)
                yield database
            finally:
                database.close()
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                "The review in {folder} can't be read or written ({why}).",
                remedy="Free some disk space, or see that the folder may be written. What was decided before is kept.",
                folder=self.folder,
                why=error,
            ) from error


_KINDS: dict[Task, str] = {"ner": "entity", "re": "relation", "ee": "event"}
_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


def put(database: sqlite3.Connection, extraction: Extraction, row: int) -> None:
    """A document's sentences. One that somebody has worked on already stays as it is."""
    if extraction.error is not None or _touched(database, row):
        return
    database.execute("DELETE FROM records WHERE unit IN (SELECT id FROM units WHERE row = ?)", [row])
    database.execute("DELETE FROM units WHERE row = ?", [row])
    made = units.cut(extraction)
    model = clean(str(extraction.provenance.get("model", "")))
    facts = (row, clean(extraction.id), text_hash(extraction.text), model, len(made))
    database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", facts)
    for unit in made:
        number = database.execute(
            "INSERT INTO units (row, start, end, text) VALUES (?, ?, ?, ?)",
            [row, unit.start, unit.end, dump(unit.text)],
        ).lastrowid
        database.executemany(
            "INSERT INTO records (name, unit, kind, type, same, state, confidence, origin, value, place)"
            " VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
            [
                (
                    f"{row}:{one.kind}:{one.number}",
                    number,
                    one.kind,
                    clean(type_of(one.kind, one.value)),
                    same(one.kind, one.value),
                    one.confidence,
                    told := dump(one.value),
                    told,
                    place,
                )
                for place, one in enumerate(unit.records)
            ],
        )
        recount(database, int(number or 0))


def recount(database: sqlite3.Connection, unit: int) -> None:
    """What a unit's row tells of its records. `confidence`: the lowest of what is still to be decided, else of all."""
    database.execute(
        "UPDATE units SET (records, pending, confidence) = ("
        " SELECT count(*), coalesce(sum(state = 'pending'), 0),"
        " coalesce(min(CASE state WHEN 'pending' THEN confidence END), min(confidence)) FROM records"
        " WHERE unit = units.id AND state != 'removed') WHERE id = ?",
        [unit],
    )


def _touched(database: sqlite3.Connection, row: int) -> bool:
    """Whether somebody decided something in the document, here or in a copy that came back."""
    question = (
        "SELECT 1 FROM units WHERE row = ? AND (whole OR EXISTS (SELECT 1 FROM records WHERE unit = units.id"
        " AND state != 'pending') OR EXISTS (SELECT 1 FROM opinions WHERE unit = units.id)) LIMIT 1"
    )
    return database.execute(question, [row]).fetchone() is not None


def _check_format(database: sqlite3.Connection, file: Path) -> None:
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
        return
    found = database.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    if found is not None and int(found[0]) > FORMAT:
        raise UserError(
            "{file} was written by a newer version of the app.", remedy="Update the app to open it.", file=file
        )
