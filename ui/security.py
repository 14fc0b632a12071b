"""Who may talk to the app, and what its pages may load: two plain ASGI layers around Streamlit."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import settings
from core.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OnlyOurHosts:
    """Refuses, on HTTP and websockets alike, what comes for another host or from another site's page.

    A name that resolves to 127.0.0.1 (DNS rebinding) is refused by its Host header. A page of
    another origin, one on another port of this machine included, is refused by its Origin header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or allowed(Headers(scope=scope)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before accept: the server answers 403
        else:
            body = b"Refused: this app answers only to this machine. Further host names are added on its Settings page."
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": body})


class SecurityHeaders:
    """Adds the headers that keep the pages to themselves; a response's own policy is left as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", page_policy())
                headers["x-content-type-options"] = "nosniff"
                headers["x-frame-options"] = "SAMEORIGIN"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-resource-policy"] = "same-origin"
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def allowed(headers: Headers) -> bool:
    """Whether a request's Host is ours and its Origin, if it has one, is that same host and port."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _hostname(hosts[0]) not in our_hosts():
        return False
    return all(urlsplit(origin).netloc.lower() == hosts[0].lower() for origin in headers.getlist("origin"))


def our_hosts() -> frozenset[str]:
    """Loopback's names and those that the person added. Read at each request: a change needs no restart."""
    try:
        more = settings.read().hosts
    except UserError:
        more = ()
    return frozenset([*LOOPBACK, *(host.lower() for host in more)])


@cache
def page_policy() -> str:
    """Content-Security-Policy of Streamlit's pages: nothing from elsewhere, no eval, no inline script but its own."""
    scripts = " ".join(f"'sha256-{digest}'" for digest in _inline_scripts())
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' blob: {scripts}",  # blob: custom components are loaded as modules from memory
            "style-src 'self' 'unsafe-inline' blob:",  # Streamlit styles its widgets at run time
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' data: blob:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "frame-src 'self'",
            "frame-ancestors 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
        )
    )


def _inline_scripts() -> list[str]:
    """Hashes of the scripts that stand inside the installed Streamlit's index.html."""
    import streamlit

    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    bodies = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    return [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]


def _hostname(host: str) -> str | None:
    """`[::1]:8501` → `::1`; None where it is no plain host and port."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return (parts.hostname or "").rstrip(".")
