"""What the stages of a build leave for each other in OUT/work, each piece whole or not there.

plan.json                 the shards
SSSSS.json                what cleaning shard S yielded: counts, samples, its parts
SSSSS-PPPP.zst            cleaned texts of a part: at most so much that a worker holds its index in memory
SSSSS-PPPP.keys.npy       (1 + BANDS, n) uint64, each row sorted: hash of the text, then of its signature's bands
SSSSS-PPPP.order.npy      (1 + BANDS, n) uint32: which text of the part each of them is
SSSSS-PPPP.text.npy       (n,) uint64: the other half of each text's hash
SSSSS-PPPP.sign.npy       (n, HASHES) uint32 signatures; with near duplicates only
dupes-RR-PPPP.npy         copies found by one row of keys in one range of hashes, sorted by the copy's number
SSSSS-PPPP.json           what packing the part yielded
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from train.corpus import minhash

HALF = ".tmp"
TEXT_BYTES = 64 << 20
DOCUMENTS = 100_000
"""Of a part, at most; so its index stays under 100 MB."""
COPY = np.dtype([("copy", "<u8"), ("of", "<u8"), ("alike", "<f4")])
"""Numbers of documents, counted through all parts in order."""
_HEAD = struct.Struct("<IQIIB")
_LANGUAGES = ("", "en", "zh")


@dataclass(frozen=True, slots=True)
class Kept:
    """A text that passed; `file` is its place among the shard's pieces, `size` its bytes there."""

    file: int
    offset: int
    size: int
    language: str
    text: str


@dataclass(frozen=True)
class Part:
    """`first`: the number of its first document among all documents of the corpus."""

    name: str
    shard: int
    source: int
    documents: int
    bytes: int
    """In their files."""
    first: int = 0


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file that appears whole, on the disk, or not at all."""
    # of this process alone: a worker that outlives its build for a moment must not write into the next one's file
    temporary = path.with_name(f".{path.name}.{os.getpid()}{HALF}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    with written(path) as file:
        file.write(json.dumps(content, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace"))


def read_json(path: Path) -> Any:
    """None where there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def save(path: Path, array: np.ndarray) -> None:
    with written(path) as file:
        np.save(file, array)


class PartWriter:
    """Takes texts until it `is_full`; `close` writes their index. Texts go to disk as they come."""

    def __init__(self, work: Path, name: str, *, near: bool) -> None:
        self.name, self._work, self._near = name, work, near
        self.documents = self.text_bytes = self.bytes = 0
        self._hashes = np.empty((0, 2), dtype=np.uint64)
        self._places = np.empty((0, 2), dtype=np.uint64)
        self._signatures = np.empty((0, minhash.HASHES), dtype=np.uint32)
        self._whole = written(work / f"{name}.zst")
        self._file = self._whole.__enter__()
        import zstandard

        self._packed = zstandard.ZstdCompressor(level=1).stream_writer(self._file, closefd=False)

    @property
    def is_full(self) -> bool:
        return self.text_bytes >= TEXT_BYTES or self.documents >= DOCUMENTS

    def add(self, kept: Kept) -> None:
        raw = kept.text.encode("utf-8", "replace")
        head = _HEAD.pack(kept.file, kept.offset, kept.size, len(raw), _LANGUAGES.index(kept.language))
        self._packed.write(head + raw)
        if self.documents == len(self._hashes):
            more = max(1024, self.documents)
            empty_pairs = np.empty((more, 2), dtype=np.uint64)
            self._hashes = np.concatenate([self._hashes, empty_pairs])
            self._places = np.concatenate([self._places, empty_pairs])
            if self._near:
                empty = np.empty((more, minhash.HASHES), dtype=np.uint32)
                self._signatures = np.concatenate([self._signatures, empty])
        digest = hashlib.blake2b(raw, digest_size=16).digest()
        self._hashes[self.documents] = np.frombuffer(digest, dtype="<u8")
        self._places[self.documents] = kept.file, kept.offset
        if self._near:
            self._signatures[self.documents] = minhash.signature(kept.text, chinese=kept.language == "zh")
        self.documents += 1
        self.text_bytes += len(raw)
        self.bytes += kept.size

    def close(self) -> None:
        self._packed.close()
        self._whole.__exit__(None, None, None)
        hashes = self._hashes[: self.documents]
        rows = hashes[:, :1].T
        if self._near:
            signatures = self._signatures[: self.documents]
            rows = np.concatenate([rows, minhash.bands(signatures)])
            save(self._work / f"{self.name}.sign.npy", signatures)
        order = np.argsort(rows, axis=1, kind="stable").astype(np.uint32)
        save(self._work / f"{self.name}.keys.npy", np.take_along_axis(rows, order.astype(np.int64), axis=1))
        save(self._work / f"{self.name}.order.npy", order)
        save(self._work / f"{self.name}.place.npy", self._places[: self.documents])
        save(self._work / f"{self.name}.text.npy", np.ascontiguousarray(hashes[:, 1]))

    def drop(self, error: BaseException) -> None:
        """Leave nothing of it."""
        self._whole.__exit__(type(error), error, error.__traceback__)


def texts(work: Path, name: str) -> Iterator[Kept]:
    """A part's texts in their order."""
    import zstandard

    with (work / f"{name}.zst").open("rb") as file:
        unpacked = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20)
        while head := unpacked.read(_HEAD.size):
            place, offset, size, length, language = _HEAD.unpack(head)
            yield Kept(place, offset, size, _LANGUAGES[language], unpacked.read(length).decode("utf-8"))
