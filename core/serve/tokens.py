"""Who may use the server: named tokens, kept hashed, with their limits and what each has used.

`serve.sqlite` in the workspace (mode 0600). It is read at every request, so a revoked token is refused at once,
also by a server that runs. A token is 256 random bits, so a plain SHA-256 of it is enough.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core import paths
from core.errors import UserError

PREFIX = "ks-"
LONGEST_NAME = 60
_TABLES = """
CREATE TABLE IF NOT EXISTS tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, hash TEXT NOT NULL UNIQUE, made REAL NOT NULL,
    per_minute INTEGER NOT NULL, per_day INTEGER NOT NULL, last_used REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS used (
    token INTEGER NOT NULL REFERENCES tokens(id) ON DELETE CASCADE, day TEXT NOT NULL,
    requests INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (token, day));
"""
_ALL = """
SELECT tokens.id, name, made, per_minute, per_day, last_used, coalesce(used.requests, 0), coalesce(used.tokens, 0)
FROM tokens LEFT JOIN used ON used.token = tokens.id AND used.day = ?
"""


@dataclass(frozen=True)
class Token:
    """One that is valid. Never the secret itself, which nobody keeps."""

    id: int
    name: str
    made: float
    per_minute: int
    """Requests; 0: no limit."""
    per_day: int
    """The model's tokens, read and written, a day (UTC); 0: no limit."""
    last_used: float
    requests_today: int
    tokens_today: int


def add(name: str, *, per_minute: int, per_day: int) -> str:
    """Make a token and return its secret, which can't be read again. Raises UserError."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(
            "“{name}” can't be a token's name.",
            remedy="Name it after who will use it, in at most {limit} letters.",
            name=name[:LONGEST_NAME],
            limit=LONGEST_NAME,
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    row = (name, _hash(secret), time.time(), per_minute, per_day)
    try:
        with _store() as store:
            store.execute("INSERT INTO tokens (name, hash, made, per_minute, per_day) VALUES (?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        raise UserError(
            "There is a token named “{name}” already.", remedy="Revoke it first, or choose another name.", name=name
        ) from None
    return secret


def revoke(name: str) -> Token:
    """Make a token worthless from now on. Raises UserError if there is none of that name."""
    found = next((token for token in every() if token.name == name.strip()), None)
    if found is None:
        raise UserError(
            "There is no token named “{name}”.",
            remedy="The tokens are: {known}.",
            name=name,
            known=", ".join(token.name for token in every()) or "-",
        )
    with _store() as store:
        store.execute("DELETE FROM tokens WHERE id = ?", (found.id,))
    return found


def every() -> list[Token]:
    with _store() as store:
        return [Token(*row) for row in store.execute(f"{_ALL} ORDER BY made", (_today(),))]


def find(secret: str) -> Token | None:
    """The valid token with this secret."""
    with _store() as store:
        row = store.execute(f"{_ALL} WHERE hash = ?", (_today(), _hash(secret))).fetchone()
    return Token(*row) if row else None


def charge(token: Token, tokens: int) -> None:
    """Write down what a request has used; nothing happens if the token was revoked meanwhile."""
    with _store() as store:
        found = store.execute("UPDATE tokens SET last_used = ? WHERE id = ?", (time.time(), token.id))
        if found.rowcount:
            store.execute(
                "INSERT INTO used VALUES (?, ?, 1, ?) ON CONFLICT (token, day)"
                " DO UPDATE SET requests = requests + 1, tokens = tokens + excluded.tokens",
                (token.id, _today(), tokens),
            )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _file() -> Path:
    return paths.workspace() / "serve.sqlite"


@contextmanager
def _store() -> Iterator[sqlite3.Connection]:
    """A connection for one transaction. Raises UserError where the file can't be used."""
    file = _file()
    try:
        file.touch(mode=0o600)  # before SQLite makes it, with whatever the umask allows
        store = sqlite3.connect(file, timeout=10)
        try:
            store.execute("PRAGMA foreign_keys = ON")
            store.executescript(_TABLES)
            with store:
                yield store
        finally:
            store.close()
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.DatabaseError, OSError) as error:
        raise UserError(
            "The tokens in {file} can't be used: {why}",
            remedy="Free some disk space, or move the file away and make new tokens.",
            file=file,
            why=error,
        ) from error
