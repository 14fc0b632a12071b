"""The host's door: OpenAI-compatible completions, streaming, on loopback, for those who know the token."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import psutil
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import UserError
from core.inference import wire
from core.inference.adapters import based
from core.inference.engine import Adapts, Engine, Generation, Loaded, Options, Piece
from core.models import Model, resolve

HEARTBEAT = 0.2
"""Seconds between signs of life while no text comes; each lets a client stop."""
LARGEST_BODY = 32 << 20


@dataclass
class Service:
    """The loaded model and who uses it."""

    engine: Engine
    model: Model
    loaded: Loaded
    token: str
    on_shutdown: Callable[[], None] = lambda: None
    on_adapted: Callable[[], None] = lambda: None
    others: dict[str, Model] = field(default_factory=dict)
    """Who answers besides, when asked by name: the base and other adapters of it, by reference."""
    busy: int = 0
    last_used: float = field(default_factory=time.monotonic)
    stop_all: threading.Event = field(default_factory=threading.Event)
    slots: asyncio.Semaphore | None = None

    def idle_for(self) -> float:
        return 0.0 if self.busy else time.monotonic() - self.last_used

    def shut_down(self) -> None:
        self.stop_all.set()
        self.on_shutdown()

    def adapt(self, model: Model) -> None:
        """Answer as another adapter of the base from now on, or as the base. After a UserError all is as it was."""
        if not self.engine.can.adapters:
            raise UserError(
                "{engine} takes no further adapter.", remedy="Load the adapter anew.", engine=self.engine.title
            )
        self.loaded = cast(Adapts, self.engine).adapt(model)
        self.others[self.model.ref] = self.model
        self.others.pop(model.ref, None)
        self.model = model
        self.on_adapted()

    async def pieces(self, request: Generation, gone: Callable[[], Any]) -> AsyncIterator[Piece]:
        """Run a generation in a thread, waiting for a free place; end it when `gone()` returns.

        Yields an empty piece every HEARTBEAT seconds without text.
        """
        if self.slots is None:
            self.slots = asyncio.Semaphore(self.loaded.parallel)
        self.busy += 1
        stop = threading.Event()
        watch = asyncio.create_task(_set_when(gone, stop))
        place = asyncio.create_task(self.slots.acquire())
        try:
            while not (await asyncio.wait({place}, timeout=HEARTBEAT))[0]:
                if stop.is_set() or self.stop_all.is_set():
                    return
                yield Piece()
            async for piece in self._generate(request, stop):
                yield piece
        finally:
            watch.cancel()
            if place.done() and not place.cancelled():
                self.slots.release()
            place.cancel()
            self.busy -= 1
            self.last_used = time.monotonic()

    async def _generate(self, request: Generation, stop: threading.Event) -> AsyncIterator[Piece]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()

        def put(item: Piece | BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def work() -> None:
            try:
                for piece in self.engine.generate(request, stop):
                    put(piece)
                    if self.stop_all.is_set():
                        stop.set()
            except BaseException as error:  # noqa: BLE001 - raised again on the other side
                put(error)
            put(None)

        threading.Thread(target=work, daemon=True).start()
        waiting = asyncio.create_task(queue.get())
        try:
            while True:
                if not (await asyncio.wait({waiting}, timeout=HEARTBEAT))[0]:
                    yield Piece()
                    continue
                item = waiting.result()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                waiting = asyncio.create_task(queue.get())
                if item.text or item.finish:
                    yield item
        finally:
            stop.set()
            waiting.cancel()


async def _set_when(gone: Callable[[], Any], stop: threading.Event) -> None:
    await gone()
    stop.set()


def application(service: Service) -> ASGIApp:
    routes = [
        Route("/health", _endpoint(service, _health)),
        Route("/v1/models", _endpoint(service, _models)),
        Route("/v1/completions", _endpoint(service, _complete, chat=False), methods=["POST"]),
        Route("/v1/chat/completions", _endpoint(service, _complete, chat=True), methods=["POST"]),
        Route("/tokenize", _endpoint(service, _tokenize), methods=["POST"]),
        Route("/adapter", _endpoint(service, _adapt), methods=["POST"]),
        Route("/shutdown", _endpoint(service, _shutdown), methods=["POST"]),
    ]
    return _Guard(Starlette(routes=routes), service.token)


class _Guard:
    """Refuses foreign Host headers (a web page that rebinds its name), wrong tokens and huge bodies."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(dict(scope["headers"]))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> JSONResponse | None:
        host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0]
        if host not in ("127.0.0.1", "localhost"):
            error = UserError("The address {host} is not served here.", remedy="Use 127.0.0.1.", host=host)
            return JSONResponse(wire.error_body(error, "forbidden"), 403)
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            error = UserError("The token is missing or wrong.", remedy="Send the one in host/token of the workspace.")
            return JSONResponse(wire.error_body(error, "invalid_api_key"), 401)
        if int(headers.get(b"content-length", b"0") or 0) > LARGEST_BODY:
            error = UserError("The request is too large.", remedy="Send at most 32 MB.")
            return JSONResponse(wire.error_body(error, "too_large"), 413)
        return None


def _endpoint(service: Service, handle: Callable, **options: Any) -> Callable:
    async def endpoint(request: Request) -> Any:
        try:
            return await handle(service, request, **options)
        except UserError as error:
            return JSONResponse(wire.error_body(error), 400)
        except Exception as error:  # noqa: BLE001 - one broken request must not end the others
            print(f"{type(error).__name__}: {error}", flush=True)
            return JSONResponse(wire.error_body(_internal(error), "server_error"), 500)

    return endpoint


async def _health(service: Service, request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "server": wire.SERVER,
            "model": service.model.ref,
            "busy": service.busy,
            "rss": psutil.Process().memory_info().rss,
            "can": asdict(service.engine.can),
            "parallel": service.loaded.parallel,
        }
    )


async def _models(service: Service, request: Request) -> JSONResponse:
    entry: dict[str, Any] = {"object": "model", "created": 0, "owned_by": wire.SERVER}
    entry["max_model_len"] = service.loaded.context
    return JSONResponse(
        {"object": "list", "data": [{"id": ref, **entry} for ref in (service.model.ref, *service.others)]}
    )


async def _tokenize(service: Service, request: Request) -> JSONResponse:
    text = wire.text_field(await _json(request), "content")
    return JSONResponse({"count": await asyncio.to_thread(service.engine.count, text)})


async def _adapt(service: Service, request: Request) -> JSONResponse:
    body = await _json(request)
    model = based(resolve(wire.text_field(body, "ref")), Options(base=str(body.get("base") or "")))
    service.busy += 1  # not idle, nor to be thrown out, while it reads the adapter
    try:
        await asyncio.to_thread(service.adapt, model)
    finally:
        service.busy -= 1
        service.last_used = time.monotonic()
    return JSONResponse({"model": service.model.ref})


async def _shutdown(service: Service, request: Request) -> JSONResponse:
    service.shut_down()
    return JSONResponse({"stopping": True})


async def _complete(service: Service, request: Request, *, chat: bool) -> Any:
    asked = wire.read_request(await _json(request), chat=chat)
    named = asked.generation.model
    reply = wire.Reply(named if named in service.others else service.model.ref, chat=chat)
    pieces = service.pieces(asked.generation, _disconnected(request))
    if asked.stream:
        # What is refused at once gets an error's status; what fails later, an error event.
        first = await anext(pieces, Piece())
        return _EventStream(_events(first, pieces, reply, asked.usage))
    async for piece in pieces:
        reply.take(piece)
    return JSONResponse(reply.whole())


async def _events(first: Piece, pieces: AsyncIterator[Piece], reply: wire.Reply, usage: bool) -> AsyncIterator[str]:
    yield reply.opening()
    try:
        piece: Piece | None = first
        while piece is not None:
            reply.take(piece)
            yield reply.event(piece) if piece.text or piece.finish else ": at work\n\n"
            piece = await anext(pieces, None)
        if usage:
            yield reply.usage_event()
    except UserError as error:
        yield wire.event(wire.error_body(error))
    except Exception as error:  # noqa: BLE001 - the stream has begun: the only way left to say it
        print(f"{type(error).__name__}: {error}", flush=True)
        yield wire.event(wire.error_body(_internal(error), "server_error"))
    yield "data: [DONE]\n\n"


class _EventStream(Response):
    """Sends events until they end; `Service.pieces` ends them when the client goes."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _disconnected(request: Request) -> Callable[[], Any]:
    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UserError("The request is not a JSON object.", remedy="Send JSON as the OpenAI API takes it.")
    return body


def _internal(error: Exception) -> UserError:
    return UserError(
        "The model's process failed: {why}",
        remedy="Its log, host/host.log in the workspace, says more. Try another engine or another file.",
        why=f"{type(error).__name__}: {error}",
    )
