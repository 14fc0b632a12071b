"""Reading what a server sends: its answers, whole or as events, and its refusals, in words."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx

from core.errors import UserError
from core.inference import wire
from core.inference.engine import Finish, Piece

KEY_VARIABLE = "KNOWLM_API_KEY"
LARGEST = 64 << 20
LARGEST_LINE = 4 << 20
"""Bytes of an answer, and of a line of a stream, that are read before it is given up as nonsense."""
LARGEST_ERROR = 65_536


class Lost(Exception):
    """An attempt that failed for no fault of the request, so that it may be made again.

    `asked`: seconds that the server asks to wait. `blamed`: whether the server should be left out for a while.
    `here`: whether the same server may be asked again; a hanging one may not.
    """

    def __init__(self, error: UserError, *, asked: float | None = None, blamed: bool = True, here: bool = True) -> None:
        super().__init__(error)
        self.error, self.asked, self.blamed, self.here = error, asked, blamed, here


def unreachable(url: str, error: Exception) -> UserError:
    return UserError(
        "The server {url} does not answer: {why}",
        remedy="Check the address and that the server runs, then try again.",
        url=url,
        why=str(error) or type(error).__name__,
    )


def broken_off(url: str, error: Exception) -> UserError:
    return UserError(
        "The server {url} broke off in the middle of an answer: {why}",
        remedy="Try again; if it happens again, look into the server's log.",
        url=url,
        why=str(error) or type(error).__name__,
    )


def check(response: httpx.Response, url: str) -> None:
    """Raise what the server refuses with, as well as it can be told: Lost where it may pass."""
    status = response.status_code
    if status == 200:
        return
    if 300 <= status < 400:
        raise UserError(
            "The server {url} does not answer itself but sends to {place} ({status}).",
            remedy="If that is the right address, use it instead. It was not followed: the key is for {url} alone.",
            url=url,
            status=status,
            place=response.headers.get("location", "?").split("?")[0][:200],
        )
    error = _refusal(response, url)
    # a 500 that is told in JSON is the server's own verdict on this request; asked again, it would say the same
    told = status == 500 and "json" in response.headers.get("content-type", "")
    if status in (408, 425, 429) or (status >= 500 and status != 501 and not told):
        raise Lost(error, asked=asked_to_wait(response.headers), blamed=status != 500)
    raise error


def _refusal(response: httpx.Response, url: str) -> UserError:
    status = response.status_code
    text = _limited(response, LARGEST_ERROR).decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    ours = wire.read_error(body)
    if ours is not None and status != 401:
        return ours
    if status in (401, 403):
        return UserError(
            "The server {url} refuses the key ({status}).",
            remedy="Set the environment variable that Settings names for this address, or {variable}.",
            url=url,
            status=status,
            variable=KEY_VARIABLE,
        )
    return UserError(
        "The server {url} answered with the error {status}: {why}",
        remedy="Check the address, the model's name and the settings; the server's log says more.",
        url=url,
        status=status,
        why=message(body) or response.reason_phrase or "no reason given",
    )


def asked_to_wait(headers: httpx.Headers) -> float | None:
    """Seconds that a server asks to wait: Retry-After as seconds or a date, or retry-after-ms."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) / unit)
        except (KeyError, ValueError):
            continue
    try:
        until = email.utils.parsedate_to_datetime(headers["retry-after"])
        return max(0.0, until.timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


def message(body: Any) -> str:
    """The reason in a foreign error's body; "" where there is none."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error", body.get("detail", body.get("message", "")))
    return str(error.get("message", error) if isinstance(error, dict) else error)[:500]


def read_json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(_limited(response, LARGEST + 1))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise not_an_answer(str(response.url))
    return body


def not_an_answer(url: str) -> UserError:
    return UserError(
        "What {url} sent is not an answer of an OpenAI-compatible server.",
        remedy="Check the address: it usually ends in /v1.",
        url=url,
    )


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The data of a stream's events, an empty one for each sign of life.

    Raises UserError for what is no event, httpx.HTTPError if the stream ends before its last one.
    """
    if "text/event-stream" not in response.headers.get("content-type", ""):
        raise not_an_answer(str(response.url))
    finished = False
    for line in _lines(response):
        if line.startswith(b":"):
            yield {}
        name, _, data = line.partition(b":")
        if name not in (b"data", b"error"):  # llama.cpp named errors so until 2025
            continue
        if data.strip() == b"[DONE]":
            return
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise not_an_answer(str(response.url))
        finished = finished or bool(_choice(body).get("finish_reason"))
        yield body if name == b"data" else {"error": body}
    if not finished:  # some servers send no [DONE], but none leaves out why an answer ends
        raise httpx.RemoteProtocolError("the stream ended without its last event")


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """Lines as event streams mean them: httpx's own also end at U+2028 and the like, which JSON may hold."""
    rest = b""
    for part in response.iter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > LARGEST_LINE:
            raise not_an_answer(str(response.url))
        yield from (line.removesuffix(b"\r") for line in lines)
    if rest:
        yield rest


def _limited(response: httpx.Response, limit: int) -> bytes:
    content = bytearray()
    for part in response.iter_bytes():
        content += part
        if len(content) >= limit:
            break
    return bytes(content[:limit])


def pieces(response: httpx.Response, stop: threading.Event, seed: int | None) -> Iterator[Piece]:
    """A stream as pieces. `seed`: the one that was sent, if it is known to be used."""
    url = str(response.url)
    finish: Finish | None = None
    usage: dict[str, Any] = {}
    texts = 0
    for body in _events(response):
        if stop.is_set():
            yield Piece(finish="cancelled", tokens=texts, seed=seed)
            return
        if body.get("error"):
            raise wire.read_error(body) or _foreign(body)
        usage = _object(body.get("usage")) or usage
        seed = _object(body.get("knowlm")).get("seed", seed)
        choice = _choice(body)
        text = choice.get("text") or _object(choice.get("delta")).get("content") or ""
        if not isinstance(text, str):
            raise not_an_answer(url)
        texts += bool(text)
        finish = reason(choice.get("finish_reason")) or finish
        yield Piece(text)
    yield Piece(
        "", finish or "stop", number(usage.get("prompt_tokens")), number(usage.get("completion_tokens")) or texts, seed
    )


def number(given: Any) -> int:
    """A count, where it is one; else 0."""
    return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else 0


def _choice(body: dict[str, Any]) -> dict[str, Any]:
    choices = body.get("choices")
    return _object(choices[0]) if isinstance(choices, list) and choices else {}


def _object(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def reason(given: Any) -> Finish | None:
    """A server's finish_reason as ours."""
    if given is None:
        return None
    return given if given in ("length", "cancelled") else "stop"


def _foreign(body: dict[str, Any]) -> UserError:
    return UserError(
        "The engine refused the request: {why}",
        remedy="Change the request and try again.",
        why=message(body) or "no reason given",
    )
