"""Who is let in: requests for our host names, from no other site's page, with a token where one is needed."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import UserError
from core.serve import tokens
from core.serve.refused import Refused, response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/",)
"""What is shown to everybody: which model this is and its licence."""
WHO = "knowlm.who"
"""Where the scope holds the caller's token, or None."""


@dataclass(frozen=True)
class Hosts:
    """The names this server answers to. A name that was made to resolve to us (DNS rebinding) is not among them."""

    bound: str
    allowed: tuple[str, ...] = ()
    """Names a proxy in front is reached by."""

    @property
    def beyond_loopback(self) -> bool:
        return not is_loopback(self.bound) or bool(self.allowed)

    def answers(self, header: str) -> bool:
        name = _hostname(header)
        if name is None:
            return False
        if name in (*LOOPBACK, self.bound.lower(), *(host.lower() for host in self.allowed)):
            return True
        return not is_loopback(self.bound) and _is_address(name)  # an address can't be rebound


class Guard:
    """`needs_token` holds for the server's whole life: revoking the last token must not open the door."""

    def __init__(self, app: ASGIApp, hosts: Hosts, needs_token: bool, largest: int, log: Callable[[str], None]) -> None:
        self._app, self._hosts, self._needs_token, self._largest, self._log = app, hosts, needs_token, largest, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._check(Headers(scope=scope))
            scope[WHO] = await self._token(scope)
        except UserError as error:
            refusal = response(error)
            self._log(f"{_caller(scope)} {scope['method']} {scope['path']!r} {refusal.status_code}")
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.answers(hosts[0]):
            raise Refused(
                "The address {host} is not served here.",
                remedy="Whoever runs the server can add it with --allow-host.",
                host=", ".join(hosts)[:200],
                http=403,
                code="forbidden",
            )
        if any(urlsplit(origin).netloc.lower() != hosts[0].lower() for origin in headers.getlist("origin")):
            raise Refused(
                "Pages of other sites are not answered.",
                remedy="Ask from a program, not from a web page.",
                http=403,
                code="forbidden",
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._largest:
            raise too_large(self._largest)

    async def _token(self, scope: Scope) -> tokens.Token | None:
        if scope["path"] in OPEN_PATHS:
            return None
        given = Headers(scope=scope).get("authorization", "")
        kind, _, secret = given.partition(" ")
        if secret and kind.lower() == "bearer":
            found = await asyncio.to_thread(tokens.find, secret.strip())
            if found is not None:
                return found
        if self._needs_token or bool(await asyncio.to_thread(tokens.every)):
            raise Refused(
                "The token is missing or wrong.",
                remedy="Send a valid one: Authorization: Bearer TOKEN (in OpenAI's libraries, api_key).",
                http=401,
                code="invalid_api_key",
            )
        return None


def too_large(largest: int) -> Refused:
    return Refused(
        "The request is too large.",
        remedy="Send at most {limit} MB.",
        limit=f"{largest / (1 << 20):g}",
        http=413,
        code="too_large",
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _hostname(header: str) -> str | None:
    """`[::1]:8100` → `::1`; None where it is no plain host and port."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return (parts.hostname or "").rstrip(".") or None


def _caller(scope: Scope) -> str:
    return str((scope.get("client") or ("?",))[0])
