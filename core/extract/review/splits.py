"""What a document is for, once and for ever: training, few-shot examples or gold. `splits.sqlite` in the workspace.

A document is known by the hash of its text, so that a copy under another name is the same one. Sentences that
were handed out on their own are known too, since they come back as documents of their own.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from core import paths
from core.errors import UserError
from core.extract.normal import tidy
from core.store import Store

Split = Literal["train", "few-shot", "gold"]
SPLITS: tuple[Split, ...] = get_args(Split)
_PIECE = 500  # SQLite takes so many values in one question without asking


@dataclass(frozen=True)
class Seen:
    """Rows of a run whose texts are not for judging a model: ids by what they were given away for."""

    rows: int
    train: tuple[str, ...]
    few_shot: tuple[str, ...]

    @property
    def any(self) -> bool:
        return bool(self.train or self.few_shot)


def text_hash(text: str) -> str:
    """Of the words: white space around and between them makes no other document."""
    return hashlib.sha256(tidy(text).encode("utf-8", "replace")).hexdigest()


def of(hash: str) -> Split | None:
    """What a text is for; None while nobody has decided."""
    return known([hash]).get(hash)


def known(hashes: Iterable[str]) -> dict[str, Split]:
    """Those of the hashes that have a split."""
    if not _file().is_file():
        return {}
    found: dict[str, Split] = {}
    with _opened() as database:
        for piece in _pieces(list(hashes)):
            marks = ", ".join("?" * len(piece))
            found |= dict(database.execute(f"SELECT hash, split FROM splits WHERE hash IN ({marks})", piece))  # noqa: S608 only marks
    return found


def assign(hashes: Collection[str], split: Split) -> int:
    """Give the texts to a split; how many are new in it. All or none. Raises UserError: some belong to another."""
    if split not in SPLITS:
        raise UserError(
            "There is no split “{split}”.", remedy="Choose one of: {known}.", split=split, known=", ".join(SPLITS)
        )
    wanted = list(dict.fromkeys(hashes))
    with _opened() as database:
        database.execute("BEGIN IMMEDIATE")
        new = 0
        for piece in _pieces(wanted):
            marks = ", ".join("?" * len(piece))
            taken = database.execute(
                f"SELECT split, count(*) FROM splits WHERE hash IN ({marks}) AND split != ? GROUP BY split",  # noqa: S608 only marks
                [*piece, split],
            ).fetchall()
            if taken:
                database.execute("ROLLBACK")
                other, count = taken[0]
                raise UserError(
                    "{count} of the texts already belong to “{other}”, and a text never changes its split.",
                    remedy="Leave those out. What a model has learned from can't judge it, and gold must stay unseen.",
                    count=count,
                    other=other,
                )
            rows = [(hash, split, time.time()) for hash in piece]
            new += database.executemany("INSERT OR IGNORE INTO splits VALUES (?, ?, ?)", rows).rowcount
        database.execute("COMMIT")
    return new


def counts() -> dict[Split, int]:
    if not _file().is_file():
        return {}
    with _opened() as database:
        return dict(database.execute("SELECT split, count(*) FROM splits GROUP BY split"))


def saw(run: str | Path) -> Seen:
    """Which rows of a run were given to training or to prompts: no gold for it. Streams the run's texts."""
    train: list[str] = []
    few_shot: list[str] = []
    rows = 0
    piece: list[tuple[str, str]] = []

    def look() -> None:
        found = known(hash for _, hash in piece)
        for id, hash in piece:
            if found.get(hash) == "train":
                train.append(id)
            elif found.get(hash) == "few-shot":
                few_shot.append(id)
        piece.clear()

    for extraction in Store(run).results():
        rows += 1
        piece.append((extraction.id, text_hash(extraction.text)))
        if len(piece) >= _PIECE:
            look()
    look()
    return Seen(rows, tuple(train), tuple(few_shot))


def _pieces(hashes: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(hashes), _PIECE):
        yield hashes[start : start + _PIECE]


def _file() -> Path:
    return paths.workspace() / "splits.sqlite"


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    try:
        database = sqlite3.connect(_file(), timeout=30, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS splits"
                " (hash TEXT PRIMARY KEY, split TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID"
            )
            yield database
        finally:
            database.close()
    except sqlite3.Error as error:
        raise UserError(
            "The list of which text is for what can't be read or written: {file} ({why}).",
            remedy="Free some disk space, or see that the file may be written; nothing was changed.",
            file=_file(),
            why=error,
        ) from error
