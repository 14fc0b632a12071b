"""Servers of the same model: the least busy one is asked; one that fails is left out for a while."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from core.errors import UserError
from core.inference.engine import Capabilities, Generation, refuse_impossible
from core.inference.remote_replies import Lost
from core.inference.remote_server import Server

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds that a failing server is left out; doubled at each failure in a row."""
LONGEST_ASKED = 300.0
"""A server that asks to wait longer is not waited for."""


class Limits:
    """What a person allows a server: requests under way at once, and begun a second. 0: any number."""

    def __init__(self, at_once: int = 0, per_second: float = 0.0) -> None:
        self.at_once, self.per_second = at_once, per_second
        self._places = threading.BoundedSemaphore(at_once) if at_once else None
        self._lock = threading.Lock()
        self._next = 0.0

    def enter(self, stop: threading.Event) -> bool:
        """Wait until another request may begin; False if `stop` was set before. Then `leave` must follow."""
        while self._places is not None and not self._places.acquire(timeout=0.1):
            if stop.is_set():
                return False
        if stop.wait(self._turn()):
            self.leave()
            return False
        return True

    def leave(self) -> None:
        if self._places is not None:
            self._places.release()

    def _turn(self) -> float:
        """Seconds until this request's turn, which is taken with the asking."""
        if not self.per_second:
            return 0.0
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + 1 / self.per_second
            return mine - now


_limits: dict[str, Limits] = {}
_limits_lock = threading.Lock()


def limits(ref: str, at_once: int, per_second: float) -> Limits:
    """The limits of an endpoint, shared by all that ask it in this process."""
    with _limits_lock:
        known = _limits.get(ref)
        if known is None or (known.at_once, known.per_second) != (at_once, per_second):
            known = _limits[ref] = Limits(at_once, per_second)
        return known


@dataclass
class _Health:
    busy: int = 0
    failures: int = 0
    back_at: float = 0.0
    """When it may be asked again, on the monotonic clock."""


@dataclass
class Pool:
    servers: Sequence[Server]
    wanted: str = ""
    """The model's name; until one server told it, empty for the first that a server has."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._health = {server: _Health() for server in self.servers}
        self._first = 0

    def look(self) -> None:
        """Ask each server what it is. Those that don't answer are left out; raises UserError if none does."""
        waiting, failed = list(self.servers), []
        while waiting and not self.wanted:
            failed += self._looked(waiting.pop(0))
        if waiting:
            with ThreadPoolExecutor(len(waiting)) as threads:
                failed += [error for errors in threads.map(self._looked, waiting) for error in errors]
        if len(failed) == len(self.servers):
            raise failed[0] from failed[0].__cause__

    def _looked(self, server: Server) -> list[UserError]:
        try:
            server.look(self.wanted)
        except Lost as lost:
            self.failed(server, lost)
            return [lost.error]
        self.wanted = server.name
        return []

    def pick(self, tried: dict[Server, float]) -> tuple[Server, float]:
        """(server, seconds until it may be asked). Counts as busy until `done`. `tried`: not before these times."""
        with self._lock:
            now, count = time.monotonic(), len(self.servers)

            def rank(place: int) -> tuple[float, bool, int, int]:
                server = self.servers[place]
                health = self._health[server]
                wait = max(0.0, health.back_at - now, tried.get(server, 0.0) - now)
                # one request at a time finds out whether a server that failed is back
                return wait, bool(health.failures and health.busy), health.busy, (place - self._first) % count

            chosen = min(range(count), key=rank)
            wait = rank(chosen)[0]
            self._first = (chosen + 1) % count
            self._health[self.servers[chosen]].busy += 1
            return self.servers[chosen], wait

    def done(self, server: Server) -> None:
        with self._lock:
            self._health[server].busy -= 1

    def answered(self, server: Server) -> None:
        with self._lock:
            self._health[server].failures = 0

    def failed(self, server: Server, lost: Lost, attempts: int = 0) -> float:
        """Leave a server out, if it is to blame; seconds until it may be asked again."""
        with self._lock:
            health, now = self._health[server], time.monotonic()
            pause = _pause(health.failures if lost.blamed else attempts, lost.asked)
            if lost.blamed:
                if now >= health.back_at:  # those that fail together are one failure
                    health.failures += 1
                health.back_at = max(health.back_at, now + pause)
            return pause


class Turn:
    """The attempts at one request: `begin` names the server of each, `end` follows it, `lost` says that it failed."""

    def __init__(self, pool: Pool, tries: int, request: Generation, stop: threading.Event) -> None:
        self._pool, self._request, self._stop = pool, request, stop
        self._left = tries + len(pool.servers) - 1
        self._lost = 0
        self._tried: dict[Server, float] = {}

    def begin(self) -> Server | None:
        """The server to ask now, waited for as long as it must be; None once `stop` is set."""
        while True:
            server, wait = self._pool.pick(self._tried)
            if wait and self._waited(server, wait):
                server, _ = self._pool.pick(self._tried)  # another one may be back by now
            elif wait:
                return None
            if not self._pool.limits.enter(self._stop):
                self._pool.done(server)
                return None
            try:
                self._ready(server)
            except Lost as lost:
                self.end(server)
                self.lost(server, lost)
                continue
            except UserError:
                self.end(server)
                raise
            return server

    def end(self, server: Server) -> None:
        self._pool.limits.leave()
        self._pool.done(server)

    def answered(self, server: Server) -> None:
        self._pool.answered(server)

    def lost(self, server: Server, lost: Lost, *, said: bool = False) -> None:
        """Raises the attempt's error where no other may follow: something was said, or nobody is left to ask."""
        pause = self._pool.failed(server, lost, self._lost)
        self._tried[server] = time.monotonic() + (pause if lost.here else LONGEST_ASKED)
        self._left, self._lost = self._left - 1, self._lost + 1
        others = len(self._tried) < len(self._pool.servers)
        patient = lost.here and (lost.asked or 0) <= LONGEST_ASKED
        if said or self._left <= 0 or not (others or patient):
            raise lost.error from lost.error.__cause__

    def _waited(self, server: Server, seconds: float) -> bool:
        """False if `stop` was set meanwhile. The server is given back either way."""
        self._pool.done(server)
        return not self._stop.wait(seconds)

    def _ready(self, server: Server) -> None:
        """A server that didn't answer when the model was opened is looked at before it is asked."""
        if not server.looked:
            try:
                server.look(self._pool.wanted)
            except UserError as error:
                raise Lost(error) from error
        if self._request.grammar is not None and not server.found.grammar:
            try:
                refuse_impossible(server.base, Capabilities(formats=()), self._request)
            except UserError as error:
                raise Lost(error, here=False) from error


def _pause(failures: int, asked: float | None) -> float:
    """Seconds to wait: what the server asks for, else doubling; spread so that clients don't come back together."""
    if asked is not None:
        return asked * random.uniform(1.0, 1.1)
    return min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE) * random.uniform(0.75, 1.25)
