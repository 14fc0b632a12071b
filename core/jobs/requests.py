"""A Request on disk: written when a job is submitted, read again by its worker and by a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core import operation
from core.errors import UserError
from core.jobs import files
from core.operation import Operation, Request


def write(folder: Path, made: Operation, request: Request) -> None:
    """Relative paths in a request count from the folder where the person stood, so that is kept too."""
    content = {
        "operation": made.key,
        "request": request.model_dump(mode="json"),
        "created": time.time(),
        "cwd": str(Path.cwd()),
    }
    files.write(folder / files.REQUEST, content)


def read(folder: Path) -> tuple[Operation, Any]:
    """The operation and its request. Raises UserError if this program has no such operation or fields any more."""
    content = files.read(folder / files.REQUEST) or {}
    made = operation.find(str(content.get("operation", "")))
    try:
        # A request is read as what it was written as: JSON.
        return made, made.request.model_validate(content.get("request"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(
            "The request of this job no longer fits “{key}”: {field}: {reason}",
            remedy="Start a new job; this one was made by another version of the program.",
            key=made.key,
            field=".".join(map(str, first["loc"])) or "–",
            reason=first["msg"],
        ) from error


def cwd(folder: Path) -> Path:
    """The folder that relative paths of the request count from."""
    return Path((files.read(folder / files.REQUEST) or {}).get("cwd") or ".")
