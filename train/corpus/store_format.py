"""The bytes of a token store: `NAME.tokens`, one file with a header of fixed size, then sections, each 64-byte aligned.

    0     magic KLMTOKEN | version u32 | length of the JSON u32 | CRC-32 of the JSON u32 | the JSON, in all HEAD bytes
    HEAD  tokens          T × uint8/16/32, the samples one after the other, row by row
          sample_starts   (S + 1) × uint64: where each sample begins, in tokens; the last one is T
          sample_context  S × uint32: how many tokens at a sample's start are context only (never learned there)
          sample_document S × uint32: which document of this file it is a piece of
          sample_offset   S × uint32: how many of the document's tokens stand before it
          row_samples     (R + 1) × uint64: the first sample of each row; the last one is S

All little-endian. A row is what a model is given at once: at most `length` tokens of one or several samples.
Opening reads the header and maps the file: it takes the same time whatever the size.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from core.errors import UserError

MAGIC = b"KLMTOKEN"
VERSION = 1
HEAD = 8192
ALIGN = 64
SUFFIX = ".tokens"
_FRONT = struct.Struct("<8sIII")
SECTIONS: dict[str, np.dtype] = {
    "sample_starts": np.dtype("<u8"),
    "sample_context": np.dtype("<u4"),
    "sample_document": np.dtype("<u4"),
    "sample_offset": np.dtype("<u4"),
    "row_samples": np.dtype("<u8"),
}
_AGAIN = "Build or copy it again."


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Whose token ids these are. `fingerprint` is equal where the same text becomes the same ids."""

    fingerprint: str
    size: int
    name: str = ""
    bos: int | None = None
    eos: int | None = None

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that holds every id."""
        return np.dtype("<u2" if self.size <= 1 << 16 else "<u4")


@dataclass(frozen=True, slots=True)
class Section:
    offset: int
    bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class Head:
    """What a store says of itself. `notes`: counts that its maker adds (bytes read, tokens of padding, …)."""

    vocabulary: Vocabulary
    dtype: str
    source: str
    language: str
    length: int
    mode: str
    tokens: int
    samples: int
    rows: int
    documents: int
    sections: dict[str, Section]
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return max(one.offset + one.bytes for one in self.sections.values())

    def to_bytes(self) -> bytes:
        text = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode()
        if len(text) + _FRONT.size > HEAD:
            raise UserError("The name of the source “{source}” is too long.", remedy="Shorten it.", source=self.source)
        return (_FRONT.pack(MAGIC, VERSION, len(text), zlib.crc32(text)) + text).ljust(HEAD, b"\0")


def aligned(position: int) -> int:
    return -(-position // ALIGN) * ALIGN


def read_head(path: Path, file: BinaryIO) -> Head:
    """Raises UserError: no store, damaged, cut short, or written by a later version."""
    raw = file.read(HEAD)
    if len(raw) < _FRONT.size or raw[:8] != MAGIC:
        raise UserError(
            "{path} is no token store.", remedy="Choose a .tokens file, or the folder that holds them.", path=path
        )
    _, version, length, crc = _FRONT.unpack_from(raw)
    if version > VERSION:
        raise UserError(
            "{path} was written by a later version of this program (format {version}; this one reads up to {ours}).",
            remedy="Update this program, or build the corpus again with this one.",
            path=path,
            version=version,
            ours=VERSION,
        )
    text = raw[_FRONT.size : _FRONT.size + length]
    if len(raw) < HEAD or len(text) < length or zlib.crc32(text) != crc:
        raise UserError("The header of {path} is damaged.", remedy=_AGAIN, path=path)
    told = json.loads(text)
    sections = {name: Section(**one) for name, one in told.pop("sections").items()}
    head = Head(vocabulary=Vocabulary(**told.pop("vocabulary")), sections=sections, **told)
    _check_size(path, head)
    return head


def _check_size(path: Path, head: Head) -> None:
    size = path.stat().st_size
    if size < head.size:
        raise UserError(
            "{path} is cut short: {size} of {whole} bytes are there.",
            remedy=_AGAIN,
            path=path,
            size=size,
            whole=head.size,
        )


def check_sums(path: Path, head: Head) -> None:
    """Reads the whole file. Raises UserError where a section's bytes are not those that were written."""
    with path.open("rb") as file:
        for name, section in head.sections.items():
            file.seek(section.offset)
            crc, left = 0, section.bytes
            while left:
                block = file.read(min(left, 1 << 22))
                if not block:
                    break
                crc, left = zlib.crc32(block, crc), left - len(block)
            if left or crc != section.crc:
                raise UserError("{path} is damaged: its {name} have changed.", remedy=_AGAIN, path=path, name=name)
