"""Finding what was said: SQLite's trigram index where it has one, so that Chinese is found too, else a plain scan.

The index is brought up to date when somebody searches, not at each piece of an answer.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from core.inference import chat_store

TRIGRAM = 3
"""Characters; shorter words are scanned for."""
AROUND = 60
MOST = 30
_TEXT = "messages.text || char(10) || messages.input"
_PLACES = (
    f"SELECT conversation, title, messages.id, {_TEXT} FROM messages"  # noqa: S608 - a constant of ours
    " JOIN conversations ON conversations.id = conversation WHERE "
)


@dataclass(frozen=True)
class Found:
    """A place: what stands before it, itself, and after it. Without a message it is the title."""

    conversation: str
    title: str
    message: int | None
    before: str
    words: str
    after: str


def search(words: str) -> list[Found]:
    """Titles and messages that hold every one of these words, the last changed conversations first."""
    wanted = words.split()
    if not wanted:
        return []
    with chat_store.opened() as store:
        titles = store.execute("SELECT id, title FROM conversations ORDER BY changed DESC").fetchall()
        found = [
            _place(conversation, title, None, title, wanted)
            for conversation, title in titles
            if all(word.casefold() in title.casefold() for word in wanted)
        ]
        return (found + [_place(*row, wanted) for row in _messages(store, wanted)])[:MOST]


def forget(store: sqlite3.Connection, conversation: str) -> None:
    with contextlib.suppress(sqlite3.OperationalError):  # nobody has searched yet
        store.execute(
            "DELETE FROM said WHERE rowid IN (SELECT id FROM messages WHERE conversation = ?)", (conversation,)
        )


def _messages(store: sqlite3.Connection, wanted: Sequence[str]) -> list[tuple[str, str, int, str]]:
    indexed = _bring_up_to_date(store)
    long = [word for word in wanted if len(word) >= TRIGRAM] if indexed else []
    values: list[str | int] = []
    conditions = []
    if long:
        conditions.append("messages.id IN (SELECT rowid FROM said WHERE said MATCH ?)")
        values.append(" AND ".join('"' + word.replace('"', '""') + '"' for word in long))
    for word in wanted:
        if word not in long:
            conditions.append(_TEXT + " LIKE ? ESCAPE '\\'")
            values.append(f"%{_escaped(word)}%")
    query = _PLACES + " AND ".join(conditions) + " ORDER BY changed DESC, messages.id DESC LIMIT ?"
    return store.execute(query, [*values, MOST]).fetchall()


def _bring_up_to_date(store: sqlite3.Connection) -> bool:
    """Whether there is an index; what was said since the last search is in it then."""
    try:
        store.execute("CREATE VIRTUAL TABLE IF NOT EXISTS said USING fts5(text, tokenize='trigram')")
        store.execute("DELETE FROM said WHERE rowid IN (SELECT id FROM messages WHERE NOT indexed)")
    except sqlite3.OperationalError:  # this SQLite was built without it
        return False
    store.execute("INSERT INTO said (rowid, text) SELECT id, text || char(10) || input FROM messages WHERE NOT indexed")
    store.execute("UPDATE messages SET indexed = 1 WHERE NOT indexed")
    return True


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _place(conversation: str, title: str, message: int | None, text: str, wanted: Sequence[str]) -> Found:
    """The word that is found first, as it stands there, with its surroundings on one line."""
    letters = [(folded, place) for place, letter in enumerate(text) for folded in letter.casefold()]  # ß is ss
    folded = "".join(letter for letter, _ in letters)
    found = [(folded.find(word.casefold()), len(word.casefold())) for word in wanted]
    at, length = min((place for place in found if place[0] >= 0), default=(0, 0))
    start = letters[at][1] if length else 0
    end = letters[at + length - 1][1] + 1 if length else 0
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    return Found(conversation, title, message, _line(before), text[start:end], _line(after))


def _line(text: str) -> str:
    """White space as single spaces, those at the ends kept as one."""
    return " ".join(["", *text.split(), ""])[int(not text[:1].isspace()) :][: None if text[-1:].isspace() else -1]
