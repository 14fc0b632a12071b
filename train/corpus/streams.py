"""Files as blocks of bytes, plain or compressed (.gz, .zst), and blocks as lines; neither holds more than a little."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError

BLOCK = 1 << 20
_FED = 2048
"""Compressed bytes that zstd is fed at a time: even a bomb makes no more than some 64 MB of them."""
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class Line:
    """`raw` is None for one that is longer than is allowed; `size` counts its line break."""

    offset: int
    size: int
    raw: bytes | None
    cut: bool = False
    """Whether the file broke off in it."""


class BrokenOff(Exception):
    """A file that can't be read on from here; what came before holds."""

    def __init__(self, why: UserError) -> None:
        super().__init__(str(why))
        self.why = why


def compression(path: Path) -> str:
    """gzip, zstd, or "" for a plain file, by the name's ending."""
    return COMPRESSED.get(path.suffix.lower(), "")


def blocks(path: Path, start: int = 0) -> Iterator[bytes]:
    """The file's content from byte `start` on; of compressed files all of it. Raises BrokenOff where it is damaged."""
    kind = compression(path)
    if kind == "gzip":
        return _gunzipped(path)
    if kind == "zstd":
        return _unzstd(path)
    return _plain(path, start)


def _plain(path: Path, start: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise BrokenOff(unreadable(path, error)) from error


def _gunzipped(path: Path) -> Iterator[bytes]:
    seen = 0
    try:
        with gzip.open(path, "rb") as file:
            # read1: what was unpacked before the damage is handed out first
            while block := file.read1(BLOCK):  # type: ignore[attr-defined]
                seen += len(block)
                yield block
    except (EOFError, zlib.error, OSError) as error:
        raise BrokenOff(_damaged(path, seen, error)) from error


def _unzstd(path: Path) -> Iterator[bytes]:
    """Frame by frame with our own eye on their ends: the library's reader takes a cut-off frame for the end."""
    import zstandard

    seen, whole, held, size = 0, True, [], 0
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    frame = unpacker.decompressobj()
    try:
        with path.open("rb") as file:
            while fed := file.read(_FED):
                while fed:
                    whole = False
                    piece = frame.decompress(fed)
                    fed = b""
                    if frame.eof:
                        fed, whole, frame = frame.unused_data, True, unpacker.decompressobj()
                    if piece:
                        held.append(piece)
                        size += len(piece)
                    if size >= BLOCK:
                        seen += size
                        yield b"".join(held)
                        held, size = [], 0
        broken: Exception | None = None if whole else EOFError("the last frame is cut off")
    except (zstandard.ZstdError, OSError) as error:
        broken = error
    if held:
        seen += size
        yield b"".join(held)
    if broken is not None:
        raise BrokenOff(_damaged(path, seen, broken)) from broken


def lines(source: Iterable[bytes], limit: int, at: int = 0) -> Iterator[Line]:
    """Lines of at most `limit` bytes; a longer one comes without its bytes, which were never held. `at`: the first's
    offset. Where the source breaks off, the piece of a line before that comes as a line, then BrokenOff goes on.
    """
    held, skipped, broken = b"", 0, None
    try:
        for block in source:
            if skipped:
                end = block.find(b"\n")
                if end < 0:
                    skipped += len(block)
                    continue
                yield Line(at, skipped + end + 1, None)
                at += skipped + end + 1
                held, skipped, block = b"", 0, block[end + 1 :]
            *whole, held = (held + block if held else block).split(b"\n")
            for raw in whole:
                size = len(raw) + 1
                yield Line(at, size, raw if size <= limit else None)
                at += size
            if len(held) > limit:
                held, skipped = b"", len(held)
    except BrokenOff as error:
        broken = error
    if skipped:
        yield Line(at, skipped, None, broken is not None)
    elif held:
        yield Line(at, len(held), held, broken is not None)
    if broken is not None:
        raise broken


def first_line_at(path: Path, start: int, end: int) -> int | None:
    """The offset of the first line that begins in [start, end), reading no further than that; None if none does.

    A line belongs to the range in which its first byte lies, so ranges side by side hold every line exactly once.
    """
    if start == 0:
        return 0
    at = start - 1
    for block in _plain(path, at):
        found = block.find(b"\n")
        if found >= 0:
            return at + found + 1 if at + found + 1 < end else None
        at += len(block)
        if at >= end:
            return None
    return None


def unreadable(path: Path, error: OSError) -> UserError:
    return UserError(
        "{path} can't be read: {why}.",
        remedy="Check that the file is there and may be read.",
        path=path,
        why=error.strerror or error,
    )


def _damaged(path: Path, seen: int, error: Exception) -> UserError:
    return UserError(
        "{path} is damaged: it breaks off after {count} bytes of text ({why}).",
        remedy="What stands before that was read. Fetch the file again and build anew to have the rest.",
        path=path,
        count=f"{seen:,}",
        why=str(error)[:200] or type(error).__name__,
    )
