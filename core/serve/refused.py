"""What a caller is refused with: a UserError that knows its HTTP status."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from core.errors import UserError
from core.inference import wire

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refused(UserError):
    def __init__(
        self, problem: str, *, remedy: str, http: int, code: str, retry_after: int | None = None, **values: object
    ) -> None:
        super().__init__(problem, remedy=remedy, **values)
        self.http, self.code, self.retry_after = http, code, retry_after

    @classmethod
    def of(cls, error: UserError, *, http: int, code: str) -> Refused:
        made = cls(error.problem, remedy=error.remedy, http=http, code=code)
        made.values = error.values
        return made


def response(error: UserError) -> JSONResponse:
    """The answer that says it, in the shape that OpenAI's libraries and our own client read."""
    http, code, retry = 400, "invalid_request", None
    if isinstance(error, Refused):
        http, code, retry = error.http, error.code, error.retry_after
    headers = {} if retry is None else {"retry-after": str(retry)}
    if http == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body(error, code, http), http, headers=headers)


def body(error: UserError, code: str = "invalid_request", http: int = 400) -> dict[str, Any]:
    made = wire.error_body(error, code)
    kind = _TYPES.get(http, "server_error" if http >= 500 else "invalid_request_error")
    made["error"]["type"] = kind
    if isinstance(error, Refused):  # our client need not know this class
        made["error"]["knowlm"]["kind"] = UserError.__name__
    return made


def internal() -> Refused:
    """For whoever asked; the owner finds the reason in the server's own output."""
    return Refused(
        "The server failed at this request.",
        remedy="Try again; if it happens again, tell whoever runs it.",
        http=500,
        code="server_error",
    )
