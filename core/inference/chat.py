"""Conversations that outlive a page: kept in SQLite, answered by a thread of the process that asked.

A running answer is written to the store as it grows, so a reload or a second tab sees it. Whether it
still runs is read off its last sign of life, never off a stored status.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core import paths
from core.errors import UserError
from core.inference import client
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Piece
from core.inference.wire import clean

SAVE_SECONDS = 0.4
SILENT_SECONDS = 10.0
"""An unfinished answer without a sign of life for this long has lost the process that wrote it."""
TITLE_LENGTH = 60
_TABLES = """
CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, system TEXT NOT NULL, changed REAL NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    role TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL DEFAULT '', facts TEXT NOT NULL DEFAULT '{}',
    beat REAL NOT NULL);
CREATE INDEX IF NOT EXISTS of_conversation ON messages(conversation, id);
"""


@dataclass(frozen=True)
class Facts:
    """How an answer came about."""

    model: str = ""
    title: str = ""
    decoding: dict[str, Any] | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    seed: int | None = None
    error: dict[str, Any] | None = None
    adapter: bool = True
    """False: the base answered, without the adapter loaded on it."""


@dataclass(frozen=True)
class Message:
    id: int
    role: str
    text: str
    finish: str = ""
    """stop, length, cancelled, error, or lost (its process ended); empty while it runs and for a person's words."""
    facts: Facts = Facts()

    @property
    def running(self) -> bool:
        return self.role == "assistant" and not self.finish


@dataclass(frozen=True)
class Conversation:
    id: str
    title: str
    system: str = ""
    changed: float = 0.0
    messages: tuple[Message, ...] = ()

    @property
    def running(self) -> Message | None:
        return next((message for message in self.messages if message.running), None)


@dataclass
class _Running:
    """An answer under way in this process."""

    text: str
    stop: threading.Event
    thread: threading.Thread | None = None
    first: float | None = None


_answers: dict[tuple[Path, int], _Running] = {}


def conversations() -> list[Conversation]:
    """All of them, the last changed first, without their messages."""
    with _store() as store:
        rows = store.execute("SELECT id, title, system, changed FROM conversations ORDER BY changed DESC")
        return [Conversation(*row) for row in rows]


def create(system: str = "") -> Conversation:
    made = Conversation(uuid.uuid4().hex[:12], "", clean(system), time.time())
    with _store() as store:
        store.execute("INSERT INTO conversations VALUES (?, ?, ?, ?)", (made.id, made.title, made.system, made.changed))
    return made


def read(conversation: str) -> Conversation | None:
    """One with its messages, a running answer as far as it has come; None if it is gone."""
    with _store() as store:
        row = store.execute(
            "SELECT id, title, system, changed FROM conversations WHERE id = ?", (conversation,)
        ).fetchone()
        if row is None:
            return None
        rows = store.execute(
            "SELECT id, role, text, finish, facts, beat FROM messages WHERE conversation = ? ORDER BY id",
            (conversation,),
        ).fetchall()
    return replace(Conversation(*row), messages=tuple(_message(*found) for found in rows))


def ask(conversation: str, text: str, model: str, decoding: Decoding, *, adapter: bool = True) -> int:
    """Add a person's words and start the answer; returns the answer's id. Raises UserError if one runs already.

    `adapter` False: answered by the base of a loaded adapter, without it.
    """
    _refuse_while_running(conversation)
    text = clean(text)
    with _store() as store:
        _add(store, conversation, "user", text)
        title = " ".join(text.split())[:TITLE_LENGTH]
        store.execute("UPDATE conversations SET title = ? WHERE id = ? AND title = ''", (title, conversation))
        answer = _add(store, conversation, "assistant", "")
    _start(conversation, answer, model, decoding, adapter)
    return answer


def again(conversation: str, model: str, decoding: Decoding, *, adapter: bool = True) -> int:
    """Drop the last answer and give another one."""
    _refuse_while_running(conversation)
    with _store() as store:
        store.execute(
            "DELETE FROM messages WHERE id = (SELECT max(id) FROM messages WHERE conversation = ?)"
            " AND role = 'assistant'",
            (conversation,),
        )
        answer = _add(store, conversation, "assistant", "")
    _start(conversation, answer, model, decoding, adapter)
    return answer


def go_on(conversation: str, model: str, decoding: Decoding, *, adapter: bool = True) -> int:
    """Go on with the last answer, which was cut or stopped, where it ends."""
    _refuse_while_running(conversation)
    kept = read(conversation)
    if kept is None or not kept.messages or kept.messages[-1].role != "assistant":
        raise UserError("There is no answer to go on with.", remedy="Ask something first.")
    answer = kept.messages[-1].id
    with _store() as store:
        store.execute("UPDATE messages SET finish = '', beat = ? WHERE id = ?", (time.time(), answer))
    _start(conversation, answer, model, decoding, adapter)
    return answer


def stop(answer: int) -> None:
    """End an answer: the host stops computing, what came so far stays."""
    running = _answers.get(_key(answer))
    if running is not None:
        running.stop.set()
        return
    with _store() as store:  # another process writes it, and looks here at its next sign of life
        store.execute("UPDATE messages SET finish = 'cancelled' WHERE id = ? AND finish = ''", (answer,))


def set_system(conversation: str, system: str) -> None:
    with _store() as store:
        store.execute("UPDATE conversations SET system = ? WHERE id = ?", (clean(system), conversation))


def delete(conversation: str) -> None:
    """Forget a conversation; an answer that runs is stopped."""
    kept = read(conversation)
    if kept is not None and kept.running is not None:
        stop(kept.running.id)
    with _store() as store:
        store.execute("DELETE FROM conversations WHERE id = ?", (conversation,))


def wait(answer: int, timeout: float = 60) -> None:
    """Return when an answer of this process is over."""
    running = _answers.get(_key(answer))
    if running is not None and running.thread is not None:
        running.thread.join(timeout)


def _start(conversation: str, answer: int, model: str, decoding: Decoding, adapter: bool) -> None:
    kept = read(conversation)
    if kept is None:
        raise UserError("This conversation was deleted.", remedy="Start a new one.")
    system = [{"role": "system", "content": kept.system}] if kept.system else []
    said = [{"role": message.role, "content": message.text} for message in kept.messages if message.text]
    before = next((message.text for message in kept.messages if message.id == answer), "")
    running = _Running(before, threading.Event())
    _answers[_key(answer)] = running
    request = Generation(decoding, None, (*system, *said), adapter=adapter)
    running.thread = threading.Thread(
        target=_answer, args=(_key(answer), running, request, model), name=f"answer-{answer}", daemon=True
    )
    running.thread.start()


def _answer(key: tuple[Path, int], running: _Running, request: Generation, model: str) -> None:
    """Pump the host's stream into the store; whatever happens is written down in the end."""
    began = time.monotonic()
    facts = Facts(model=model, decoding=request.decoding.model_dump(), adapter=request.adapter)
    finish = "error"
    try:
        connected = client.connect(model)
        facts = replace(facts, title=connected.model.title)
        last = _pump(key, running, connected.pieces(request, running.stop), began)
        facts = replace(facts, prompt_tokens=last.prompt_tokens, tokens=last.tokens, seed=last.seed)
        finish = last.finish or "cancelled"
    except UserError as error:
        facts = replace(facts, error=error.to_dict())
    except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
        unexpected = UserError("The answer failed: {why}", remedy="Ask again.", why=f"{type(error).__name__}: {error}")
        facts = replace(facts, error=unexpected.to_dict())
    seconds = time.monotonic() - began
    facts = replace(facts, seconds=seconds, first_token_seconds=running.first)
    with _store(key[0]) as store:
        store.execute(
            "UPDATE messages SET text = ?, finish = ?, facts = ?, beat = ? WHERE id = ?",
            (running.text, finish, json.dumps(facts.__dict__), time.time(), key[1]),
        )
        store.execute(
            "UPDATE conversations SET changed = ? WHERE id = (SELECT conversation FROM messages WHERE id = ?)",
            (time.time(), key[1]),
        )
    _answers.pop(key, None)


def _pump(key: tuple[Path, int], running: _Running, pieces: Iterator[Piece], began: float) -> Piece:
    last, saved = Piece(finish="cancelled"), 0.0
    for piece in pieces:
        if piece.text:
            running.text += piece.text
            if running.first is None:
                running.first = time.monotonic() - began
        last = piece
        if time.monotonic() - saved > SAVE_SECONDS:
            saved = time.monotonic()
            if not _save(key, running.text):
                running.stop.set()
    return last


def _save(key: tuple[Path, int], text: str) -> bool:
    """Write what came so far. False if somebody stopped or deleted it."""
    with _store(key[0]) as store:
        changed = store.execute(
            "UPDATE messages SET text = ?, beat = ? WHERE id = ? AND finish = ''", (text, time.time(), key[1])
        )
        return changed.rowcount == 1


def _message(number: int, role: str, text: str, finish: str, facts: str, beat: float) -> Message:
    running = _answers.get(_key(number))
    if running is not None and not finish:
        text = running.text
    elif role == "assistant" and not finish and time.time() - beat > SILENT_SECONDS:
        finish = "lost"
    return Message(number, role, text, finish, Facts(**json.loads(facts)))


def _refuse_while_running(conversation: str) -> None:
    kept = read(conversation)
    if kept is not None and kept.running is not None:
        raise UserError("An answer is still being written.", remedy="Wait for its end, or stop it.")


def _add(store: sqlite3.Connection, conversation: str, role: str, text: str) -> int:
    now = time.time()
    store.execute("UPDATE conversations SET changed = ? WHERE id = ?", (now, conversation))
    made = store.execute(
        "INSERT INTO messages (conversation, role, text, beat) VALUES (?, ?, ?, ?)", (conversation, role, text, now)
    )
    return int(made.lastrowid or 0)


def _key(answer: int) -> tuple[Path, int]:
    return _file(), answer


def _file() -> Path:
    return paths.workspace() / "chat.sqlite"


@contextmanager
def _store(file: Path | None = None) -> Iterator[sqlite3.Connection]:
    """A connection for one transaction. Raises UserError where the file can't be used."""
    file = file or _file()
    fresh = not file.exists()
    try:
        store = sqlite3.connect(file, timeout=10)
        try:
            store.execute("PRAGMA foreign_keys = ON")
            if fresh:
                file.chmod(0o600)
                store.execute("PRAGMA journal_mode = WAL")
            store.executescript(_TABLES)
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
