"""Who is let in to the shared page and to which of Gradio's addresses; all others don't exist here.

Gradio's own `auth` leaves its MCP server open, so visitors are known here and told to Gradio by `auth_dependency`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import UserError
from core.serve import tokens
from core.serve.guard import WHO, Guard, Hosts
from core.serve.refused import Refused, response
from ui.sharing.login import login_page
from ui.sharing.visitors import Checker, Sealed, Visitor

COOKIE = "knowlm-share"
SESSION_SECONDS = 7 * 86_400
MOST_SESSIONS = 10_000
MCP = "/gradio_api/mcp"
ADDRESSES = re.compile(
    r"/|/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt)/?|/(static|assets|svelte)/.+"
    r"|/gradio_api/((info|openapi\.json|app_id|theme\.css|queue/join|queue/data|cancel|reset)/?"
    r"|heartbeat/\w[\w-]*|call/(v2/)?\w+(/\w+)?|run/\w+|mcp/?|mcp/schema)"
)
"""No uploads, files, proxies, streams, monitoring or development routes."""
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' blob:",  # Gradio's page starts with scripts inside it
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-ancestors 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)


class Door(Guard):
    """`needed` holds for the page's whole life, whatever happens to tokens and the password meanwhile."""

    def __init__(
        self, app: ASGIApp, hosts: Hosts, *, needed: bool, largest: int, checker: Checker, log: Callable[[str], None]
    ) -> None:
        super().__init__(app, hosts, needed, largest, log)
        self._needed, self._checker = needed, checker
        self.sealed = Sealed()
        self.show_login: Callable[[str, str], str] = login_page
        self._sessions: dict[str, tuple[float, Visitor]] = {}

    def answer_to(self, host: str) -> None:
        """One more host name: a tunnel's, known only once it stands."""
        self._hosts = Hosts(self._hosts.bound, (*self._hosts.allowed, host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, _with_headers(send))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            self._check(Headers(scope=scope))
            if scope["method"] not in ("GET", "HEAD") and "content-length" not in request.headers:
                raise Refused("The request does not say its length.", remedy="Send it with its length.",
                              http=411, code="length_required")  # fmt: skip
            if scope["path"].rstrip("/") in ("/login", "/logout"):
                await (await self._session(request))(scope, receive, send)
                return
            visitor = await self._visitor(request)
            if visitor is None:
                await self._unknown(request)(scope, receive, send)
                return
            if not ADDRESSES.fullmatch(scope["path"]):
                raise Refused(
                    "There is nothing here.", remedy="The page is at /, its API at /gradio_api.", http=404, code="none"
                )
        except UserError as error:
            await response(error)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        await self._app(self._marked(scope, visitor), receive, send)

    def _marked(self, scope: Scope, visitor: Visitor) -> Scope:
        headers = [(name, value) for name, value in scope["headers"] if name not in (Sealed.HEADER, Sealed.OWN)]
        if scope["path"].startswith(MCP):
            headers.append((Sealed.HEADER, self.sealed.write(visitor).encode()))
        return {**scope, "headers": headers, WHO: visitor}

    async def _visitor(self, request: Request) -> Visitor | None:
        """Who asks; None for a stranger where strangers are not let in. Raises Refused for one who guesses."""
        for name in (Sealed.HEADER, Sealed.OWN):
            sealed = request.headers.get(name.decode())
            if sealed and (visitor := self.sealed.read(sealed)):
                return visitor
        address = request.client.host if request.client else "?"
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if given and kind.lower() in ("bearer", "basic"):
            secret = given.strip() if kind.lower() == "bearer" else _basic(given)
            found = await asyncio.to_thread(self._checker.visitor, address, secret)
            return found if found or self._needed else Visitor(address)
        found = self._of_session(request)
        if found is not None and await asyncio.to_thread(_still_valid, found):
            return found
        return None if self._needed else Visitor(address)

    def _of_session(self, request: Request) -> Visitor | None:
        until, visitor = self._sessions.get(_digest(_cookie(request)), (0.0, None))
        return visitor if until > time.time() else None

    async def _session(self, request: Request) -> Response:
        if "logout" in request.url.path:
            self._sessions.pop(_digest(_cookie(request)), None)
            return _gone()
        if request.method != "POST":
            return RedirectResponse("/", 303)
        form = parse_qs((await _short_body(request)).decode("utf-8", "replace"), keep_blank_values=True)
        address = request.client.host if request.client else "?"
        visitor = await asyncio.to_thread(self._checker.visitor, address, form.get("password", [""])[0])
        if visitor is None:
            self._log(f"{address}: a wrong password")
            return self._unknown(request, wrong=True)
        answer: Response = RedirectResponse("/", 303) if _is_browser(request) else JSONResponse({"success": True})
        answer.set_cookie(COOKIE, self._begin(visitor), max_age=SESSION_SECONDS, httponly=True, samesite="lax")
        return answer

    def _begin(self, visitor: Visitor) -> str:
        now = time.time()
        self._sessions = {key: session for key, session in self._sessions.items() if session[0] > now}
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        secret = secrets.token_urlsafe(32)
        self._sessions[_digest(secret)] = (now + SESSION_SECONDS, visitor)
        return secret

    def _unknown(self, request: Request, *, wrong: bool = False) -> Response:
        if _is_browser(request):
            page = self.show_login(request.headers.get("accept-language", ""), "wrong" if wrong else "")
            return Response(page, 401, media_type="text/html")
        return response(
            Refused(
                "The password is missing or wrong.",
                remedy="Send it, or a token: Authorization: Bearer PASSWORD.",
                http=401,
                code="invalid_api_key",
            )
        )


def _still_valid(visitor: Visitor) -> bool:
    return not visitor.token_id or any(token.id == visitor.token_id for token in tokens.every())


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _cookie(request: Request) -> str:
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _basic(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


async def _short_body(request: Request, most: int = 4096) -> bytes:
    if int(request.headers["content-length"]) > most:
        raise Refused("The request is too large.", remedy="Send only the password.", http=413, code="too_large")
    return await request.body()


def _gone() -> Response:
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["content-security-policy"] = POLICY
            headers["x-content-type-options"] = "nosniff"
            headers["x-frame-options"] = "SAMEORIGIN"
            headers["referrer-policy"] = "no-referrer"
            headers["x-robots-tag"] = "noindex"
        await send(message)

    return sent
