"""An audit of a run, in its folder's `audit.sqlite`: which sentences were drawn, and how a person judged each, when.

A sentence is judged whole: each of its records right or wrong, and those that are missing added. Nothing that was
judged is overwritten; the last word on a sentence counts, also that it is open again. `audit.json` beside it tells the
figures to whoever shows or hands on the run's records, and that there was no audit where there was none.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract import gold as golds
from core.extract.audit_sample import Method, draw
from core.extract.audit_score import AuditScores, scores
from core.extract.audit_values import Item, Judgement, SampleInfo
from core.extract.calls import key
from core.extract.schema import TASKS, Task
from core.records import Extraction
from core.store import dump

FILE, TOLD = "audit.sqlite", "audit.json"
FORMAT = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS samples (
    sample INTEGER PRIMARY KEY AUTOINCREMENT, made_at REAL NOT NULL, who TEXT NOT NULL, seed INTEGER NOT NULL,
    method TEXT NOT NULL, tasks TEXT NOT NULL, population TEXT NOT NULL, rows INTEGER NOT NULL,
    records INTEGER NOT NULL, origin TEXT NOT NULL DEFAULT ''); -- of a sample shared with another run: its folder
CREATE TABLE IF NOT EXISTS items (
    sample INTEGER, nr INTEGER, text_key TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    stratum TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (sample, nr)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judgements ( -- the last one of an item counts; json NULL: it was opened again
    judgement INTEGER PRIMARY KEY AUTOINCREMENT, sample INTEGER NOT NULL, nr INTEGER NOT NULL,
    who TEXT NOT NULL, at REAL NOT NULL, json TEXT);
"""


class Audit:
    """The audit of a run's folder. Each call opens and closes its own connection, so one may be shared by threads."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.file = self.folder / FILE

    def sample(
        self,
        size: int,
        seed: int,
        who: str,
        *,
        method: Method = "simple",
        tasks: Sequence[Task] = (),
        done: Callable[[int], None] = lambda rows: None,
    ) -> SampleInfo:
        """Draw a new sample; earlier ones stay, and the newest counts. Raises UserError: no run, nothing to judge."""
        tasks = tuple(tasks) or _tasks(self.folder)
        made = draw(golds.read(self.folder, "ner"), size, seed, method, tasks=tasks, done=done)
        if not made.drawn:
            raise UserError(
                "The run in {folder} has no sentence to judge.",
                remedy="Run the extraction first, or wait for its first rows.",
                folder=self.folder,
            )
        rows = [(one.text_key, one.start, one.end, one.stratum, one.document) for one in made.drawn]
        return self._write(rows, who, seed, method, tasks, made.population, made.rows, made.records)

    def share(self, other: Audit, who: str, *, done: Callable[[int], None] = lambda rows: None) -> SampleInfo:
        """The newest sample of another run on the same texts, for this one. Raises UserError: texts not here."""
        info = other.newest()
        wanted = list(other.items(info.sample))
        here: dict[str, Extraction] = {}
        keys = {item.text_key for item in wanted}
        rows = records = 0
        for row in golds.read(self.folder, "ner"):
            rows += 1
            records += len(row.entities) + len(row.relations) + len(row.events)
            done(rows)
            if (name := key(row.text)) in keys:
                here.setdefault(name, row)
        lost = [item for item in wanted if item.text_key not in here]
        if lost:
            raise UserError(
                "{count} of the {all} texts of the sample are not in this run, among them “{text}”.",
                remedy="Compare runs on the same texts, and wait until both are finished.",
                count=len(lost),
                all=len(wanted),
                text=lost[0].document.text[:60],
            )
        rows_of = [(item.text_key, item.start, item.end, item.stratum, here[item.text_key]) for item in wanted]
        origin = str(other.folder.resolve())
        return self._write(
            rows_of, who, info.seed, info.method, info.tasks, info.population, rows, records, origin=origin
        )

    def _write(
        self,
        items: Sequence[tuple[str, int, int, str, Extraction]],
        who: str,
        seed: int,
        method: Method,
        tasks: Sequence[Task],
        population: Mapping[str, int],
        rows: int,
        records: int,
        *,
        origin: str = "",
    ) -> SampleInfo:
        with self._open(write=True) as database:
            made = (time.time(), who, seed, method, json.dumps(tasks), json.dumps(population), rows, records, origin)
            sample = database.execute(
                "INSERT INTO samples (made_at, who, seed, method, tasks, population, rows, records, origin)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                made,
            ).lastrowid
            database.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (sample, nr, text_key, start, end, stratum, dump(document.to_dict()))
                    for nr, (text_key, start, end, stratum, document) in enumerate(items)
                ],
            )
        write_told(self.folder)
        return self.newest()

    def newest(self) -> SampleInfo:
        """Raises UserError where no sample was drawn yet."""
        found = self.samples()
        if not found:
            raise UserError(
                "The run in {folder} has not been audited.",
                remedy="Draw a sample first: `python -m core extract audit sample` or the page Evaluate does.",
                folder=self.folder,
            )
        return found[0]

    def samples(self) -> list[SampleInfo]:
        """The newest first."""
        if not self.file.is_file():
            return []
        with self._open() as database:
            rows = database.execute(_SAMPLES).fetchall()
        return [
            SampleInfo(nr, made, who, seed, method, tuple(json.loads(tasks)), json.loads(population), *rest)
            for nr, made, who, seed, method, tasks, population, *rest in rows
        ]

    def items(self, sample: int, nr: int | None = None) -> Iterator[Item]:
        """In the order in which they are to be judged; `nr`: that one alone."""
        with self._open() as database:
            rows = database.execute(
                'SELECT nr, text_key, start, "end", stratum, document, last.json, last.who, last.at FROM items'  # noqa: S608
                f" LEFT JOIN ({_LAST}) AS last USING (sample, nr) WHERE sample = ? AND (?2 IS NULL OR nr = ?2)"
                " ORDER BY nr",
                (sample, nr),
            ).fetchall()
        for number, text_key, start, end, stratum, document, told, who, at in rows:
            extraction = Extraction.from_dict(json.loads(document))
            yield Item(number, text_key, start, end, stratum, extraction, _read(told, extraction, who, at))

    def open_items(self, sample: int) -> list[int]:
        """The numbers of those that nobody has judged, in order."""
        with self._open() as database:
            rows = database.execute(
                f"SELECT nr FROM items LEFT JOIN ({_LAST}) AS last USING (sample, nr)"  # noqa: S608
                " WHERE sample = ? AND json IS NULL ORDER BY nr",
                (sample,),
            )
            return [nr for (nr,) in rows]

    def judge(self, sample: int, nr: int, judgement: Judgement | None, who: str) -> None:
        """Add the word on a sentence; None opens it again."""
        told = None
        if judgement is not None:
            added = judgement.added.to_dict() if judgement.added is not None else None
            told = dump({"wrong": list(judgement.wrong), "added": added})
        with self._open(write=True) as database:
            database.execute(
                "INSERT INTO judgements (sample, nr, who, at, json) VALUES (?, ?, ?, ?, ?)",
                (sample, nr, who, time.time(), told),
            )
        write_told(self.folder)

    def same(self, item: Item) -> Item | None:
        """The sentence of the same place in the same text, of the newest sample that has it under the same number."""
        for info in self.samples():
            for one in self.items(info.sample, item.nr):
                if (one.text_key, one.start, one.end) == (item.text_key, item.start, item.end):
                    return one
        return None

    def scores(self, info: SampleInfo) -> AuditScores:
        judged = (item.judged(info.tasks) for item in self.items(info.sample))
        return scores([one for one in judged if one is not None], info.population)

    @contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(self.file, timeout=30)
            try:
                if database.execute("PRAGMA user_version").fetchone()[0] > FORMAT:
                    raise UserError(
                        "{file} was written by a newer version of the app.",
                        remedy="Update the app, or choose another folder with --out.",
                        file=self.file,
                    )
                if write:
                    database.executescript(f"{_TABLES} PRAGMA user_version = {FORMAT};")
                with database:
                    yield database
            finally:
                database.close()
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                "The audit in {folder} can't be read or written ({why}).",
                remedy="Free some disk space, or see that the folder may be written; what was judged is kept.",
                folder=self.folder,
                why=error,
            ) from error


_LAST = (
    "SELECT sample, nr, json, who, at FROM judgements"
    " WHERE judgement IN (SELECT max(judgement) FROM judgements GROUP BY sample, nr)"
)


_SAMPLES = (
    "SELECT sample, made_at, who, seed, method, tasks, population, rows, records, origin,"  # noqa: S608 no value in it
    " (SELECT count(*) FROM items WHERE items.sample = samples.sample),"
    f" (SELECT count(*) FROM ({_LAST}) WHERE sample = samples.sample AND json IS NOT NULL)"
    " FROM samples ORDER BY sample DESC"
)


def _tasks(folder: Path) -> tuple[Task, ...]:
    """What the run was asked for; all, where its rows don't say."""
    for row in golds.read(folder, "ner"):
        asked = row.provenance.get("task")
        found = tuple(task for task in TASKS if task in (asked if isinstance(asked, list) else [asked]))
        return found or TASKS
    return TASKS


def _read(told: str | None, document: Extraction, who: str, at: float) -> Judgement | None:
    if told is None:
        return None
    made = json.loads(told)
    added = Extraction.from_dict(made["added"]) if made["added"] else None
    return Judgement(tuple(made["wrong"]), added and replace(added, text=document.text), who, at)


NOT_AUDITED: dict[str, Any] = {"audited": False}


def told(run: str | Path) -> dict[str, Any]:
    """What a batch, a graph or an export says of how right its records are. `audited` False where nobody judged any."""
    audit = Audit(run)
    try:
        info = next(iter(audit.samples()), None)
    except UserError:
        return NOT_AUDITED
    if info is None or not info.judged:
        return NOT_AUDITED
    made = audit.scores(info)
    said: dict[str, Any] = {
        "audited": True,
        "sentences": info.judged,
        "drawn": info.size,
        "population": sum(info.population.values()),
        "method": info.method,
        "seed": info.seed,
        "tasks": list(info.tasks),
        "rows": info.rows,
        "made_at": info.made_at,
        "who": sorted({item.judgement.who for item in audit.items(info.sample) if item.judgement}),
    }
    for name in ("precision", "recall", "f1"):
        share = getattr(made, name)
        said[name] = None if share is None else round(share.value, 4)
        said[f"{name}_interval"] = None if share is None else [round(bound, 4) for bound in share.interval]
    return said


def write_told(run: str | Path) -> dict[str, Any]:
    """`audit.json` anew; what it says."""
    folder = Path(run)
    said = told(folder)
    temporary = folder / f".{TOLD}.tmp"
    try:
        temporary.write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        temporary.replace(folder / TOLD)
    except OSError as error:
        raise UserError(
            "The audit in {folder} can't be read or written ({why}).",
            remedy="Free some disk space, or see that the folder may be written; what was judged is kept.",
            folder=folder,
            why=error,
        ) from error
    return said
