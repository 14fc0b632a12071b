"""The few numbers of a GGUF file's header that decide how much memory its context takes.

Read with hard bounds, since files come from anywhere and the usual parser can be made to hang:
nothing past the first 64 MB, no nested arrays, no more entries than real models have.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import UserError

READ_LIMIT = 64 << 20
LARGEST_ARRAY = 2_000_000
MOST_KEYS = 4096
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_WANTED = ("block_count", "embedding_length", "context_length", "head_count", "head_count_kv", "key_length")


@dataclass(frozen=True)
class Shape:
    """What the context of a model costs; zeros where the file doesn't say."""

    context: int = 0
    """Tokens it was trained on."""
    kv_bytes: int = 0
    """Bytes of a 16-bit key-value cache, a token."""


def read_shape(path: Path) -> Shape:
    """Raises UserError where the header is broken."""
    try:
        with path.open("rb") as file:
            return _shape(_metadata(file))
    except (ValueError, struct.error, OverflowError, MemoryError) as error:
        raise UserError(
            "{path} is broken: its header can't be read ({why}).",
            remedy="Download the file again, or choose another one.",
            path=path,
            why=error,
        ) from error


def _metadata(file: BinaryIO) -> dict[str, Any]:
    if file.read(4) != b"GGUF":
        raise ValueError("not a GGUF file")
    version, _tensors, keys = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3) or keys > MOST_KEYS:
        raise ValueError(f"version {version}, {keys} keys")
    found: dict[str, Any] = {}
    for _ in range(keys):
        name = _string(file).decode("utf-8", "replace")
        value = _value(file, *struct.unpack("<I", file.read(4)))
        if name.rsplit(".", 1)[-1] in _WANTED:
            found[name.rsplit(".", 1)[-1]] = value
    return found


def _string(file: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > READ_LIMIT or file.tell() + length > READ_LIMIT:
        raise ValueError("a text is too long")
    return file.read(length)


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file).decode("utf-8", "replace")
    if kind in _SCALARS:
        layout = "<" + _SCALARS[kind]
        return struct.unpack(layout, file.read(struct.calcsize(layout)))[0]
    if kind != _ARRAY:
        raise ValueError(f"unknown kind {kind}")
    inner, count = struct.unpack("<IQ", file.read(12))
    if count > LARGEST_ARRAY:
        raise ValueError("a list is too long")
    if inner == _STRING:
        for _ in range(count):
            _string(file)
        return None
    width = struct.calcsize("<" + _SCALARS[inner]) if inner in _SCALARS else 0
    if not width or file.tell() + width * count > READ_LIMIT:
        raise ValueError("a list is too long")
    return struct.unpack(f"<{count}{_SCALARS[inner]}", file.read(width * count))


def _shape(found: dict[str, Any]) -> Shape:
    def number(name: str, default: int = 0) -> int:
        value = found.get(name, default)
        if isinstance(value, tuple):  # one a layer: take the widest
            value = max(value, default=0)
        return int(value) if isinstance(value, int | float) and 0 <= value < 2**40 else 0

    heads = number("head_count")
    width = number("key_length") or (number("embedding_length") // heads if heads else 0)
    kv_heads = number("head_count_kv") or heads
    return Shape(number("context_length"), 2 * 2 * number("block_count") * kv_heads * width)
