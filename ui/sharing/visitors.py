"""Who asks through the shared page, and how much each may: a visit is one request, waiting or running."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.errors import UserError
from core.serve import share_password, tokens
from core.serve.limits import Limits, Visit
from core.serve.refused import Refused
from core.serve.tokens import Token

TRIES = 10
"""Wrong passwords that an address may send a minute."""
MINUTE = 60.0
MOST_ADDRESSES = 10_000


@dataclass(frozen=True)
class Visitor:
    """Told apart by token, and without one by address: a name that anyone may type would set no limit."""

    address: str
    token_id: int = 0
    name: str = ""

    @property
    def key(self) -> str:
        return f"token {self.token_id}" if self.token_id else self.address

    @property
    def shown(self) -> str:
        """For the owner's log."""
        return self.name or self.address


class Checker:
    """Passwords and tokens against what is known. Slow on purpose, so call it in a thread."""

    def __init__(self, password_hash: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._hash, self._clock = password_hash, clock
        self._key = secrets.token_bytes(32)
        self._known: set[bytes] = set()
        """Passwords that were right, as digests under a key of this process: an API call need not pay scrypt."""
        self._wrong: dict[str, deque[float]] = {}

    def visitor(self, address: str, secret: str) -> Visitor | None:
        """Whose secret it is. Raises Refused (429) for an address that has guessed too often."""
        token = tokens.find(secret) if secret else None
        if token is not None:
            return Visitor(address, token.id, token.name)
        digest = hmac.digest(self._key, secret.encode("utf-8", "replace"), hashlib.sha256)
        if digest in self._known:
            return Visitor(address)
        self._slow_down(address)
        if self._hash and secret and share_password.matches(secret, self._hash):
            self._known.add(digest)
            return Visitor(address)
        self._wrong[address].append(self._clock())
        return None

    def _slow_down(self, address: str) -> None:
        now = self._clock()
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong = {one: times for one, times in self._wrong.items() if times and times[-1] > now - MINUTE}
        wrong = self._wrong.setdefault(address, deque())
        while wrong and wrong[0] <= now - MINUTE:
            wrong.popleft()
        if len(wrong) >= TRIES:
            raise Refused(
                "Too many wrong passwords came from your address.",
                remedy="Try again in a minute.",
                http=429,
                code="rate_limit_exceeded",
                retry_after=int(MINUTE),
            )


class Sealed:
    """A visitor in a header that only this process can have written: Gradio's MCP calls itself over HTTP."""

    HEADER = b"x-knowlm-visitor"
    OWN = b"x-knowlm-own"
    """Of Gradio's MCP client itself; it goes on with the visitor's in each call that it makes for one."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def write(self, visitor: Visitor) -> str:
        body = base64.urlsafe_b64encode(json.dumps([visitor.address, visitor.token_id, visitor.name]).encode()).decode()
        return f"{body}.{self._seal(body)}"

    def read(self, header: str) -> Visitor | None:
        body, _, seal = header.partition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(body).encode()):
            return None
        return Visitor(*json.loads(base64.urlsafe_b64decode(body)))

    def _seal(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()


@dataclass
class Visits:
    """Lets requests in. Without a token the page's own limit a minute holds; with one, the token's."""

    per_minute: int
    at_once: int
    limits: Limits = field(default_factory=Limits)
    here: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def visit(self, visitor: Visitor) -> Iterator[Visit]:
        """Raises UserError, saying when to come back. In the server's own thread only."""
        if self.here[visitor.key] >= self.at_once:
            raise UserError(
                "You have {count} requests waiting or running already.",
                remedy="Wait for one of them to end, or stop it.",
                count=self.here[visitor.key],
            )
        visit = self._admitted(visitor)
        self.here[visitor.key] += 1
        try:
            yield visit
        finally:
            self.here[visitor.key] -= 1
            self.here += Counter()  # forgets who has left

    def _admitted(self, visitor: Visitor) -> Visit:
        token = _token(visitor, self.per_minute)
        try:
            return self.limits.admit(token)
        except Refused as error:
            if visitor.token_id:
                raise
            raise UserError("You may ask {limit} times a minute here.", remedy=error.remedy, **error.values) from error


def _token(visitor: Visitor, per_minute: int) -> Token:
    """The visitor's own as it is now, or one that stands for an address and is kept nowhere. Raises UserError."""
    if not visitor.token_id:
        number = -1 - int.from_bytes(hashlib.sha256(visitor.address.encode()).digest()[:6], "big")
        return Token(number, visitor.address, 0.0, per_minute, 0, 0.0, 0, 0)
    for token in tokens.every():
        if token.id == visitor.token_id:
            return token
    raise UserError("Your token was revoked.", remedy="Ask whoever runs this page for another.")
