"""What the app's own parts use: load, unload, ask. Light: nothing here imports an engine's library."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import httpx

from core import models, paths
from core.errors import UserError
from core.inference import adapters, state, wire
from core.inference.decoding import Decoding
from core.inference.engine import (
    WHY_BY_HAND,
    Capabilities,
    Fact,
    Finish,
    Generation,
    HostGone,
    Options,
    Piece,
    PromptTooLong,
    choose,
)
from core.inference.engines import remote
from core.inference.speeds import Purpose

__all__ = [
    "Answer",
    "Client",
    "HostGone",
    "HostStatus",
    "PromptTooLong",
    "connect",
    "connect_for_many",
    "load",
    "status",
    "unload",
]

IDLE_VARIABLE = "KNOWLM_HOST_IDLE"
START_PATIENCE = 60.0
"""Seconds for a host to begin; loading the model comes after that and may take as long as it needs."""
STOP_PATIENCE = 10.0
ANSWER_PATIENCE = 900.0
ADAPTER_PATIENCE = 300.0
"""Seconds for an adapter to join its base; the answer under way is finished first."""
_children: list[subprocess.Popen] = []
"""Hosts this process started, kept so that ended ones are reaped."""


@dataclass(frozen=True)
class HostStatus:
    state: Literal["empty", "loading", "ready", "died"]
    model: str = ""
    title: str = ""
    engine: str = ""
    why_engine: str = ""
    can: dict[str, Any] = field(default_factory=dict)
    context: int = 0
    parallel: int = 0
    facts: tuple[Fact, ...] = ()
    """What came of the load, and why."""
    answers: tuple[str, ...] = ()
    """As whom it answers when asked by name."""
    busy: int = 0
    error: UserError | None = None
    pid: int = 0
    rss: int = 0


@dataclass(frozen=True)
class Answer:
    text: str
    finish: Finish
    prompt_tokens: int
    tokens: int
    seconds: float
    first_token_seconds: float | None = None
    seed: int | None = None


def status() -> HostStatus:
    """What the host's files and the host itself say now."""
    _reap()
    record = state.read()
    if record is None:
        return HostStatus("empty")
    known = {name: getattr(record, name) for name in ("title", "engine", "why_engine", "can", "context", "parallel")}
    known |= {"model": record.ref, "pid": record.pid, "facts": tuple(Fact(**told) for told in record.facts)}
    known["answers"] = tuple(record.answers)
    if not state.alive():
        if state.read() != record:  # it ended in order, or another took its place, while we looked
            return status()
        return HostStatus("died", **known, error=state.why_it_died(record))
    if not record.address:
        return HostStatus("loading", **known)
    try:
        health = _ask(record, "GET", "/health", timeout=5)
    except httpx.HTTPError:
        return HostStatus("ready" if state.alive() else "died", **known)
    return HostStatus("ready", **known, busy=int(health.get("busy", 0)), rss=int(health.get("rss", 0)))


def load(
    ref: str,
    *,
    engine: str | None = None,
    wait: bool = True,
    force: bool = False,
    options: Options | None = None,
    idle: float | None = None,
    purpose: Purpose = "chat",
) -> HostStatus:
    """Have this model loaded, the one before unloaded first. Nothing happens if it is loaded already.

    An adapter whose base is loaded joins it there, and so does the base itself: the process stays, and so do the
    others. Other `options` than those it was loaded with load it anew; so does the purpose "batch", where another
    engine is better at that, nobody asked for this one, and it is answering nobody. `idle`: seconds without a request
    after which it unloads itself; 0: never. Raises UserError, also if another model is answering, unless `force`.
    """
    model = models.resolve(ref)
    if model.format == "remote":
        raise UserError(
            "{model} runs on another server: there is nothing to load.", remedy="Use it as it is.", model=model.title
        )
    with state.starting_lock():
        now = status()
        serves = _serves(now, model.ref, engine, options) and not (purpose == "batch" and _better_at_many(now, model))
        if not serves and not _adapted(now, model, engine, options or Options()):
            if now.state == "ready" and now.busy and not force:
                raise UserError(
                    "The model {model} is answering {count} requests.",
                    remedy="Wait until it is done, or stop it first.",
                    model=now.title or now.model,
                    count=now.busy,
                )
            _stop()
            _start(model.ref, engine, options or Options(), idle, purpose)
    return _until_ready(model.ref) if wait else status()


def unload() -> None:
    """End the host, whatever it does; returns when its memory is free again."""
    with state.starting_lock():
        _stop()


def connect(ref: str, purpose: Purpose = "chat") -> Client:
    """A client of this model: loads it if it isn't loaded; a remote one needs no host. Raises UserError."""
    model = models.resolve(ref)
    if model.format == "remote":
        engine = remote.Engine()
        loaded = engine.load(model, Options())
        return Client(model, engine, parallel=loaded.parallel, context=loaded.context, can=asdict(engine.can))
    now = load(model.ref, purpose=purpose)
    record = state.read()
    # another adapter may have joined meanwhile: this one is still there
    if record is None or model.ref not in record.answers or not record.address:
        raise HostGone("The model {model} was unloaded.", remedy="Load it again.", model=now.title or model.title)
    engine = remote.Engine(silence=ANSWER_PATIENCE, tries=1)
    engine.can, engine.title = _capabilities(record.can), record.engine
    engine.open(f"{record.address}/v1", state.token(), wire.SERVER, model.ref)
    return Client(model, engine, parallel=record.parallel, context=record.context, can=record.can, start=record.start)


def connect_for_many(ref: str) -> Client:
    """A client of this model for many texts: loaded with the engine that is best at that, where nobody minds."""
    return connect(ref, "batch")


class Asks:
    """A prompt or messages put to whoever answers a Generation whole."""

    def complete(
        self, prompt: str, decoding: Decoding, *, grammar: str | None = None, stop: tuple[str, ...] = ()
    ) -> Answer:
        return self._answer(Generation(decoding, wire.clean(prompt), (), grammar, stop))

    def chat(
        self,
        messages: list[dict[str, str]],
        decoding: Decoding,
        *,
        grammar: str | None = None,
        stop: tuple[str, ...] = (),
    ) -> Answer:
        return self._answer(Generation(decoding, None, tuple(messages), grammar, stop))

    def _answer(self, request: Generation) -> Answer:
        raise NotImplementedError


class Client(Asks):
    """Asks one loaded model. Safe to use from several threads; `parallel` of them are answered at once."""

    def __init__(
        self,
        model: models.Model,
        engine: remote.Engine,
        *,
        parallel: int,
        context: int,
        can: dict[str, Any],
        start: str = "",
    ) -> None:
        self.model, self.parallel, self.context, self.can = model, parallel, context, can
        self._engine = engine
        self._start = start
        """The host's start that this client belongs to; empty for a foreign server."""

    def stream(
        self, prompt: str, decoding: Decoding, *, grammar: str | None = None, stop: tuple[str, ...] = ()
    ) -> Iterator[str]:
        """The answer's texts as they come. Closing the iterator ends the computation."""
        yield from self._texts(Generation(decoding, wire.clean(prompt), (), grammar, stop))

    def stream_chat(self, messages: list[dict[str, str]], decoding: Decoding) -> Iterator[str]:
        yield from self._texts(Generation(decoding, None, tuple(messages)))

    def pieces(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        """The stream with its counts. Setting `stop` ends it, also while the model still reads the prompt."""
        try:
            yield from self._engine.generate(request, stop)
        except UserError as error:
            raise self._explained(error) from error

    def count(self, text: str) -> int | None:
        """Tokens of a text; None where the server can't say."""
        try:
            return self._engine.count(wire.clean(text)) or None
        except UserError as error:
            if self._start:
                raise self._explained(error) from error
            return None

    def close(self) -> None:
        self._engine.unload()

    def _texts(self, request: Generation) -> Iterator[str]:
        for piece in self.pieces(request, threading.Event()):
            if piece.text:
                yield piece.text

    def _answer(self, request: Generation) -> Answer:
        began = time.monotonic()
        try:
            body = self._engine.answer(request)
            choice = body["choices"][0]
            text = choice["message"]["content"] if request.messages else choice["text"]
        except UserError as error:
            raise self._explained(error) from error
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(
                "The server {url} sent an answer without a text.",
                remedy="Check the address: it must be an OpenAI-compatible server's.",
                url=self.model.url or self.model.ref,
            ) from error
        finish = remote.reason(choice.get("finish_reason")) or "stop"
        if self._start and finish == "cancelled":  # nobody but the host's end cancels a whole answer
            raise self._gone()
        usage, ours = body.get("usage") or {}, body.get("knowlm") or {}
        return Answer(
            text or "",
            finish,
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            time.monotonic() - began,
            ours.get("first_token_seconds"),
            ours.get("seed"),
        )

    def _explained(self, error: UserError) -> UserError:
        """The error itself, or HostGone with the reason if our host is no longer the one we knew."""
        if not self._start or isinstance(error, PromptTooLong | HostGone):
            return error
        record = state.read()
        if record is not None and record.start == self._start and state.alive():
            # A process takes a moment to die once its connections are cut.
            broken = isinstance(error.__cause__, httpx.HTTPError)
            if not broken or not _dies_soon():
                return error
        return self._gone()

    def _gone(self) -> HostGone:
        record = state.read()
        if record is not None and record.start == self._start:
            why = state.why_it_died(record)
            return HostGone(why.problem, remedy=why.remedy, **why.values)
        if record is not None:
            return HostGone(
                "The model {model} was unloaded: {other} took its place.",
                remedy="Load it again.",
                model=self.model.title,
                other=record.title or record.ref,
            )
        return HostGone("The model {model} was unloaded.", remedy="Load it again.", model=self.model.title)


def _serves(now: HostStatus, ref: str, engine: str | None, options: Options | None) -> bool:
    """Whether it is loaded as asked. Without options, however it is loaded is well."""
    there = now.state in ("ready", "loading") and now.model == ref and engine in (None, now.engine)
    return there and (options is None or _loaded_so(options))


def _better_at_many(now: HostStatus, model: models.Model) -> bool:
    """Whether the model should be loaded anew for many texts."""
    record = state.read()
    chosen = record is not None and (record.options or record.purpose == "batch" or record.why_engine == WHY_BY_HAND)
    if now.state != "ready" or now.busy or chosen:
        return False
    return choose(model, purpose="batch")[0] != now.engine


def _loaded_so(options: Options) -> bool:
    record = state.read()
    had = record.options if record is not None else {}
    return all(had.get(name) == value for name, value in asdict(options).items() if value and name != "base")


def _adapted(now: HostStatus, model: models.Model, engine: str | None, options: Options) -> bool:
    """Whether the host has the model's base in memory, and now answers as the model. Raises what the host refuses."""
    record = state.read()
    if now.state != "ready" or record is None or not record.base or not _loaded_so(options):
        return False
    folder = adapters.base_folder(model, options)
    if folder is None or str(folder) != record.base or choose(model, engine, options)[0] != record.engine:
        return False
    try:
        answer = _asked(record, "POST", "/adapter", ADAPTER_PATIENCE, {"ref": model.ref, "base": options.base})
    except httpx.HTTPError:
        return False
    if answer.status_code != 200:
        told = answer.json() if "json" in answer.headers.get("content-type", "") else None
        raise wire.read_error(told) or UserError(
            "The adapter {model} could not be loaded.", remedy="Unload the model and load it anew.", model=model.title
        )
    return True


def _start(ref: str, engine: str | None, options: Options, idle: float | None, purpose: Purpose) -> None:
    """Start a host and wait until its record is there. Call with the starting lock held."""
    start = secrets.token_hex(8)
    words = [sys.executable, "-m", "core.inference.host", ref, "--start", start, "--purpose", purpose]
    words += ["--engine", engine] if engine else []
    words += [word for name, value in asdict(options).items() if value for word in (f"--{name}", str(value))]
    seconds = idle if idle is not None else os.environ.get(IDLE_VARIABLE)
    words += ["--idle", str(seconds)] if seconds is not None else []
    # without the job's mark: the host outlives a job that started it, also one that is cancelled
    inherited = {name: value for name, value in os.environ.items() if name != paths.JOB_VARIABLE}
    handle = os.open(state.log_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as log:
        child = subprocess.Popen(
            words,
            cwd=paths.PROJECT,
            env=inherited | models.OFFLINE | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    until = time.monotonic() + START_PATIENCE
    while time.monotonic() < until:
        record = state.read()
        if record is not None and record.start == start:
            return
        if child.poll() is not None:
            break
        time.sleep(0.02)
    raise UserError(
        "The model's process did not start: {why}",
        remedy="The log {log} says more.",
        why=next(iter(state.log_tail(1)), "no reason given"),
        log=state.log_file(),
    )


def _stop() -> None:
    """End the host that runs, if one does, and forget it. Call with the starting lock held."""
    record = state.read()
    if record is not None and state.alive():
        _ask_to_end(record)
    if not _ends_within(STOP_PATIENCE) and record is not None:
        _end(record.pid, kill=True)
        _ends_within(STOP_PATIENCE)
    state.clear()
    _reap()


def _ask_to_end(record: state.Record) -> None:
    try:
        if record.address:
            _ask(record, "POST", "/shutdown", timeout=2)
            return
    except httpx.HTTPError:
        pass
    _end(record.pid, kill=False)


def _end(pid: int, *, kill: bool) -> None:
    import psutil

    try:
        process = psutil.Process(pid)
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        pass


def _ends_within(seconds: float) -> bool:
    until = time.monotonic() + seconds
    while state.alive():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _until_ready(ref: str) -> HostStatus:
    while True:
        now = status()
        if now.state == "died" and now.model == ref and now.error is not None:
            raise now.error
        if (now.model != ref and ref not in now.answers) or now.state == "empty":
            raise HostGone("The model {model} was unloaded.", remedy="Load it again.", model=ref)
        if now.state == "ready":
            return now
        time.sleep(0.05)


def _dies_soon() -> bool:
    return _ends_within(1.0)


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _ask(record: state.Record, method: str, path: str, timeout: float) -> dict[str, Any]:
    answer = _asked(record, method, path, timeout)
    answer.raise_for_status()
    return answer.json()


def _asked(
    record: state.Record, method: str, path: str, timeout: float, body: dict[str, Any] | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {state.token()}"}
    with httpx.Client(trust_env=False, timeout=timeout, headers=headers) as http:
        return http.request(method, record.address + path, json=body)


def _capabilities(can: dict[str, Any]) -> Capabilities:
    names = Capabilities.__dataclass_fields__
    return Capabilities(**{name: value for name, value in can.items() if name in names})
