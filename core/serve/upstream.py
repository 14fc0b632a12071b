"""The one model that is served, through the client that the whole app uses: one host, one model in memory.

A host that ended (idle, killed) is started again by the next request. Where its owner loaded another model in the
meantime, requests are refused until that one is unloaded: who sits at the machine goes first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import UserError
from core.inference import client
from core.inference.client import Answer, Asks, Client
from core.inference.engine import Generation, HostGone, Options, Piece, PromptTooLong
from core.models import Model, resolve
from core.serve.refused import Refused

TRIES = 2


class Stopped(Exception):
    """Whoever asked is gone, or the server ends."""


class Upstream:
    def __init__(
        self,
        ref: str,
        *,
        engine: str = "",
        options: Options | None = None,
        name: str = "",
        log: Callable[[str], None] = print,
    ) -> None:
        self.model: Model = resolve(ref)
        self.name = name or _public_name(self.model)
        self._engine = engine or None
        self._options = options
        self._log = log
        self._lock = threading.Lock()
        self._client: Client | None = None

    def open(self) -> Client:
        """Load the model, or find it loaded. Raises UserError as loading does."""
        with self._lock:
            if self.model.format != "remote":
                client.load(self.model.ref, engine=self._engine, options=self._options)
            self._client = client.connect(self.model.ref)
            return self._client

    def connected(self) -> Client:
        """The client, the model loaded again if its host has ended. Raises Refused (503)."""
        with self._lock:
            if self._client is not None:
                return self._client
        try:
            self._refuse_if_replaced()
            return self.open()
        except UserError as error:
            self._log(f"the model can't be loaded: {error}")
            raise _unavailable() from error

    def pieces(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        """An answer as it comes, asked again once if the host turns out to have ended before its first word."""
        for attempt in range(TRIES):
            connected, said = self.connected(), False
            try:
                for piece in connected.pieces(request, stop):
                    if piece.finish == "cancelled" and not stop.is_set():
                        raise HostGone("The model {model} was unloaded.", remedy="Load it again.", model=self.name)
                    said = said or bool(piece.text)
                    yield piece
                return
            except HostGone as error:
                self._forget(connected)
                if said or attempt + 1 == TRIES:
                    self._log(f"the model's process ended: {error}")
                    raise _unavailable() from error
            except PromptTooLong:
                raise
            except UserError as error:
                raise self._from_elsewhere(error) from error

    def count(self, text: str) -> int | None:
        connected = self.connected()
        try:
            return connected.count(text)
        except HostGone as error:
            self._forget(connected)
            raise _unavailable() from error

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _forget(self, gone: Client) -> None:
        with self._lock:
            if self._client is gone:
                self._client = None

    def _refuse_if_replaced(self) -> None:
        if self.model.format == "remote":
            return
        now = client.status()
        if now.state in ("ready", "loading") and now.model != self.model.ref:
            raise HostGone(
                "The model {model} was unloaded: {other} took its place.",
                remedy="Load it again.",
                model=self.name,
                other=now.title or now.model,
            )

    def _from_elsewhere(self, error: UserError) -> UserError:
        """An error as a caller may read it: another server's address is nobody's business."""
        if self.model.format != "remote":
            return error
        self._log(str(error))
        return Refused(
            "The model's server refused the request: {why}",
            remedy="Change the request and try again.",
            why=error.values.get("why", "no reason given"),
            http=502,
            code="upstream_error",
        )


class Asking(Asks):
    """What `core.extract` asks of a client, ended by `stop`; counts what it used."""

    def __init__(self, upstream: Upstream, stop: threading.Event) -> None:
        connected = upstream.connected()
        self.model, self.parallel = connected.model, connected.parallel
        self.context, self.can = connected.context, connected.can
        self.used = 0
        self._upstream, self._stop = upstream, stop

    def _answer(self, request: Generation) -> Answer:
        if self._stop.is_set():
            raise Stopped
        began, texts, last = time.monotonic(), [], Piece()
        for last in self._upstream.pieces(request, self._stop):
            texts.append(last.text)
        self.used += last.prompt_tokens + last.tokens
        if self._stop.is_set():
            raise Stopped
        seconds = time.monotonic() - began
        return Answer("".join(texts), last.finish or "stop", last.prompt_tokens, last.tokens, seconds, seed=last.seed)


def _public_name(model: Model) -> str:
    """What callers name it: never a path of this machine."""
    if model.format == "remote":
        return model.model_id or "model"
    return model.path.stem if model.path and Path(model.ref).is_absolute() else model.ref


def _unavailable() -> Refused:
    return Refused(
        "The model is not available at the moment.",
        remedy="Try again in a while; whoever runs the server sees why in its output.",
        http=503,
        code="model_unavailable",
        retry_after=10,
    )
