"""One file from its address to its final name, through whatever the network does."""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
from pathlib import Path
from typing import Protocol

from core.errors import UserError
from core.weights.part import Part
from core.weights.sources import RemoteFile
from core.weights.web import Interrupted, Stopped, Web, network_errors


class Moved(Protocol):
    def __call__(self, count: int, *, received: bool = False) -> None:
        """A file's progress grew by so many bytes (it starts over where negative); `received` from the network."""


_BLOCK = 1 << 20
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def fetch(web: Web, url: str, target: Path, file: RemoteFile, moved: Moved) -> str:
    """Its sha256, once it lies whole under `target`. A part left behind is gone on with.

    Raises Stopped and leaves the part; UserError when patience ends or what came is not the file;
    Refused when the server will not give it.
    """
    try:
        part = Part(target, file, web.stop)
    except OSError as error:
        raise _disk(error, target) from error
    moved(part.offset)
    try:
        resumed = part.offset > 0
        while True:
            _receive(web, url, part, file, moved)
            sha256 = part.finish()
            if _is_the_file(part, file, sha256):
                part.publish()
                return sha256
            if not resumed:
                part.restart()  # nothing of it may be gone on from
                raise _damaged(file)
            # what an earlier process left may be at fault: once more, from the first byte
            resumed = False
            moved(-part.offset)
            part.restart()
    except OSError as error:
        raise _disk(error, target) from error
    finally:
        part.close()


def _receive(web: Web, url: str, part: Part, file: RemoteFile, moved: Moved) -> None:
    """Append until the file is complete; a connection that brings bytes costs no patience."""
    failures = 0
    while file.size is None or part.offset < file.size or not part.offset:
        before = part.offset
        try:
            if _one_connection(web, url, part, file, moved):
                return
            interruption = Interrupted("the connection was cut")
        except Interrupted as caught:
            interruption = caught
        failures = 1 if part.offset > before else failures + 1
        if failures >= web.patience.tries:
            raise UserError(
                "{file} does not come through: {why}",
                remedy="Try again later, or from another source: what came so far is kept.",
                file=file.name,
                why=interruption,
            )
        web.pause(failures, interruption.wait)


def _one_connection(web: Web, url: str, part: Part, file: RemoteFile, moved: Moved) -> bool:
    """Take what one answer brings; whether that completes the file."""
    headers = {"Range": f"bytes={part.offset}-"} if part.offset else {}
    if part.offset and part.etag:
        headers["If-Range"] = part.etag
    with web.get(url, headers) as answer:
        etag = _strong(answer.headers.get("ETag"))
        if (
            answer.status == 416
            and file.size is None
            and answer.headers.get("Content-Range") == f"bytes */{part.offset}"
        ):
            return True
        if part.offset and not _continues(answer, part, etag, file):
            moved(-part.offset)
            part.restart()
            if answer.status != 200:
                raise Interrupted("the server went on with another version of the file")
        _check_length(answer, part, file)
        if not part.offset:
            if answer.status != 200:
                raise Interrupted(f"HTTP {answer.status}")
            part.begin(etag)
        return _take(web, answer, part, file, moved)


def _continues(answer: http.client.HTTPResponse, part: Part, etag: str | None, file: RemoteFile) -> bool:
    """Whether an answer goes on exactly where the part ends, in the same version of the file."""
    span = _RANGE.fullmatch(answer.headers.get("Content-Range") or "")
    if answer.status != 206 or span is None or int(span[1]) != part.offset:
        return False
    if part.etag and etag and etag != part.etag:
        return False
    return file.size is None or span[3] in ("*", str(file.size))


def _check_length(answer: http.client.HTTPResponse, part: Part, file: RemoteFile) -> None:
    """Raises Interrupted where the announced length can't be right; the hash decides in the end."""
    announced = answer.headers.get("Content-Length")
    if announced is None or file.size is None:
        return
    if part.offset + int(announced) > file.size:
        raise Interrupted(f"the server announces {announced} bytes, the listing says {file.size}")


def _take(web: Web, answer: http.client.HTTPResponse, part: Part, file: RemoteFile, moved: Moved) -> bool:
    announced = answer.length
    received = 0
    while file.size is None or part.offset < file.size or not file.size:
        if web.stop.is_set():
            raise Stopped
        limit = _BLOCK if file.size is None else min(_BLOCK, file.size - part.offset)
        with network_errors():
            block = answer.read1(limit) if limit else b""
        if not block:
            break
        part.append(block)
        received += len(block)
        moved(len(block), received=True)
    if file.size is not None:
        return part.offset == file.size
    return announced is None or received == announced


def _is_the_file(part: Part, file: RemoteFile, sha256: str) -> bool:
    if file.sha256:
        return sha256 == file.sha256.lower()
    return not file.git_sha1 or git_sha1(part.path) == file.git_sha1


def git_sha1(path: Path) -> str:
    """What git calls a file's content; only small files have no sha256, so it is read whole in blocks."""
    made = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            made.update(block)
    return made.hexdigest()


def _strong(etag: str | None) -> str | None:
    """Only a strong ETag promises the same bytes (RFC 9110)."""
    return etag if etag and not etag.startswith("W/") else None


def _damaged(file: RemoteFile) -> UserError:
    return UserError(
        "{file} came, but is not what the source's own listing promises: its hash differs.",
        remedy="Try again, or choose another source: this one, or something on the way, changes the file.",
        file=file.name,
    )


def _disk(error: OSError, target: Path) -> UserError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return UserError(
        "The disk is full: {path} can't be written." if full else "{path} can't be written: {why}",
        remedy="Free some space and start again: what came so far is kept."
        if full
        else "Check the folder's permissions and the disk, then start again: what came so far is kept.",
        path=target,
        why=error.strerror or error,
    )
