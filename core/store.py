"""A batch's store: `store.sqlite` in its run folder: the batch's settings and one row a finished document.

`Writer` is the one process that runs the batch, `Store` is whoever reads, also while it runs.

Write-ahead log with synchronous=NORMAL: a committed row survives the process' death by any signal
(the log is in the system's hands by then). Only a power cut may take the last rows back, and a row
taken back is asked again; the file itself stays whole. FULL would wait for the disk at each row to save those few.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.errors import UserError
from core.records import Extraction

FILE = "store.sqlite"
LOCK = "run.lock"
FORMAT = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- order of finishing, for those who follow a running batch
    row INTEGER NOT NULL UNIQUE,           -- place in the input, from 0
    id TEXT NOT NULL, key TEXT NOT NULL, failed INTEGER NOT NULL, json TEXT NOT NULL,
    seconds REAL NOT NULL, tokens INTEGER NOT NULL, records INTEGER NOT NULL, written_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS results_key ON results (key) WHERE failed = 0;
CREATE TABLE IF NOT EXISTS parts ( -- answers for some of the types, until a document has all of them
    key TEXT NOT NULL, part INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (key, part)) WITHOUT ROWID;
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
        question = "SELECT json FROM results WHERE row > ? ORDER BY row LIMIT ?"
        for (text,) in self._ask(question, after, -1 if limit is None else limit):
            yield Extraction.from_dict(json.loads(text))

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
        return json.loads(next(self._ask("SELECT value FROM meta WHERE name = 'settings'"), ("{}",))[0])

    def _ask(self, question: str, *values: object) -> Iterator[tuple]:
        with _told(self.file), closing(_connect(self.file)) as database:
            database.execute("PRAGMA query_only = ON")
            _check_format(database, self.file)
            yield from database.execute(question, values)


class Writer:
    """The one process that fills a run folder. A context manager: holds the folder's lock.

    Raises UserError: another process has the lock, the run was made under other settings or by a newer version.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self._settings = folder, dict(settings)
        self._lock = FileLock(folder / LOCK)

    def __enter__(self) -> Writer:
        with _told(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as busy:
                raise UserError(
                    "Another process is working on {folder}.",
                    remedy="Wait until it is done, stop it on the Jobs page, or choose another folder with --out.",
                    folder=self.folder,
                ) from busy
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._database.close()
        except sqlite3.Error:  # a full disk; what is committed is in the log
            pass
        finally:
            self._lock.release()

    def done(self, row: int) -> bool:
        """Whether the row has a result, be it a failure."""
        return self._database.execute("SELECT 1 FROM results WHERE row = ?", (row,)).fetchone() is not None

    def forget_failures(self) -> None:
        """So that they are asked again."""
        with _told(self.folder), self._database:
            self._database.execute("DELETE FROM results WHERE failed")

    def same(self, key: str) -> Extraction | None:
        """The result of a document with the same text, where one succeeded."""
        found = self._database.execute(
            "SELECT json FROM results WHERE key = ? AND failed = 0 LIMIT 1", (key,)
        ).fetchone()
        return Extraction.from_dict(json.loads(found[0])) if found else None

    def put(self, row: int, key: str, extraction: Extraction) -> None:
        """Write a finished document, in the place of a failed one if there is. Committed on return."""
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
        with _told(self.folder), self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO results (row, id, key, failed, json, seconds, tokens, records, written_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    def parts(self, key: str) -> dict[int, Extraction]:
        rows = self._database.execute("SELECT part, json FROM parts WHERE key = ?", (key,))
        return {part: Extraction.from_dict(json.loads(text)) for part, text in rows}

    def put_part(self, key: str, part: int, extraction: Extraction) -> None:
        with _told(self.folder), self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", (key, part, dump(extraction.to_dict()))
            )

    def forget_parts(self) -> None:
        """Once every document is whole."""
        with _told(self.folder), self._database:
            self._database.execute("DELETE FROM parts")

    def counts(self) -> Counts:
        return Counts(*self._database.execute(_COUNTS).fetchone())

    def _open(self) -> None:
        file = self.folder / FILE
        with _told(self.folder):
            self._database = _connect(file)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            _check_format(self._database, file)
            self._database.executescript(_TABLES)
            with self._database:
                known = self._database.execute("SELECT value FROM meta WHERE name = 'settings'").fetchone()
                if known is None:
                    meta = {"format": str(FORMAT), "settings": dump(self._settings), "created": str(time.time())}
                    self._database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
        if known is not None:
            self._compare(json.loads(known[0]))

    def _compare(self, known: dict[str, Any]) -> None:
        asked = json.loads(dump(self._settings))
        names = sorted({*known, *asked})
        differing = [name for name in names if known.get(name) != asked.get(name)]
        if differing:
            raise UserError(
                "{folder} holds a run made under other settings: {differences}.",
                remedy="Choose another folder with --out, or give it the same settings to go on with it.",
                folder=self.folder,
                differences="; ".join(
                    f"{name}: {_short(known.get(name))} → {_short(asked.get(name))}" for name in differing
                ),
            )


def dump(value: object) -> str:
    """JSON that any file can hold: Chinese as it is, lone surrogates (which UTF-8 has no bytes for) escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return text if clean(text) == text else json.dumps(value)


def clean(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


_COUNTS = (
    "SELECT count(*), coalesce(sum(failed), 0), coalesce(sum(records), 0), coalesce(sum(tokens), 0),"
    " coalesce(sum(seconds), 0.0) FROM results"
)


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=30)


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
