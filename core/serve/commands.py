"""`python -m core serve`, and `serve tokens add | list | revoke`."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Literal

from pydantic import Field
from tyro.conf import Positional

from core import models, settings
from core.errors import UserError
from core.inference import adapters
from core.inference.commands import LoadRequest, estimate_load
from core.inference.engine import Options
from core.operation import Needs, Progress, Request, Result, operation
from core.serve import lifetime, tokens
from core.serve.guard import Hosts, is_loopback

PORT = 8100


class ServeRequest(Request):
    """Serve a model to other programs and people: OpenAI-compatible, and extraction."""

    model: str = Field(
        default="", description="Model to serve; empty takes the default one", json_schema_extra={"picker": "model"}
    )
    engine: str = Field(default="", description="Engine to use; empty lets the host choose")
    adapter: str = Field(default="", description="Adapter to serve it with: a name or a folder; its base is the model")
    host: str = Field(default="127.0.0.1", description="Address to listen on; another than loopback needs a token")
    port: int = Field(default=PORT, ge=0, le=65_535, description="Port to listen on; 0 takes a free one")
    allow_host: tuple[str, ...] = Field(
        default=(), description="Further host names to answer to, such as that of a proxy in front"
    )
    name: str = Field(
        default="", max_length=100, description="What callers name the model; empty takes the model's own name"
    )
    body_limit: int = Field(
        default=4, ge=1, le=256, description="Largest request that is read", json_schema_extra={"unit": "MB"}
    )


class ServeResult(Result):
    address: str
    model: str
    requests: int
    tokens: int
    seconds: float

    def summary(self) -> str:
        return f"served {self.requests} requests, {self.tokens} tokens, in {self.seconds:.0f} s"


class TokensRequest(Request):
    """Add, list or revoke the tokens with which others may use the server."""

    action: Positional[Literal["add", "list", "revoke"]] = Field(description="What to do")
    name: Positional[str] = Field(default="", description="Whose token: a name of your choice")
    per_minute: int = Field(default=60, ge=0, description="Requests that a new token may make a minute; 0: no limit")
    per_day: int = Field(
        default=0,
        ge=0,
        description="Tokens that a new token may read and write a day (UTC); 0: no limit",
        json_schema_extra={"unit": "tokens"},
    )


class TokensResult(Result):
    tokens: tuple[dict[str, Any], ...] = ()
    secret: str = ""
    """Of a new token: shown this once."""

    def summary(self) -> str:
        if self.secret:
            return f"{self.secret}\nThis is shown once: only its hash is kept."
        lines = [_line(token) for token in self.tokens]
        return "\n".join(lines) or "no tokens"


def estimate(request: ServeRequest) -> Needs:
    if request.adapter and request.model:
        return estimate_load(LoadRequest(model=request.model, adapter=request.adapter))
    if request.adapter:
        return estimate_load(LoadRequest(model=request.adapter))
    return estimate_load(LoadRequest(model=request.model or settings.read().default_model, engine=request.engine))


def _served(request: ServeRequest) -> tuple[models.Model, Options | None]:
    """The model to serve, and the base it is loaded on where that isn't the one it names. Raises UserError."""
    if not request.adapter:
        return models.resolve(request.model or settings.read().default_model), None
    model, base = adapters.on_base(request.adapter, request.model)
    return model, Options(base=base) if base else None


def plan(request: ServeRequest) -> list[str]:
    hosts = Hosts(request.host, request.allow_host)
    model, _ = _served(request)
    return [
        f"load {model.title} (licence: {model.card.license or 'not declared'})",
        f"listen on {request.host}:{request.port or 'a free port'}, {_who(needs_token(hosts))}",
    ]


@operation("serve", estimate=estimate, plan=plan)
def serve(request: ServeRequest, progress: Progress) -> ServeResult:
    from core.serve.door import Door, application
    from core.serve.upstream import Upstream

    hosts = Hosts(request.host, request.allow_host)
    needed = needs_token(hosts)
    began = time.monotonic()
    with contextlib.ExitStack() as ending:
        listening = ending.enter_context(lifetime.listening(request.host, request.port))
        model, options = _served(request)
        upstream = Upstream(model.ref, engine=request.engine, options=options, name=request.name, log=progress.log)
        ending.enter_context(lifetime.unloaded_at_the_end(upstream.model))
        upstream.open()
        ending.callback(upstream.close)
        door = Door(upstream, hosts, needed, request.body_limit << 20, progress.log)
        address = lifetime.address(request.host, listening.getsockname()[1])
        progress.log(f"serving {upstream.model.title} as “{upstream.name}” at {address}/v1, {_who(needed)}")
        progress.log(f"its licence: {upstream.model.card.license or 'not declared'}")
        if not is_loopback(request.host):
            progress.log("note: HTTP is not encrypted; beyond a network you trust, put a proxy with TLS in front")
        lifetime.serve(application(door), listening, door.desk.close)
        return ServeResult(
            address=f"{address}/v1",
            model=upstream.model.ref,
            requests=door.requests,
            tokens=door.tokens,
            seconds=round(time.monotonic() - began, 1),
        )


@operation("serve", "tokens")
def manage(request: TokensRequest, progress: Progress) -> TokensResult:
    if request.action == "add":
        secret = tokens.add(request.name, per_minute=request.per_minute, per_day=request.per_day)
        return TokensResult(secret=secret)
    if request.action == "revoke":
        return TokensResult(tokens=(_told(tokens.revoke(request.name)) | {"revoked": True},))
    return TokensResult(tokens=tuple(_told(token) for token in tokens.every()))


def needs_token(hosts: Hosts) -> bool:
    """Whether callers must show a token. Raises UserError where they must and there is none."""
    known = bool(tokens.every())
    if hosts.beyond_loopback and not known:
        raise UserError(
            "Beyond this machine the server answers only to tokens, and there is none.",
            remedy="Make one: `python -m core serve tokens add NAME`.",
        )
    return known


def _who(needed: bool) -> str:
    return "for those with a token" if needed else "for programs of this machine, without a token"


def _told(token: tokens.Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "made": _when(token.made),
        "per_minute": token.per_minute,
        "per_day": token.per_day,
        "last_used": _when(token.last_used) if token.last_used else "",
        "requests_today": token.requests_today,
        "tokens_today": token.tokens_today,
    }


def _line(token: dict[str, Any]) -> str:
    limits = f"{token['per_minute'] or 'any'} requests a minute, {token['per_day'] or 'any'} tokens a day"
    used = f"today {token['requests_today']} requests, {token['tokens_today']} tokens"
    state = "revoked" if token.get("revoked") else f"last used {token['last_used'] or 'never'}"
    return f"{token['name']}: {limits}; {used}; {state}"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
