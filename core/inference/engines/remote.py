"""Any OpenAI-compatible server: our own host, vLLM, llama.cpp's server, a hosted one.

The app's clients use it for all of these, so there is one way to ask. What a foreign server can do
beyond OpenAI's fields is probed once and claimed only where it is known.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from core import settings
from core.errors import UserError
from core.inference import wire
from core.inference.engine import Capabilities, Finish, Generation, Loaded, Options, Piece, refuse_impossible
from core.models import Model

KEY_VARIABLE = "KNOWLM_API_KEY"
PARALLEL = 8
TRIES = 5
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LONGEST_WAIT = 30.0
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 300.0
"""A server that sends nothing for this long is given up."""


@dataclass(frozen=True)
class Dialect:
    """What a kind of server takes beyond OpenAI's own fields."""

    extra: tuple[str, ...] = ()
    """Decoding fields it takes under our names."""
    grammar: str = ""
    """Where a GBNF grammar goes: a field, or `outer.inner`; empty where it takes none."""
    go_on: dict[str, bool] = field(default_factory=dict)
    """What makes it go on with a last message of the assistant instead of answering it."""


_VLLM_GOES_ON = {"add_generation_prompt": False, "continue_final_message": True}
OPENAI = Dialect()
DIALECTS = {
    wire.SERVER: Dialect(("top_k", "repetition_penalty", "beams"), "grammar"),
    "llama.cpp": Dialect(("top_k",), "grammar"),
    "vllm": Dialect(("top_k", "repetition_penalty"), "structured_outputs.grammar", go_on=_VLLM_GOES_ON),
    "old vllm": Dialect(("top_k", "repetition_penalty"), "guided_grammar", go_on=_VLLM_GOES_ON),
}


class Engine:
    title: str = "This server"
    why: ClassVar[str] = "The model runs on another server; this machine only asks it."
    preference: ClassVar[int] = 30
    can: Capabilities = Capabilities(formats=("remote",), devices=("elsewhere",))

    def __init__(self, *, silence: float | None = SILENCE_SECONDS, tries: int = TRIES) -> None:
        self._silence = silence
        self._tries = tries
        self._http: httpx.Client | None = None
        self._base = ""
        self._name = ""
        self._dialect = OPENAI

    def load(self, model: Model, options: Options) -> Loaded:
        """Find out which models the server has and what kind it is."""
        local = urlsplit(model.url).hostname in LOOPBACK
        if settings.read().offline and not local:
            raise UserError(
                "{url} is not on this machine, and the app is set to work offline.",
                remedy="Switch “offline” off in Settings, or choose a model of this machine.",
                url=model.url,
            )
        self.open(model.url, settings.api_key(model.url) or os.environ.get(KEY_VARIABLE, ""))
        served = self._served(model.model_id)
        self._name = str(served["id"])
        kind = self._kind()
        self._dialect = DIALECTS.get(kind, OPENAI)
        grammar, beams, parallel = bool(self._dialect.grammar), False, PARALLEL
        if kind == wire.SERVER:
            health = self._quietly("/health")
            able = health.get("can") or {}
            grammar, beams = able.get("grammar") is True, able.get("beams") is True
            parallel = int(health.get("parallel") or 1)
        self.can = Capabilities(self.can.formats, self.can.devices, grammar=grammar, beams=beams)
        context = served.get("max_model_len") or (served.get("meta") or {}).get("n_ctx") or 0
        return Loaded(int(context), options.parallel or parallel, "elsewhere")

    def open(self, url: str, key: str, dialect: str = "", name: str = "") -> None:
        """Point at a server without asking it anything."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(self._silence, connect=CONNECT_SECONDS)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        local = urlsplit(url).hostname in LOOPBACK
        self._http = httpx.Client(headers=headers, timeout=timeout, limits=limits, trust_env=not local)
        self._base, self._name = url.rstrip("/"), name
        self._dialect = DIALECTS.get(dialect, OPENAI)

    def generate(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        refuse_impossible(self.title, self.can, request)
        path, body = self._body(request)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        with self._post(path, body, stop) as response:
            if response is None:
                yield Piece(finish="cancelled")
                return
            yield from _pieces(_events(response), stop)

    def answer(self, request: Generation) -> dict[str, Any]:
        """The whole answer at once, as the server wrote it: cheaper than a stream where nobody watches."""
        refuse_impossible(self.title, self.can, request)
        path, body = self._body(request)
        with self._post(path, body, threading.Event()) as response:
            if response is None:
                raise RuntimeError("nobody stops a whole answer")
            return _read_json(response)

    def count(self, text: str) -> int:
        return int(self._call("POST", f"{self._root()}/tokenize", json={"content": text}).get("count", 0))

    def unload(self) -> None:
        if self._http is not None:
            self._http.close()

    def _body(self, request: Generation) -> tuple[str, dict[str, Any]]:
        decoding = request.decoding
        body: dict[str, Any] = {
            "model": self._name,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens,
        }
        body |= {name: getattr(decoding, name) for name in self._dialect.extra}
        if body.get("top_k") == 0 and self._dialect is not DIALECTS[wire.SERVER]:
            del body["top_k"]
        if decoding.seed is not None:
            body["seed"] = decoding.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if not request.adapter:
            body["adapter"] = False
        if request.grammar is not None:
            outer, _, inner = self._dialect.grammar.partition(".")
            body[outer] = {inner: request.grammar} if inner else request.grammar
        if request.messages:
            body |= self._dialect.go_on if request.messages[-1]["role"] == "assistant" else {}
            return "/chat/completions", body | {"messages": list(request.messages)}
        return "/completions", body | {"prompt": request.prompt}

    @contextmanager
    def _post(self, path: str, body: dict[str, Any], stop: threading.Event) -> Iterator[httpx.Response | None]:
        """The response once its status is good, tried again while the server is busy; None if stopped before."""
        http = self._opened()
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        for attempt in range(self._tries):
            last = attempt + 1 == self._tries
            try:
                response = http.send(
                    http.build_request("POST", self._base + path, content=content, headers=headers), stream=True
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if last:
                    raise self._unreachable(error) from error
                wait = _pause(attempt)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error
            else:
                if response.status_code not in (429, 503) or last:
                    try:
                        _check(response, self._base)
                        yield response
                    except httpx.HTTPError as error:
                        raise self._broken_off(error) from error
                    finally:
                        response.close()
                    return
                wait = _pause(attempt, response.headers.get("retry-after"))
                response.close()
            if stop.wait(wait):
                break
        yield None

    def _served(self, wanted: str) -> dict[str, Any]:
        try:
            listed = self._call("GET", f"{self._base}/models").get("data")
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
            url=self._base,
            model=wanted,
            known=", ".join(str(row["id"]) for row in served[:10]) or "-",
        )

    def _kind(self) -> str:
        """The server's kind, from pages that only that kind has; "" for all others."""
        if self._quietly("/health").get("server") == wire.SERVER:
            return wire.SERVER
        if "default_generation_settings" in self._quietly("/props"):
            return "llama.cpp"
        version = re.match(r"0\.(\d+)", str(self._quietly("/version").get("version", "")))
        if version:
            return "vllm" if int(version[1]) >= 11 else "old vllm"
        return ""

    def _quietly(self, path: str) -> dict[str, Any]:
        try:
            return self._call("GET", self._root() + path)
        except UserError:
            return {}

    def _root(self) -> str:
        return self._base.removesuffix("/v1")

    def _call(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        try:
            with self._opened().stream(method, url, **options) as response:
                _check(response, self._base)
                return _read_json(response)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _opened(self) -> httpx.Client:
        if self._http is None:
            raise RuntimeError("no server is opened")
        return self._http

    def _unreachable(self, error: Exception) -> UserError:
        return UserError(
            "The server {url} does not answer: {why}",
            remedy="Check the address and that the server runs, then try again.",
            url=self._base,
            why=str(error) or type(error).__name__,
        )

    def _broken_off(self, error: Exception) -> UserError:
        return UserError(
            "The server {url} broke off in the middle of an answer: {why}",
            remedy="Try again; if it happens again, look into the server's log.",
            url=self._base,
            why=str(error) or type(error).__name__,
        )


def _pause(attempt: int, asked: str | None = None) -> float:
    """Seconds to wait: what the server asks for, else doubling, spread so that clients don't come back together."""
    if asked and asked.isdigit():
        return min(float(asked), LONGEST_WAIT)
    return min(0.5 * 2**attempt, LONGEST_WAIT) * random.uniform(0.75, 1.25)


def _check(response: httpx.Response, url: str) -> None:
    """Raise what the server refuses with, as well as it can be told."""
    status = response.status_code
    if status == 200:
        return
    text = response.read()[:65_536].decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    ours = wire.read_error(body)
    if ours is not None and status != 401:
        raise ours
    if status in (401, 403):
        raise UserError(
            "The server {url} refuses the key ({status}).",
            remedy="Set the environment variable that Settings names for this address, or {variable}.",
            url=url,
            status=status,
            variable=KEY_VARIABLE,
        )
    raise UserError(
        "The server {url} answered with the error {status}: {why}",
        remedy="Check the address, the model's name and the settings; the server's log says more.",
        url=url,
        status=status,
        why=_message(body) or "no reason given",
    )


def _message(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    error = body.get("error", body.get("detail", body.get("message", "")))
    return str(error.get("message", error) if isinstance(error, dict) else error)[:500]


def _read_json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(response.read())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise _not_an_answer(str(response.url))
    return body


def _not_an_answer(url: str) -> UserError:
    return UserError(
        "What {url} sent is not an answer of an OpenAI-compatible server.",
        remedy="Check the address: it usually ends in /v1.",
        url=url,
    )


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The data of a stream's events, an empty one for each sign of life. Raises UserError if it ends early."""
    if "text/event-stream" not in response.headers.get("content-type", ""):
        raise _not_an_answer(str(response.url))
    for line in response.iter_lines():
        if line.startswith(":"):
            yield {}
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise _not_an_answer(str(response.url))
        yield body
    raise httpx.RemoteProtocolError("the stream ended without its last event")


def _pieces(events: Iterator[dict[str, Any]], stop: threading.Event) -> Iterator[Piece]:
    finish: Finish | None = None
    usage: dict[str, Any] = {}
    seed, texts = None, 0
    for body in events:
        if stop.is_set():
            yield Piece(finish="cancelled", tokens=texts)
            return
        if "error" in body:
            raise wire.read_error(body) or _foreign(body)
        usage = body.get("usage") or usage
        seed = (body.get("knowlm") or {}).get("seed", seed)
        choice: dict[str, Any] = next(iter(body.get("choices") or []), {})
        text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        texts += bool(text)
        finish = reason(choice.get("finish_reason")) or finish
        yield Piece(text)
    prompt, tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or texts)
    yield Piece("", finish or "stop", prompt, tokens, seed)


def reason(given: Any) -> Finish | None:
    """A server's finish_reason as ours."""
    if given is None:
        return None
    return given if given in ("length", "cancelled") else "stop"


def _foreign(body: dict[str, Any]) -> UserError:
    return UserError(
        "The engine refused the request: {why}",
        remedy="Change the request and try again.",
        why=_message(body) or "no reason given",
    )
