"""`python -m core share`: the page for other people, as a process of its own; and `share password`.

The page is `ui.share`, started by name. It is told what to do by one line of JSON on its stdin and answers by lines
of JSON on its stdout; the end of its stdin ends it, also when this process was killed.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any, Literal

from pydantic import Field
from tyro.conf import Positional

from core import models, paths, settings
from core.errors import UserError
from core.inference.commands import LoadRequest, estimate_load
from core.operation import Needs, Progress, Request, Result, operation
from core.serve import share_password, tokens
from core.serve.guard import Hosts, is_loopback
from core.serve.lifetime import ended_by_signals, unloaded_at_the_end

PAGE = "ui.share"
PORT = 7860
ADDRESS = "the page is at "
"""How the log's line with its address begins."""
PUBLIC = "the public address is "
GRACE = 10.0
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}


class ShareRequest(Request):
    """Share the model with other people: a page with chat and extraction, its API and MCP server."""

    model: str = Field(
        default="", description="Model to share; empty takes the default one", json_schema_extra={"picker": "model"}
    )
    engine: str = Field(default="", description="Engine to use; empty lets the host choose")
    host: str = Field(
        default="127.0.0.1", description="Address to listen on; another than loopback needs a password or a token"
    )
    port: int = Field(default=PORT, ge=0, le=65_535, description="Port to listen on; 0 takes a free one")
    allow_host: tuple[str, ...] = Field(
        default=(), description="Further host names to answer to, such as that of a proxy in front"
    )
    name: str = Field(
        default="", max_length=100, description="What the page calls the model; empty takes the model's own name"
    )
    language: Literal["auto", "en", "zh"] = Field(
        default="auto", description="The page's language; auto: as the visitor's browser asks"
    )
    per_minute: int = Field(
        default=20, ge=0, description="Requests that a visitor without a token may make a minute; 0: no limit"
    )
    per_visitor: int = Field(default=2, ge=1, le=64, description="Requests that a visitor may have waiting or running")
    queue: int = Field(default=20, ge=1, le=60, description="Requests that may wait, of all visitors together")
    characters: int = Field(
        default=8000,
        ge=100,
        le=200_000,
        description="Longest text or conversation that is read",
        json_schema_extra={"unit": "characters"},
    )
    max_tokens: int = Field(
        default=1024,
        ge=1,
        le=65_536,
        description="Longest answer that a visitor may ask for",
        json_schema_extra={"unit": "tokens"},
    )
    mcp: bool = Field(default=True, description="Also serve its functions to programs that speak MCP")
    tunnel: bool = Field(
        default=False,
        description="Also open a public address through Gradio's tunnel: everything visitors write passes its server",
    )


class ShareResult(Result):
    address: str
    model: str
    requests: int
    tokens: int
    seconds: float

    def summary(self) -> str:
        return f"shared for {self.seconds:.0f} s: {self.requests} requests, {self.tokens} tokens"


class PasswordRequest(Request):
    """Set or remove the password of the shared page."""

    action: Positional[Literal["set", "remove"]] = Field(default="set", description="What to do")


class PasswordResult(Result):
    password_is_set: bool

    def summary(self) -> str:
        return "the shared page has a password" if self.password_is_set else "the shared page has no password"


def estimate(request: ShareRequest) -> Needs:
    return estimate_load(LoadRequest(model=request.model or settings.read().default_model, engine=request.engine))


def plan(request: ShareRequest) -> list[str]:
    model = models.resolve(request.model or settings.read().default_model)
    who = "for those with the password or a token" if needs_login(request) else "for this machine, without a password"
    lines = [
        f"load {model.title} (licence: {model.card.license or 'not declared'})",
        f"show a page on {request.host}:{request.port or 'a free port'}, {who}",
    ]
    return [*lines, "open a public address through Gradio's tunnel"] if request.tunnel else lines


@operation("share", estimate=estimate, plan=plan)
def share(request: ShareRequest, progress: Progress) -> ShareResult:
    needed = needs_login(request)
    model = models.resolve(request.model or settings.read().default_model)
    told = {"request": request.model_dump(mode="json"), "login": needed, "password": share_password.stored()}
    began = time.monotonic()
    for line in warnings(request):
        progress.log(line)
    with unloaded_at_the_end(model):
        seen = _follow(_start(), json.dumps(told), progress)
    return ShareResult(
        address=seen.get("address", ""),
        model=model.ref,
        requests=seen.get("requests", 0),
        tokens=seen.get("tokens", 0),
        seconds=round(time.monotonic() - began, 1),
    )


@operation("share", "password")
def manage(request: PasswordRequest, progress: Progress) -> PasswordResult:
    if request.action == "set":
        share_password.keep(_asked_for())
    else:
        share_password.forget()
    return PasswordResult(password_is_set=share_password.is_set())


def needs_login(request: ShareRequest) -> bool:
    """Whether visitors must log in. Raises UserError where they must and there is nothing to log in with."""
    known = share_password.is_set() or bool(tokens.every())
    beyond = Hosts(request.host, request.allow_host).beyond_loopback or request.tunnel
    if request.tunnel and settings.read().offline:
        raise UserError(
            "A tunnel can't be opened: offline is switched on in Settings.",
            remedy="Share without a tunnel, or switch offline off.",
        )
    if beyond and not known:
        raise UserError(
            "Beyond this machine the page opens only with a password or a token, and there is none.",
            remedy="Set one: `python -m core share password`.",
        )
    return known


def warnings(request: ShareRequest) -> list[str]:
    lines = []
    if request.tunnel:
        lines.append(
            "warning: the tunnel makes this page reachable from the whole internet; all that visitors write passes "
            "through servers of Gradio, which can read it, and a program of theirs is downloaded and run here"
        )
    if not is_loopback(request.host):
        lines.append("note: HTTP is not encrypted; beyond a network you trust, put a proxy with TLS in front")
    return lines


def _start() -> subprocess.Popen[str]:
    # Gradio's own variables could open files or a tunnel that nobody asked for; the password stays here
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GRADIO_") and name != share_password.VARIABLE
    }
    return subprocess.Popen(
        [sys.executable, "-m", PAGE],
        cwd=paths.PROJECT,
        env=inherited | models.OFFLINE | QUIET,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def _follow(page: subprocess.Popen[str], told: str, progress: Progress) -> dict[str, Any]:
    """What the page said of itself, once it has ended. Raises what it could not do."""
    assert page.stdin is not None and page.stdout is not None  # noqa: S101 - both are pipes
    stdin = page.stdin
    seen: dict[str, Any] = {}

    def end() -> None:
        stdin.close()
        killer = threading.Timer(GRACE, page.kill)
        killer.daemon = True
        killer.start()

    try:
        with ended_by_signals(end):
            stdin.write(told + "\n")
            stdin.flush()
            for line in page.stdout:
                said = json.loads(line)
                if "error" in said:
                    raise UserError.from_dict(said["error"])
                if "log" in said:
                    progress.log(said["log"])
                seen |= said
            page.wait()
    except BrokenPipeError:
        page.wait()
    finally:
        if page.poll() is None:
            page.kill()
        page.wait()
    if page.returncode != 0 and "requests" not in seen:
        raise UserError(
            "The shared page ended unexpectedly (code {code}).",
            remedy="The lines above say more; start it again.",
            code=page.returncode,
        )
    return seen


def _asked_for() -> str:
    """Typed unseen, or the first line of a pipe."""
    if sys.stdin.isatty():
        return getpass.getpass("Password for the shared page: ")
    return sys.stdin.readline().rstrip("\r\n")
