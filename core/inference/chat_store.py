"""Where conversations are kept: one SQLite file of the workspace, brought up to date when it is opened.

`messages.parent` makes a tree of a conversation; `conversations.leaf` is where the branch ends that is shown.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from core import paths
from core.errors import UserError
from core.inference.chat_tree import Conversation, Facts, File, Message

SILENT_SECONDS = 10.0
"""An unfinished answer without a sign of life for this long has lost the process that wrote it."""

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE IF NOT EXISTS conversations (
            id TEXT PRIMARY KEY, title TEXT NOT NULL, system TEXT NOT NULL, changed REAL NOT NULL)""",
        """CREATE TABLE IF NOT EXISTS messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            role TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL DEFAULT '', facts TEXT NOT NULL DEFAULT '{}',
            beat REAL NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS of_conversation ON messages(conversation, id)",
    ),
    (
        "ALTER TABLE conversations ADD COLUMN leaf INTEGER",
        "ALTER TABLE messages ADD COLUMN parent INTEGER",
        "ALTER TABLE messages ADD COLUMN beside INTEGER",
        "ALTER TABLE messages ADD COLUMN input TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE messages ADD COLUMN files TEXT NOT NULL DEFAULT '[]'",
        # whether the search index has the text as it is now
        "ALTER TABLE messages ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0",
        """UPDATE messages SET parent = (SELECT max(before.id) FROM messages AS before
            WHERE before.conversation = messages.conversation AND before.id < messages.id)""",
        """UPDATE conversations SET leaf = (SELECT max(messages.id) FROM messages
            WHERE messages.conversation = conversations.id)""",
    ),
)
"""What takes a file from each version to the next; `PRAGMA user_version` counts the steps that were taken."""
VERSION = len(_STEPS)
_MESSAGES = "SELECT id, role, text, finish, facts, parent, beside, input, files, beat FROM messages"


def database() -> Path:
    return paths.workspace() / "chat.sqlite"


@contextmanager
def opened(file: Path | None = None, *, writing: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection for one transaction. Raises UserError where the file can't be used.

    `writing`: nobody else writes between what is read in it and what is written.
    """
    file = file or database()
    fresh = not file.exists()
    try:
        store = sqlite3.connect(file, timeout=10)
        try:
            store.execute("PRAGMA foreign_keys = ON")
            if fresh:
                file.chmod(0o600)
                store.execute("PRAGMA journal_mode = WAL")
            _bring_up_to_date(store, file)
            if writing:
                store.execute("BEGIN IMMEDIATE")
            with store:
                yield store
        finally:
            store.close()
    except (sqlite3.DatabaseError, OSError) as error:
        raise UserError(
            "The conversations in {file} can't be used: {why}",
            remedy="Free some disk space, or move the file away: a new one is begun.",
            file=file,
            why=error,
        ) from error


def _bring_up_to_date(store: sqlite3.Connection, file: Path) -> None:
    version = _version(store)
    if version == VERSION:
        return
    if version > VERSION:
        raise UserError(
            "The conversations in {file} were written by a newer version of this app.",
            remedy="Update the app; or move the file away: a new one is begun.",
            file=file,
        )
    store.execute("BEGIN IMMEDIATE")
    with store:
        for step in _STEPS[_version(store) :]:  # somebody else may have been faster
            for statement in step:
                store.execute(statement)
        store.execute(f"PRAGMA user_version = {VERSION}")


def _version(store: sqlite3.Connection) -> int:
    return int(store.execute("PRAGMA user_version").fetchone()[0])


def conversations() -> list[Conversation]:
    with opened() as store:
        rows = store.execute("SELECT id, title, system, changed, leaf FROM conversations ORDER BY changed DESC")
        return [Conversation(*row) for row in rows]


def read_in(store: sqlite3.Connection, conversation: str) -> Conversation | None:
    row = store.execute(
        "SELECT id, title, system, changed, leaf FROM conversations WHERE id = ?", (conversation,)
    ).fetchone()
    if row is None:
        return None
    rows = store.execute(_MESSAGES + " WHERE conversation = ? ORDER BY id", (conversation,))
    return replace(Conversation(*row), tree=tuple(_message(*found) for found in rows))


def read_message(message: int) -> Message | None:
    with opened() as store:
        row = store.execute(_MESSAGES + " WHERE id = ?", (message,)).fetchone()
        return None if row is None else _message(*row)


def add(store: sqlite3.Connection, conversation: str, message: Message) -> int:
    """Write a message (its id is chosen here) at the end of the branch that is shown from now on."""
    made = store.execute(
        "INSERT INTO messages (conversation, role, text, parent, input, files, beat) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            conversation,
            message.role,
            message.text,
            message.parent,
            message.input,
            json.dumps([asdict(file) for file in message.files], ensure_ascii=False),
            time.time(),
        ),
    )
    number = int(made.lastrowid or 0)
    show(store, conversation, number)
    return number


def show(store: sqlite3.Connection, conversation: str, leaf: int) -> None:
    store.execute("UPDATE conversations SET leaf = ?, changed = ? WHERE id = ?", (leaf, time.time(), conversation))


def save(file: Path, answer: int, text: str) -> bool:
    """Write what came so far of an answer, which is its sign of life. False if somebody stopped or deleted it."""
    with opened(file) as store:
        changed = store.execute(
            "UPDATE messages SET text = ?, indexed = 0, beat = ? WHERE id = ? AND finish = ''",
            (text, time.time(), answer),
        )
        return changed.rowcount == 1


def finish(file: Path, answer: int, text: str, how: str, facts: Facts) -> None:
    now = time.time()
    with opened(file) as store:
        store.execute(
            "UPDATE messages SET text = ?, indexed = 0, finish = ?, facts = ?, beat = ? WHERE id = ?",
            (text, how, json.dumps(facts.__dict__), now, answer),
        )
        store.execute(
            "UPDATE conversations SET changed = ? WHERE id = (SELECT conversation FROM messages WHERE id = ?)",
            (now, answer),
        )


def _message(
    number: int,
    role: str,
    text: str,
    finish: str,
    facts: str,
    parent: int | None,
    beside: int | None,
    input_text: str,
    files: str,
    beat: float,
) -> Message:
    if role == "assistant" and not finish and time.time() - beat > SILENT_SECONDS:
        finish = "lost"
    attached = tuple(File(**file) for file in json.loads(files))
    return Message(number, role, text, finish, Facts.read(facts), parent, beside, input_text, attached)
