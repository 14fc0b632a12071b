"""The served addresses: OpenAI's completions, chat completions and models, and `POST /v1/extract`.

No CORS headers: pages of other sites can't read what is answered here. Texts are never logged.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from core.errors import UserError
from core.inference import wire
from core.inference.engine import Piece
from core.serve import extraction, refused
from core.serve.desk import Desk
from core.serve.guard import WHO, Guard, Hosts, too_large
from core.serve.limits import Limits, Visit
from core.serve.refused import Refused
from core.serve.tokens import Token
from core.serve.upstream import Asking, Stopped, Upstream

BODY_SECONDS = 60
FIRST_SECONDS = 5.0
"""So long a stream waits with its status for the model's first sign, so that what is refused has an error's status."""
CHARACTERS_PER_TOKEN = 3


@dataclass
class Door:
    upstream: Upstream
    hosts: Hosts
    needs_token: bool
    largest: int
    """Bytes a request's body may have."""
    log: Callable[[str], None]
    limits: Limits = field(default_factory=Limits)
    requests: int = 0
    tokens: int = 0
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.desk = Desk(max(1, self.upstream.connected().parallel))


@dataclass
class Call:
    """One request under way: who asks, and what goes into the log and the accounts."""

    door: Door
    request: Request
    visit: Visit
    began: float = field(default_factory=time.monotonic)

    @property
    def token(self) -> Token | None:
        return self.visit.token

    async def settle(self, used: int) -> None:
        self.door.requests += 1
        self.door.tokens += used
        await asyncio.to_thread(self.visit.settle, used)
        name = self.token.name if self.token else "-"
        seconds = time.monotonic() - self.began
        self.door.log(f"{name}: {self.request.url.path}, {used} tokens, {seconds:.1f} s")

    async def gone(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    async def body(self) -> dict[str, Any]:
        """The JSON object that was sent; a chunked body is measured as it comes. Raises UserError."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in self.request.stream():
                    size += len(part)
                    if size > self.door.largest:
                        raise too_large(self.door.largest)
                    parts.append(part)
        except TimeoutError:
            raise Refused(
                "The request did not come to its end.", remedy="Send it again.", http=408, code="timeout"
            ) from None
        try:
            body = json.loads(b"".join(parts))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise UserError("The request is not a JSON object.", remedy="Send JSON as the OpenAI API takes it.")
        self._refuse_other_models(body.get("model"))
        return body

    def _refuse_other_models(self, wanted: Any) -> None:
        served = self.door.upstream.name
        if wanted is not None and wanted != served:
            raise _no_such_model(wanted, served)


def application(door: Door) -> ASGIApp:
    routes = [
        Route("/", _plain(door, _front)),
        Route("/health", _plain(door, _health)),
        Route("/v1/models", _plain(door, _models)),
        Route("/v1/models/{name:path}", _plain(door, _model)),
        Route("/v1/completions", _asking(door, _complete, chat=False), methods=["POST"]),
        Route("/v1/chat/completions", _asking(door, _complete, chat=True), methods=["POST"]),
        Route("/v1/extract", _asking(door, _extract), methods=["POST"]),
        Route("/tokenize", _asking(door, _tokenize), methods=["POST"]),
    ]
    inner = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_page})
    return Guard(inner, door.hosts, door.needs_token, door.largest, door.log)


def _plain(door: Door, handle: Callable[[Door, Request], Awaitable[Response]]) -> Callable:
    async def endpoint(request: Request) -> Response:
        return await _told(door, handle(door, request))

    return endpoint


def _asking(door: Door, handle: Callable[..., Awaitable[Response]], **options: Any) -> Callable:
    async def endpoint(request: Request) -> Response:
        async def answered() -> Response:
            call = Call(door, request, door.limits.admit(request.scope[WHO]))
            return await handle(call, **options)

        return await _told(door, answered())

    return endpoint


async def _told(door: Door, answer: Awaitable[Response]) -> Response:
    try:
        return await answer
    except UserError as error:
        return refused.response(error)
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception as error:  # noqa: BLE001 - one broken request must not end the others
        door.log(f"{type(error).__name__}: {error}")
        return refused.response(refused.internal())


async def _front(door: Door, request: Request) -> Response:
    model = door.upstream.model
    lines = [
        f"KnowLM Studio serves {model.title}.",
        f"Licence: {model.card.license or 'not declared'}",
        *([f"From: {model.card.source}"] if model.card.source else []),
        "",
        "OpenAI-compatible under /v1: models, completions, chat/completions. Extraction: POST /v1/extract.",
        f"The model's name is {door.upstream.name}.",
        *(["A token is needed: Authorization: Bearer TOKEN."] if door.needs_token else []),
    ]
    return PlainTextResponse("\n".join(lines) + "\n", headers={"x-content-type-options": "nosniff"})


async def _health(door: Door, request: Request) -> Response:
    """What our own client reads to know that grammars and the like can be asked for."""
    connected = await asyncio.to_thread(door.upstream.connected)
    facts = {"server": wire.SERVER, "model": door.upstream.name, "busy": door.desk.busy, "can": connected.can}
    return JSONResponse(facts | {"parallel": connected.parallel})


async def _models(door: Door, request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [await _entry(door)]})


async def _model(door: Door, request: Request) -> Response:
    wanted = request.path_params["name"]
    if wanted != door.upstream.name:
        raise _no_such_model(wanted, door.upstream.name)
    return JSONResponse(await _entry(door))


async def _entry(door: Door) -> dict[str, Any]:
    model, connected = door.upstream.model, await asyncio.to_thread(door.upstream.connected)
    entry: dict[str, Any] = {"id": door.upstream.name, "object": "model", "created": 0, "owned_by": wire.SERVER}
    entry |= {"title": model.title, "license": model.card.license, "source": model.card.source}
    return entry | {"languages": list(model.card.languages), "max_model_len": connected.context}


async def _tokenize(call: Call) -> Response:
    text = wire.text_field(await call.body(), "content")
    count = await asyncio.to_thread(call.door.upstream.count, text)
    return JSONResponse({"count": count or 0})


async def _complete(call: Call, *, chat: bool) -> Response:
    asked = wire.read_request(await call.body(), chat=chat)
    generation, reply = asked.generation, wire.Reply(call.door.upstream.name, chat=chat)
    call.visit.expects(generation.decoding.max_tokens)
    pieces = call.door.desk.follow(lambda stop: call.door.upstream.pieces(generation, stop), call.gone)
    if asked.stream:
        events = _settled(call, reply, asked, _events(call, pieces, reply, usage=asked.usage))
        first = await anext(events)  # raises what is refused at once, while the status can still say so
        return StreamingResponse(_joined(first, events), media_type="text/event-stream", headers=NO_STORE)
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                reply.take(piece or Piece())
    finally:
        await call.settle(_used(reply, asked))
    if reply.end.finish in (None, "cancelled"):  # the caller is gone, or the server ends
        raise _ending()
    return JSONResponse(reply.whole())


NO_STORE = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""The second tells nginx to pass events on as they come."""


async def _events(
    call: Call, pieces: AsyncGenerator[Piece | None], reply: wire.Reply, *, usage: bool
) -> AsyncGenerator[str]:
    """The first event waits for the model's first sign and raises; later failures are events themselves."""
    async with aclosing(pieces):
        piece = await _first(pieces)
        yield reply.opening()
        try:
            while piece is not _END:
                reply.take(piece or Piece())
                yield reply.event(piece) if piece and (piece.text or piece.finish) else ": at work\n\n"
                piece = await anext(pieces, _END)
            if usage:
                yield reply.usage_event()
        except UserError as error:
            http = error.http if isinstance(error, Refused) else 400
            yield wire.event(refused.body(error, getattr(error, "code", "invalid_request"), http))
        except Exception as error:  # noqa: BLE001 - the stream has begun: the only way left to say it
            call.door.log(f"{type(error).__name__}: {error}")
            yield wire.event(refused.body(refused.internal(), "server_error", 500))
        yield "data: [DONE]\n\n"


_END: Any = object()


async def _first(pieces: AsyncGenerator[Piece | None]) -> Any:
    until = time.monotonic() + FIRST_SECONDS
    piece = await anext(pieces, _END)
    while piece is None and time.monotonic() < until:
        piece = await anext(pieces, _END)
    return piece


async def _settled(
    call: Call, reply: wire.Reply, asked: wire.Asked, events: AsyncGenerator[str]
) -> AsyncGenerator[str]:
    """The events; what the answer used is charged at their end, whatever that is."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    finally:
        await asyncio.shield(call.settle(_used(reply, asked)))


async def _joined(first: str, events: AsyncGenerator[str]) -> AsyncGenerator[str]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


def _used(reply: wire.Reply, asked: wire.Asked) -> int:
    """Tokens of prompt and answer; estimated for an answer whose caller went before its counts came."""
    if reply.end.prompt_tokens:
        return reply.end.prompt_tokens + reply.end.tokens
    prompt = asked.generation.prompt or "".join(message["content"] for message in asked.generation.messages)
    return len(prompt) // CHARACTERS_PER_TOKEN + len(reply.parts) if reply.parts or reply.end.finish else 0


async def _extract(call: Call) -> Response:
    asked = extraction.read(await call.body())
    call.visit.expects(len(asked.text) // CHARACTERS_PER_TOKEN)
    asking: list[Asking] = []

    def work(stop: Any):
        asking.append(Asking(call.door.upstream, stop))
        yield extraction.made(asking[0], asked, call.door.upstream.name)

    result: dict[str, Any] | None = None
    items = call.door.desk.follow(work, call.gone)
    try:
        async with aclosing(items):
            async for item in items:
                result = item or result
    except Stopped:
        pass
    finally:
        await call.settle(sum(each.used for each in asking))
    if result is None:
        raise _ending()
    return JSONResponse(result)


def _ending() -> Refused:
    return Refused(
        "The server is being ended.", remedy="Ask again later.", http=503, code="shutting_down", retry_after=10
    )


async def _no_such_page(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return refused.response(
        Refused(
            "There is nothing at {method} {path}.",
            remedy="The addresses are /v1/models, /v1/completions, /v1/chat/completions and /v1/extract.",
            method=request.method,
            path=request.url.path[:200],
            http=status,
            code="not_found",
        )
    )


def _no_such_model(wanted: Any, served: str) -> Refused:
    return Refused(
        "The model “{model}” is not served here.",
        remedy="This server has one model: {served}.",
        model=str(wanted)[:200],
        served=served,
        http=404,
        code="model_not_found",
    )
