"""safetensors files, read lazily and distrustfully.

A file is never memory-mapped (mapped pages count as ours and stay): pieces are read with `pread`
into the caller's buffer, and the system is told to drop what has been read.
Layout: 8 bytes little-endian header length, a JSON header, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
import os
import re
import struct
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.weights.dtypes import ITEM_BYTES, Bytes, Floats, widen

MAX_HEADER = 25_000_000
MAX_TENSORS = 100_000
# Legitimate headers are ASCII; one wide character would make Python hold four bytes for each of 25 MB.
MAX_HEADER_WIDE = 1_000_000
_AGAIN = "Download or copy it again from a source that you trust."
_UNSAFE_NAME = re.compile(r"[\\/\x00-\x1f\x7f]|^\.|^$")


class Blob:
    """One file, opened for reading at offsets from several threads; closed when nobody refers to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.fd)
        status = os.fstat(self.fd)
        self.size = status.st_size
        self.modified = status.st_mtime_ns
        self._lock = threading.Lock()

    def read_into(self, offset: int, buffer: Bytes) -> None:
        """Fill the buffer from the file's bytes at `offset`. Raises UserError if the file ends before."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        while view.nbytes:
            count = self._read_some(offset, view)
            if count == 0:
                raise UserError(
                    "{file} ends too early: it is cut off.",
                    remedy="Download or copy it again.",
                    file=self.path,
                )
            offset, view = offset + count, view[count:]

    def read(self, offset: int, length: int) -> bytes:
        buffer = np.empty(length, np.uint8)
        self.read_into(offset, buffer)
        return buffer.tobytes()

    def ahead(self, offset: int, length: int) -> None:
        """Let the system fetch these bytes while we compute."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)

    def spent(self, offset: int, length: int) -> None:
        """These bytes are not needed again: don't push other programs' pages out for them."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_DONTNEED)

    def _read_some(self, offset: int, view: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self.fd, [view], offset)
        with self._lock:
            os.lseek(self.fd, offset, os.SEEK_SET)
            data = os.read(self.fd, view.nbytes)
        view[: len(data)] = data
        return len(data)


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file: contiguous, row-major, little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    blob: Blob
    offset: int
    grain: int = 1

    @property
    def origin(self) -> str:
        return self.blob.path.name

    @property
    def bytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.dtype]

    def fill(self, start: int, out: Floats) -> None:
        raw = np.empty(out.size * ITEM_BYTES[self.dtype], np.uint8)
        self.fill_raw(start, raw)
        widen(raw, self.dtype, out)

    def fill_raw(self, start: int, out: Bytes) -> None:
        self.blob.read_into(self.offset + start * ITEM_BYTES[self.dtype], out)

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        item = ITEM_BYTES[self.dtype]
        yield self.blob, self.offset + start * item, (stop - start) * item


def read_safetensors(path: Path) -> dict[str, Stored]:
    """The tensors of one file, in the order of their bytes. Raises UserError for anything but a sound file."""
    blob = Blob(path)
    header, data_start = _header(blob)
    header.pop("__metadata__", None)
    tensors = [_tensor(blob, name, entry, data_start) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.bytes))
    _check_tiling(blob, tensors, data_start)
    return {tensor.name: tensor for tensor in tensors}


def check_name(name: str, path: Path) -> None:
    """Raise UserError for a tensor name that could be mistaken for a path or a line of a log."""
    if len(name) > 1000 or ".." in name or _UNSAFE_NAME.search(name):
        raise UserError(
            "{file} is no sound safetensors file: a tensor has the unsafe name “{name}”.",
            remedy=_AGAIN,
            file=path,
            name=name[:100],
        )


def make_header(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> bytes:
    """The length and header of a file that holds (name, dtype, shape) in that order, padded to 8 bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, dtype, shape in tensors:
        end = position + prod(shape) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _header(blob: Blob) -> tuple[dict, int]:
    if blob.size < 10:
        raise UserError("{file} is no sound safetensors file: it is too short.", remedy=_AGAIN, file=blob.path)
    length = struct.unpack("<Q", blob.read(0, 8))[0]
    if length > MAX_HEADER:
        raise UserError(
            "{file} is no sound safetensors file: its header claims {length} bytes, more than 25 MB.",
            remedy=_AGAIN,
            file=blob.path,
            length=length,
        )
    if 8 + length > blob.size:
        raise UserError(
            "{file} is no sound safetensors file: its header reaches beyond the end of the file.",
            remedy=_AGAIN,
            file=blob.path,
        )
    raw = blob.read(8, length)
    if not raw.startswith(b"{"):
        raise UserError(
            "{file} is no sound safetensors file: its header does not start as JSON.", remedy=_AGAIN, file=blob.path
        )
    too_many = raw.count(b"{") > MAX_TENSORS or raw.count(b"[") > 2 * MAX_TENSORS or raw.count(b",") > 8 * MAX_TENSORS
    if too_many or (len(raw) > MAX_HEADER_WIDE and not raw.isascii()):
        raise UserError(
            "{file} is no sound safetensors file: its header holds too much.", remedy=_AGAIN, file=blob.path
        )
    try:
        header = json.loads(raw, object_pairs_hook=lambda pairs: _unique(blob.path, pairs))
    except (ValueError, RecursionError) as error:
        raise UserError(
            "{file} is no sound safetensors file: its header is no JSON.", remedy=_AGAIN, file=blob.path
        ) from error
    return header, 8 + length


def _unique(path: Path, pairs: list[tuple[str, object]]) -> dict:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise UserError(
            "{file} is no sound safetensors file: it names “{name}” twice.", remedy=_AGAIN, file=path, name=name[:100]
        )
    return made


def _tensor(blob: Blob, name: str, entry: object, data_start: int) -> Stored:
    check_name(name, blob.path)
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]  # type: ignore[index]
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            "{file} is no sound safetensors file: the entry of “{name}” is incomplete.",
            remedy=_AGAIN,
            file=blob.path,
            name=name,
        ) from error
    if dtype not in ITEM_BYTES:
        raise UserError(
            "{file} is no sound safetensors file: “{name}” has the unknown type {dtype}.",
            remedy=_AGAIN,
            file=blob.path,
            name=name,
            dtype=str(dtype)[:40],
        )
    numbers = (*shape, begin, end)
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers) or len(shape) > 16:
        raise UserError(
            "{file} is no sound safetensors file: the shape or place of “{name}” is no list of counts.",
            remedy=_AGAIN,
            file=blob.path,
            name=name,
        )
    if prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise UserError(
            "{file} is no sound safetensors file: “{name}” has another length than its shape and type say.",
            remedy=_AGAIN,
            file=blob.path,
            name=name,
        )
    return Stored(name, dtype, shape, blob, data_start + begin)


def _check_tiling(blob: Blob, tensors: list[Stored], data_start: int) -> None:
    position = data_start
    for tensor in tensors:
        if tensor.offset != position:
            raise UserError(
                "{file} is no sound safetensors file: “{name}” overlaps its neighbour or leaves a gap.",
                remedy=_AGAIN,
                file=blob.path,
                name=tensor.name,
            )
        position += tensor.bytes
    if position > blob.size:
        raise UserError("{file} ends too early: it is cut off.", remedy="Download or copy it again.", file=blob.path)
    if position < blob.size:
        raise UserError(
            "{file} is no sound safetensors file: {count} bytes at its end belong to no tensor.",
            remedy=_AGAIN,
            file=blob.path,
            count=blob.size - position,
        )
