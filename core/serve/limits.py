"""How much a token may ask: requests a minute, tokens a day. Who asks too much is told when to come back."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from core.serve import tokens
from core.serve.refused import Refused
from core.serve.tokens import Token

MINUTE = 60.0
DAY = 86_400


class Limits:
    """Requests are counted here, over the last minute; a day's tokens in the store, so that a restart forgives none."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._asked: dict[int, deque[float]] = defaultdict(deque)
        self._held: dict[int, int] = defaultdict(int)
        self._lock = threading.Lock()

    def admit(self, token: Token | None) -> Visit:
        """Let a request in. Raises Refused (429). Without a token nothing is limited."""
        if token is None:
            return Visit(self, None)
        now = self._clock()
        with self._lock:
            asked = self._asked[token.id]
            while asked and asked[0] <= now - MINUTE:
                asked.popleft()
            if token.per_minute and len(asked) >= token.per_minute:
                raise _too_many(token, math.ceil(asked[0] + MINUTE - now))
            if token.per_day and token.tokens_today + self._held[token.id] >= token.per_day:
                raise _too_much(token, math.ceil(DAY - now % DAY))
            asked.append(now)
        return Visit(self, token)

    def hold(self, token: Token, tokens_: int) -> None:
        with self._lock:
            self._held[token.id] += tokens_


@dataclass
class Visit:
    """A request that was let in. What it may use is held back until it is known what it did use."""

    limits: Limits
    token: Token | None
    _holding: int = 0

    def expects(self, most: int) -> None:
        """So that requests side by side don't all pass where only one would have."""
        if self.token is not None:
            self.limits.hold(self.token, most)
            self._holding += most

    def settle(self, used: int) -> None:
        """The request is over. The one that crosses a day's limit is answered whole."""
        if self.token is not None:
            self.limits.hold(self.token, -self._holding)
            self._holding = 0
            tokens.charge(self.token, used)


def _too_many(token: Token, seconds: int) -> Refused:
    return Refused(
        "This token may ask {limit} times a minute.",
        remedy="Ask again in {seconds} s.",
        limit=token.per_minute,
        seconds=seconds,
        http=429,
        code="rate_limit_exceeded",
        retry_after=max(1, seconds),
    )


def _too_much(token: Token, seconds: int) -> Refused:
    return Refused(
        "This token may use {limit} tokens a day, and they are used up or being used.",
        remedy="Ask again in {seconds} s, when the day ends (UTC).",
        limit=token.per_day,
        seconds=seconds,
        http=429,
        code="insufficient_quota",
        retry_after=max(1, seconds),
    )
