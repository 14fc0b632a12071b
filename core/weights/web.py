"""HTTP GET with patience, for large files: resumable by its caller, careful with the token.

The standard library's client, since it reads into large blocks: a hub's shards arrive as fast as curl
gets them. Proxies and certificates are those of the environment.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from core import settings
from core.errors import UserError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_REDIRECTS = 6
_JSON_LIMIT = 64 << 20
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How often a request is tried while nothing comes (seconds between, doubling), and how long a silence may be."""

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0
    silence: float = 30.0


class Stopped(Exception):
    """The person cancelled, or another file failed."""


class Interrupted(Exception):
    """Worth another try: a cut or silent connection, a busy server. `wait`: seconds it asked for."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class Refused(Exception):
    """An answer that another try will not change."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.code = code
        """The hub's own word for it: GatedRepo, RepoNotFound, RevisionNotFound, EntryNotFound."""


def refuse_offline() -> None:
    """Raise UserError where the person, or `HF_HUB_OFFLINE`, forbids downloads."""
    if settings.read().offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UserError(
            "Offline mode is on: nothing is downloaded.",
            remedy="Switch it off in Settings (or unset HF_HUB_OFFLINE), or copy the model's files into a folder.",
        )


class Web:
    """Requests to one endpoint and to where it redirects."""

    def __init__(self, endpoint: str, token: str | None, patience: Patience, stop: threading.Event) -> None:
        self.home = _origin(endpoint)
        self.patience = patience
        self.stop = stop
        # over plain HTTP only to this machine itself
        safe = self.home[0] == "https" or self.home[1] in LOOPBACK
        self._token = token if safe else None

    @cached_property
    def _plain(self) -> OpenerDirector:
        return _opener(HTTPHandler())

    @cached_property
    def _encrypted(self) -> OpenerDirector:
        return _opener(HTTPSHandler(context=_certificates()))

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def get(self, url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """One try; the caller closes the answer (200 or 206). Raises Interrupted, Refused, UserError."""
        for _ in range(_REDIRECTS):
            answer = self._once(url, headers or {})
            if answer.status in (301, 302, 303, 307, 308) and (target := answer.headers.get("Location")):
                answer.close()
                url = self._allowed(urljoin(url, target))
                continue
            if answer.status in (200, 206, 416):
                return answer
            answer.close()
            if answer.status in _TEMPORARY:
                raise Interrupted(f"HTTP {answer.status}", _retry_after(answer.headers.get("Retry-After")))
            raise Refused(answer.status, answer.headers.get("X-Error-Code") or "")
        raise UserError(
            "{host} redirects in circles.",
            remedy="Choose another source, or try again later.",
            host=urlsplit(url).hostname,
        )

    def json(self, url: str) -> Any:
        """A JSON document of at most 64 MiB, tried again while the server is busy or cut off."""

        def once() -> Any:
            with self.get(url) as answer, network_errors():
                return json.loads(answer.read(_JSON_LIMIT))

        try:
            return self.patiently(once)
        except ValueError as error:
            raise UserError(
                "{host} did not answer with a list of files.",
                remedy="Check the endpoint: it has to be the address of a hub, without a path.",
                host=urlsplit(url).netloc,
            ) from error

    def patiently(self, once: Callable[[], Any]) -> Any:
        """Call until it is not interrupted, at most `patience.tries` times. Raises the last Interrupted."""
        for number in range(1, self.patience.tries + 1):
            try:
                return once()
            except Interrupted as interruption:
                if number == self.patience.tries:
                    raise
                self.pause(number, interruption.wait)
        return None

    def pause(self, number: int, asked: float | None) -> None:
        """Wait after the `number`th failure in a row; as long as the server asked, within reason. Raises Stopped."""
        wait = min(self.patience.first * 2 ** (number - 1), self.patience.longest)
        if asked is not None:
            wait = min(max(asked, wait), 10 * self.patience.longest)
        if self.stop.wait(wait):
            raise Stopped

    def _once(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        request = Request(  # noqa: S310 — _allowed takes http and https only
            self._allowed(url), headers={"User-Agent": "knowlm-studio", "Accept-Encoding": "identity", **headers}
        )
        if self._token and _origin(url) == self.home:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        opener = self._encrypted if request.type == "https" else self._plain
        with network_errors():
            return opener.open(request, timeout=self.patience.silence)

    def _allowed(self, url: str) -> str:
        """Only HTTP, and never from encrypted to plain."""
        scheme = urlsplit(url).scheme
        if scheme not in ("http", "https") or (self.home[0] == "https" and scheme == "http"):
            raise UserError(
                "{host} sends us on to {scheme}://, which is not safe.",
                remedy="Choose another source or endpoint.",
                host=self.home[1],
                scheme=scheme,
            )
        return url


class network_errors:
    """Turns what a network does into Interrupted; a certificate nobody trusts into a UserError."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        reason = getattr(error, "reason", error)  # URLError wraps the real one
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise UserError(
                "The server's certificate is not trusted: {why}",
                remedy="Behind a company's proxy, set SSL_CERT_FILE to its certificates.",
                why=reason.verify_message,
            ) from error
        if isinstance(error, OSError | http.client.HTTPException):
            raise Interrupted(str(reason) or type(reason).__name__) from error


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _opener(handler: BaseHandler) -> OpenerDirector:
    """Nothing but this handler and the environment's proxies: no redirects, no other schemes."""
    made = OpenerDirector()
    made.add_handler(ProxyHandler())
    made.add_handler(handler)
    return made


def _certificates() -> ssl.SSLContext:
    """The system's and `SSL_CERT_FILE`'s, and certifi's where a system has none to show."""
    context = ssl.create_default_context()
    try:
        import certifi

        context.load_verify_locations(certifi.where())
    except (ImportError, OSError):
        pass
    return context


def _retry_after(value: str | None) -> float | None:
    """Seconds, from seconds or a date (RFC 9110)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
