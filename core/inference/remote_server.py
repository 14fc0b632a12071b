"""One OpenAI-compatible server: asked for its kind once, then for answers. Which of several is asked: remote_pool."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from core.errors import UserError
from core.inference import remote_kinds, wire
from core.inference.engine import Generation, Piece
from core.inference.remote_replies import Lost, broken_off, check, pieces, read_json, unreachable

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 30.0
"""For questions that are answered without computing."""
STOP_SECONDS = 0.1
"""How often a silent stream looks whether it was stopped."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_REFUSED_FIELD = ("400", "422")


class Server:
    """`looked`: whether its kind is known; until then `look` must come before any request."""

    def __init__(self, base: str, key: str, *, local: bool, silence: float | None) -> None:
        self.base = base.rstrip("/")
        self.name = ""
        self.looked = False
        self.found = remote_kinds.Found()
        self._without: set[str] = set()
        """Fields that it turned out not to take."""
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {_fit(key, self.base)}"} if key else {},
            timeout=httpx.Timeout(silence, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=not local,
        )

    @property
    def dialect(self) -> remote_kinds.Dialect:
        return remote_kinds.DIALECTS.get(self.found.kind, remote_kinds.OPENAI)

    def known(self, kind: str, name: str, *, grammar: bool, beams: bool) -> None:
        """Take what is known of it already, instead of asking it."""
        self.found, self.name, self.looked = remote_kinds.Found(kind, grammar, beams), name, True

    def look(self, wanted: str) -> None:
        """Find out which models it has and what kind it is. Raises UserError, Lost where it may pass."""
        served = self._served(wanted)
        self.name = str(served["id"])
        self.found = remote_kinds.look(served, self._page)
        self.looked = True

    def pieces(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        path, body = remote_kinds.body(request, self.name, self.found.kind)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        seed = request.decoding.seed if self.dialect.seeds else None
        if self.found.kind == wire.SERVER:  # its signs of life come often enough to look at `stop`
            with self._post(path, body) as response:
                yield from pieces(response, stop, seed)
        else:
            yield from _stoppable(lambda: self._post(path, body), seed, stop)

    def answer(self, request: Generation) -> dict[str, Any]:
        """The whole answer at once, as the server wrote it."""
        path, body = remote_kinds.body(request, self.name, self.found.kind)
        with self._post(path, body) as response:
            answer = read_json(response)
        if self.dialect.seeds and request.decoding.seed is not None:
            answer.setdefault("knowlm", {"seed": request.decoding.seed})
        return answer

    def count(self, text: str) -> int:
        with self._sent("POST", f"{self._root()}/tokenize", {"content": text}) as response:
            return int(read_json(response).get("count", 0))

    def close(self) -> None:
        self._http.close()

    @contextmanager
    def _post(self, path: str, body: dict[str, Any]) -> Iterator[httpx.Response]:
        """The response to a request, put again where the server only dislikes how it was worded."""
        for _ in range(1 + len(_REWORDED)):
            try:
                with self._sent("POST", self.base + path, self._worded(body)) as response:
                    yield response
                    return
            except UserError as error:
                field = _disliked(error)
                if field is None or field in self._without:
                    raise
                self._without.add(field)

    def _worded(self, body: dict[str, Any]) -> dict[str, Any]:
        named = {_REWORDED[name] if name in self._without else name: value for name, value in body.items()}
        return {name: value for name, value in named.items() if name}

    @contextmanager
    def _sent(
        self, method: str, url: str, body: dict[str, Any] | None = None, *, seconds: float | None = None
    ) -> Iterator[httpx.Response]:
        """A response whose status is good. Raises UserError, Lost where another attempt may do better."""
        begun = False
        try:
            content = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": "application/json"} if content else {}
            request = self._http.build_request(method, url, content=content, headers=headers)
            if seconds is not None:
                request.extensions["timeout"] = httpx.Timeout(seconds, connect=CONNECT_SECONDS).as_dict()
            response = self._http.send(request, stream=True)
            try:
                check(response, self.base)
                begun = True
                yield response
            finally:
                response.close()
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise unreachable(self.base, error) from error
        except httpx.HTTPError as error:
            told = (broken_off if begun else unreachable)(self.base, error)
            told.__cause__ = error
            hangs = isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout)
            raise Lost(told, here=not hangs) from error

    def _served(self, wanted: str) -> dict[str, Any]:
        try:
            with self._sent("GET", f"{self.base}/models", seconds=LOOK_SECONDS) as response:
                listed = read_json(response).get("data")
        except UserError as error:
            if wanted and error.values.get("status") in ("404", "405"):  # some servers list nothing
                return {"id": wanted}
            raise
        served = [row for row in listed if isinstance(row, dict) and "id" in row] if isinstance(listed, list) else []
        for row in served:
            if row["id"] == wanted or not wanted:
                return row
        raise UserError(
            "{url} does not serve the model “{model}”.",
            remedy="It serves: {known}. Write one of these after the # of the address.",
            url=self.base,
            model=wanted,
            known=", ".join(str(row["id"]) for row in served[:10]) or "-",
        )

    def _page(self, path: str) -> dict[str, Any]:
        try:
            with self._sent("GET", self._root() + path, seconds=LOOK_SECONDS) as response:
                return read_json(response)
        except (UserError, Lost):
            return {}

    def _root(self) -> str:
        return self.base.removesuffix("/v1")


def _stoppable(
    post: Callable[[], AbstractContextManager[httpx.Response]], seed: int | None, stop: threading.Event
) -> Iterator[Piece]:
    """A stream read by a thread of its own, so that it can be stopped while the server sends nothing.

    Stopping or closing the iterator cuts the connection: servers take that as the end of the request.
    """
    read: SimpleQueue[Piece | BaseException | None] = SimpleQueue()
    over, lock = threading.Event(), threading.Lock()
    under_way: list[httpx.Response] = []

    def work() -> None:
        try:
            with post() as response:
                under_way.append(response)
                try:
                    for piece in pieces(response, over, seed):
                        read.put(piece)
                finally:
                    with lock:  # from here on its connection may serve another request
                        under_way.clear()
        except BaseException as error:  # noqa: BLE001 - raised again on the other side
            read.put(error)
        read.put(None)

    threading.Thread(target=work, daemon=True).start()
    try:
        while not stop.is_set():
            try:
                item = read.get(timeout=STOP_SECONDS)
            except Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
        yield Piece(finish="cancelled", seed=seed)
    finally:
        over.set()
        with lock:
            for response in under_way:
                _cut(response)


def _cut(response: httpx.Response) -> None:
    """Closing alone would not wake a thread that reads from it."""
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


_REWORDED = {"stream_options": "", "max_tokens": "max_completion_tokens"}
"""What some hosted servers refuse, and what they take instead: nothing, or another name of the same thing."""


def _disliked(error: UserError) -> str | None:
    if error.values.get("status") not in _REFUSED_FIELD:
        return None
    return next((name for name in _REWORDED if name in error.values.get("why", "")), None)


def _fit(key: str, url: str) -> str:
    """A key that a header can hold; its own text must not come up in an error of the library."""
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise UserError(
            "The key for {url} holds characters that no key has.",
            remedy="Copy it again, without line ends or quotes.",
            url=url,
        )
    return key
