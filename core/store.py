"""A batch's store: `store.sqlite` in its run folder: settings, one row a finished document, the answers behind them.

`Store` is whoever reads, also while it is written; `Writer` is a runner, and several may work at once.

Answers are kept under names that tell all that led to them (core/extract/keys.py). Rows are what the run's settings
make of them: where a setting changes that may (a type of the schema), the rows go, and only what has no answer under
its name is asked.

A runner claims a text before it asks. Each holds a lock of its own that the kernel frees when it dies; a claim whose
runner's lock is free counts for nothing.

Write-ahead log with synchronous=NORMAL: a committed row survives the process' death by any signal
(the log is in the system's hands by then). Only a power cut may take the last rows back, and a row
taken back is asked again; the file itself stays whole. FULL would wait for the disk at each row to save those few.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.errors import UserError
from core.records import Extraction

FILE = "store.sqlite"
LOCK = "run.lock"
"""Held while a runner comes in; by versions of format 1, for as long as they work."""
RUNNERS = "runners"
FORMAT = 2
PATIENCE = 20.0
"""Seconds to wait for another runner that is coming in."""
LOG_PAGES = 4000
"""16 MB of log before it is taken over, which costs two waits for the disk: at the usual 4 MB, one in 150 rows."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- order of finishing, for those who follow a running batch
    row INTEGER NOT NULL UNIQUE,           -- place in the input, from 0
    id TEXT NOT NULL, key TEXT NOT NULL, failed INTEGER NOT NULL, json TEXT NOT NULL,
    seconds REAL NOT NULL, tokens INTEGER NOT NULL, records INTEGER NOT NULL, written_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS results_key ON results (key) WHERE failed = 0;
CREATE TABLE IF NOT EXISTS answers ( -- one a call
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, unreadable INTEGER NOT NULL, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runners (id INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL, began REAL NOT NULL);
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, row INTEGER NOT NULL, runner INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Counts:
    rows: int = 0
    failed: int = 0
    records: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Of asking, added up over the rows."""


class Store:
    """Reads a run. Each call opens and closes its own connection, so one may be shared by threads."""

    def __init__(self, folder: str | Path) -> None:
        self.file = Path(folder) / FILE
        if not self.file.is_file():
            raise UserError(
                "There is no extraction run in {folder}.",
                remedy="Choose the folder that `extract run` wrote: it holds {file}.",
                folder=folder,
                file=FILE,
            )

    def results(self, after: int = -1, limit: int | None = None) -> Iterator[Extraction]:
        """Finished documents in the input's order, those behind row `after`."""
        for _, extraction in self.rows(after, limit):
            yield extraction

    def rows(self, after: int = -1, limit: int | None = None) -> Iterator[tuple[int, Extraction]]:
        """The same with their rows in the input."""
        question = "SELECT row, json FROM results WHERE row > ? ORDER BY row LIMIT ?"
        for row, text in self._ask(question, after, -1 if limit is None else limit):
            yield row, Extraction.from_dict(json.loads(text))

    def finished(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Extraction]]:
        """(sequence number, document) in the order of finishing: ask again with the last number to follow a run."""
        question = "SELECT seq, json FROM results WHERE seq > ? ORDER BY seq LIMIT ?"
        for seq, text in self._ask(question, after, -1 if limit is None else limit):
            yield seq, Extraction.from_dict(json.loads(text))

    def failures(self) -> Iterator[Extraction]:
        for (text,) in self._ask("SELECT json FROM results WHERE failed ORDER BY row"):
            yield Extraction.from_dict(json.loads(text))

    def counts(self) -> Counts:
        return Counts(*next(self._ask(_COUNTS)))

    def last(self) -> int:
        """The sequence number of the row that was written last; 0 before the first. No number comes twice."""
        return next(self._ask("SELECT coalesce(max(seq), 0) FROM results"))[0]

    def settings(self) -> dict[str, Any]:
        """What the batch was made under."""
        return self.noted("settings") or {}

    def noted(self, name: str) -> Any:
        """What a runner wrote down; None where none did."""
        found = next(self._ask("SELECT value FROM meta WHERE name = ?", name), None)
        return None if found is None else _read(found[0])

    def known(self, names: Sequence[bytes]) -> set[bytes]:
        """Those of the answers that are kept. Of a store that no runner of this version has opened, none."""
        if not next(self._ask("SELECT count(*) FROM sqlite_master WHERE name = 'answers'"))[0]:
            return set()
        found: set[bytes] = set()
        for start in range(0, len(names), 500):
            some = names[start : start + 500]
            marks = ", ".join("?" * len(some))
            found |= {name for (name,) in self._ask(f"SELECT key FROM answers WHERE key IN ({marks})", *some)}  # noqa: S608
        return found

    def _ask(self, question: str, *values: object) -> Iterator[tuple]:
        with _told(self.file), closing(_connect(self.file)) as database:
            database.execute("PRAGMA query_only = ON")
            _check_format(database, self.file)
            yield from database.execute(question, values)


class Writer:
    """A runner of the batch in a folder. A context manager: registered, with a lock of its own, while inside.

    `may_change`: settings under which a finished run may go on; its rows go then, its answers stay. `changed` names
    those that did. Raises UserError: a run of other settings, one that others work on under other settings, or one
    that a newer version wrote.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, may_change: Collection[str] = ()) -> None:
        self.folder = folder
        self.changed: list[str] = []
        self.id = 0
        self._settings, self._may_change = dict(settings), frozenset(may_change)

    def __enter__(self) -> Writer:
        with _told(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _coming_in(self.folder):
                self._open()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(sqlite3.Error):  # a full disk; what is committed is in the log
            try:
                with self._transaction():
                    self._forget_runner(self.id)
            finally:
                self._database.close()
        self._lock.release()
        _lock_file(self.folder, self.id).unlink(missing_ok=True)

    # What is finished

    def done(self, row: int) -> bool:
        """Whether the row has a result, be it a failure."""
        return self._database.execute("SELECT 1 FROM results WHERE row = ?", (row,)).fetchone() is not None

    def done_among(self, rows: Sequence[int]) -> set[int]:
        marks = ", ".join("?" * len(rows))
        found = self._database.execute(f"SELECT row FROM results WHERE row IN ({marks})", rows)  # noqa: S608
        return {row for (row,) in found}

    def done_rows(self) -> bytearray:
        """A byte a row, 1 where it has a result; rows past the end have none."""
        last = self._database.execute("SELECT coalesce(max(row), -1) FROM results").fetchone()[0]
        made = bytearray(last + 1)
        for (row,) in self._database.execute("SELECT row FROM results"):
            if row < len(made):
                made[row] = 1
        return made

    def forget_failures(self) -> None:
        """So that they are asked again."""
        with _told(self.folder), self._transaction():
            self._database.execute("DELETE FROM results WHERE failed")
            self._database.execute("DELETE FROM answers WHERE unreadable")

    def same(self, key: str) -> Extraction | None:
        """The result of a document with the same text, where one succeeded."""
        found = self._database.execute(
            "SELECT json FROM results WHERE key = ? AND failed = 0 LIMIT 1", (key,)
        ).fetchone()
        return Extraction.from_dict(json.loads(found[0])) if found else None

    def put(self, row: int, key: str, extraction: Extraction, answers: Sequence[tuple[bytes, Extraction]] = ()) -> None:
        """Write a finished document with the answers that came last, in the place of a failed one if there is.

        Committed on return, and this runner's claim on the text is gone. A finished row stays as it is.
        """
        records = len(extraction.entities) + len(extraction.relations) + len(extraction.events)
        spent = extraction.provenance
        values = (
            row,
            clean(extraction.id),
            key,
            extraction.error is not None,
            dump(extraction.to_dict()),
            spent.get("seconds", 0.0),
            spent.get("tokens", 0),
            records,
            time.time(),
        )
        told = [_kept(*pair) for pair in answers]
        with _told(self.folder), self._transaction():
            if not self._database.execute(_INSERT, values).rowcount:
                self._database.execute("DELETE FROM results WHERE row = ? AND failed", (row,))
                self._database.execute(_INSERT, values)
            self._keep(told)
            self._database.execute("DELETE FROM claims WHERE key = ? AND runner = ?", (key, self.id))

    def counts(self) -> Counts:
        return Counts(*self._database.execute(_COUNTS).fetchone())

    def rows(self) -> int:
        return self._database.execute("SELECT count(*) FROM results").fetchone()[0]

    # Answers

    def answers(self, keys: Sequence[bytes]) -> dict[bytes, Extraction]:
        """Those that are there already."""
        found: dict[bytes, Extraction] = {}
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            marks = ", ".join("?" * len(some))
            rows = self._database.execute(f"SELECT key, json FROM answers WHERE key IN ({marks})", some)  # noqa: S608
            found |= {key: Extraction.from_dict(json.loads(text)) for key, text in rows}
        return found

    def put_answers(self, answers: Sequence[tuple[bytes, Extraction]]) -> None:
        told = [_kept(*pair) for pair in answers]
        with _told(self.folder), self._transaction():
            self._keep(told)

    # Who works on what

    def claim(self, keys: Mapping[str, int]) -> set[str]:
        """Those of the texts ({key: row}) that are this runner's now; the others are another's."""
        wanted = [(key, row, self.id) for key, row in keys.items()]
        with _told(self.folder), self._transaction():
            self._database.executemany("INSERT OR IGNORE INTO claims VALUES (?, ?, ?)", wanted)
            held = "SELECT runner FROM claims WHERE key = ?"
            return {key for key in keys if self._database.execute(held, (key,)).fetchone()[0] == self.id}

    def release(self, keys: Collection[str]) -> None:
        with _told(self.folder), self._transaction():
            self._database.executemany(
                "DELETE FROM claims WHERE key = ? AND runner = ?", [(key, self.id) for key in keys]
            )

    def claimed_by_others(self, before: int) -> int:
        """How many texts of rows before this one other living runners work on. What dead ones had is free again."""
        with _told(self.folder):
            self._living()
            held = "SELECT count(*) FROM claims WHERE runner != ? AND row < ?"
            return self._database.execute(held, (self.id, before)).fetchone()[0]

    def others(self) -> int:
        """How many other runners are registered; they may have died meanwhile."""
        return self._database.execute("SELECT count(*) FROM runners WHERE id != ?", (self.id,)).fetchone()[0]

    # Notes

    def note(self, name: str, value: Any) -> None:
        with _told(self.folder), self._transaction():
            self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, dump(value)))

    def noted(self, name: str) -> Any:
        found = self._database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else _read(found[0])

    # Coming in

    def _open(self) -> None:
        file = self.folder / FILE
        self._database = _connect(file)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            _check_format(self._database, file)
            self._database.executescript(_TABLES)
            self._migrate()
            others = self._living()
            self._agree(others)
            self._register()
        except BaseException:
            self._database.close()
            raise

    def _migrate(self) -> None:
        """From format 1, whose rows mean the same. Its unfinished documents are asked for as a whole."""
        with self._transaction():
            self._database.execute("INSERT OR IGNORE INTO meta VALUES ('created', ?)", (str(time.time()),))
            self._database.execute("DROP TABLE IF EXISTS parts")
            self._database.execute("INSERT OR REPLACE INTO meta VALUES ('format', ?)", (str(FORMAT),))

    def _agree(self, others: int) -> None:
        known, asked = self.noted("settings"), json.loads(dump(self._settings))
        if known is None:
            self.note("settings", asked)
            return
        names = sorted({*known, *asked})
        differing = [name for name in names if known.get(name) != asked.get(name)]
        told = "; ".join(f"{name}: {_short(known.get(name))} → {_short(asked.get(name))}" for name in differing)
        if not self._may_change.issuperset(differing):
            raise UserError(
                "{folder} holds a run made under other settings: {differences}.",
                remedy="Choose another folder with --out, or give it the same settings to go on with it.",
                folder=self.folder,
                differences=told,
            )
        if differing and others:
            raise UserError(
                "Another process works on {folder} under other settings: {differences}.",
                remedy="Wait until it is done, stop it on the Jobs page, or choose another folder with --out.",
                folder=self.folder,
                differences=told,
            )
        if differing:
            with self._transaction():
                self._database.execute("DELETE FROM results")
                self._database.execute("INSERT OR REPLACE INTO meta VALUES ('settings', ?)", (dump(asked),))
                renewed = int(self.noted("renewed") or 0) + 1
                self._database.execute("INSERT OR REPLACE INTO meta VALUES ('renewed', ?)", (str(renewed),))
            self.changed = differing

    def _register(self) -> None:
        (self.folder / RUNNERS).mkdir(mode=0o700, exist_ok=True)
        with self._transaction():
            self.id = (
                self._database.execute(
                    "INSERT INTO runners (pid, began) VALUES (?, ?)", (os.getpid(), time.time())
                ).lastrowid
                or 0
            )
            self._lock = FileLock(_lock_file(self.folder, self.id))
            self._lock.acquire(timeout=0)

    def _living(self) -> int:
        """How many other runners live. The claims of those that don't are taken back: their locks are free."""
        living = 0
        for (runner,) in self._database.execute("SELECT id FROM runners WHERE id != ?", (self.id,)).fetchall():
            lock = FileLock(_lock_file(self.folder, runner))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                living += 1
                continue
            try:
                with self._transaction():
                    self._forget_runner(runner)
            finally:
                lock.release()
                _lock_file(self.folder, runner).unlink(missing_ok=True)
        return living

    def _forget_runner(self, runner: int) -> None:
        self._database.execute("DELETE FROM claims WHERE runner = ?", (runner,))
        self._database.execute("DELETE FROM runners WHERE id = ?", (runner,))

    def _keep(self, told: Sequence[tuple[bytes, bool, str]]) -> None:
        self._database.executemany("INSERT OR IGNORE INTO answers (key, unreadable, json) VALUES (?, ?, ?)", told)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing. Begun as a writer, so that it waits for other runners instead of failing at its end."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has ended it already
                self._database.execute("ROLLBACK")
            raise


@contextmanager
def _coming_in(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout as busy:
        raise UserError(
            "Another process is working on {folder}.",
            remedy="Wait until it is done, stop it on the Jobs page, or choose another folder with --out.",
            folder=folder,
        ) from busy
    try:
        yield
    finally:
        lock.release()


def _kept(name: bytes, answer: Extraction) -> tuple[bytes, bool, str]:
    return name, bool(answer.provenance.get("unreadable")), dump(answer.to_dict())


def _lock_file(folder: Path, runner: int) -> Path:
    return folder / RUNNERS / f"{runner}.lock"


def dump(value: object) -> str:
    """JSON that any file can hold: Chinese as it is, lone surrogates (which UTF-8 has no bytes for) escaped."""
    text = _ENCODER.encode(value)
    return text if clean(text) == text else json.dumps(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "))


def clean(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


_INSERT = (
    "INSERT OR IGNORE INTO results (row, id, key, failed, json, seconds, tokens, records, written_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNTS = (
    "SELECT count(*), coalesce(sum(failed), 0), coalesce(sum(records), 0), coalesce(sum(tokens), 0),"
    " coalesce(sum(seconds), 0.0) FROM results"
)


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=30, isolation_level=None)


def _read(value: str) -> Any:
    return json.loads(value)


def _check_format(database: sqlite3.Connection, file: Path) -> None:
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
        return
    found = database.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    if found is not None and int(found[0]) > FORMAT:
        raise UserError(
            "{file} was written by a newer version of the app.",
            remedy="Update the app, or choose another folder with --out.",
            file=file,
        )


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """SQLite's and the disk's errors as a person should read them. A failed write is rolled back: nothing is lost."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise _explained(place, error) from error


def _explained(place: Path, error: Exception) -> UserError:
    if any(words in str(error) for words in ("full", "disk I/O", "No space")):
        return UserError(
            "The disk has no room for more results in {place} ({why}).",
            remedy="Free some space and start the run again: it goes on where it stopped.",
            place=place,
            why=error,
        )
    return UserError(
        "The run in {place} can't be read or written ({why}).",
        remedy="Check that the folder may be written, or choose another one with --out.",
        place=place,
        why=error,
    )


def _short(value: object) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= 60 else text[:28] + "…" + text[-28:]
