"""Token stores, written and read: `Writer`, `Store` (one file, of one source) and `Corpus` (a folder of them)."""

from __future__ import annotations

import mmap
import os
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from core.errors import UserError
from core.weights import durable
from train.corpus.store_format import (
    HEAD,
    SECTIONS,
    SUFFIX,
    Head,
    Section,
    Vocabulary,
    aligned,
    check_sums,
    read_head,
)

__all__ = ["SUFFIX", "Corpus", "Piece", "Row", "Source", "Store", "Vocabulary", "Writer"]
_FLUSH = 1 << 22  # bytes of tokens held back, so that writing is few large writes


@dataclass(frozen=True, slots=True)
class Piece:
    """A sample to be stored: whole sentences of a document, after `context` tokens that are there to be seen only."""

    ids: np.ndarray
    document: int
    context: int = 0
    offset: int = 0
    """How many tokens of the document stand before it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a model is given at once. `ends`: where each of its samples ends, in tokens of this row."""

    ids: np.ndarray
    ends: np.ndarray
    context: np.ndarray
    document: np.ndarray

    @property
    def positions(self) -> np.ndarray:
        """Positions that start again at 0 in every sample."""
        starts = np.concatenate(([0], self.ends[:-1]))
        return np.arange(len(self.ids)) - np.repeat(starts, np.diff(self.ends, prepend=0))

    @property
    def learned(self) -> np.ndarray:
        """Which tokens are to be predicted: all but each sample's first one and its context."""
        return self.positions >= np.repeat(np.maximum(self.context, 1), np.diff(self.ends, prepend=0))


class Writer:
    """Writes a store under a temporary name; it gets its own when the `with` ends without an error, whole and synced.

    The same rows in the same order make the same bytes: nothing of the time or the machine is in them.
    """

    def __init__(
        self, path: Path, vocabulary: Vocabulary, *, source: str, length: int, language: str = "", mode: str = ""
    ) -> None:
        self.path, self.vocabulary = path, vocabulary
        self._told = {"source": source, "language": language, "length": length, "mode": mode}
        self._length = length
        self._dtype = vocabulary.dtype
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._held: list[bytes] = []
        self._held_bytes = self._crc = 0
        self._starts, self._rows = array("Q", [0]), array("Q", [0])
        self._context, self._document, self._offset = array("I"), array("I"), array("I")
        self._documents: int | None = None
        self.tokens = 0
        self.notes: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")
        self._file.write(bytes(HEAD))

    @property
    def rows(self) -> int:
        return len(self._rows) - 1

    @property
    def samples(self) -> int:
        return len(self._context)

    @property
    def fill(self) -> float:
        """How much of the rows is tokens."""
        return self.tokens / max(1, self.rows * self._length)

    def row(self, pieces: Sequence[Piece]) -> None:
        """Samples that are given to the model together. Raises UserError: longer than the store's length."""
        before = self.tokens
        for piece in pieces:
            ids = piece.ids
            if ids.dtype != self._dtype:
                ids = self._narrowed(ids)
            raw = ids.tobytes()
            self._held.append(raw)
            self._held_bytes += len(raw)
            self.tokens += len(ids)
            self._starts.append(self.tokens)
            self._context.append(piece.context)
            self._document.append(piece.document)
            self._offset.append(piece.offset)
        self._rows.append(len(self._context))
        if self.tokens - before > self._length:
            raise UserError(
                "A row of {tokens} tokens is longer than the length of {length}.",
                remedy="Pack it again with this length.",
                tokens=self.tokens - before,
                length=self._length,
            )
        if self._held_bytes >= _FLUSH:
            self._flush()

    def _narrowed(self, ids: np.ndarray) -> np.ndarray:
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary.size:
            raise UserError(
                "The token {token} is not one of the vocabulary's {size}.",
                remedy="Use the tokenizer that made these tokens.",
                token=int(ids.max()),
                size=self.vocabulary.size,
            )
        return ids.astype(self._dtype)

    def _flush(self) -> None:
        block = b"".join(self._held)
        self._held, self._held_bytes = [], 0
        self._crc = zlib.crc32(block, self._crc)
        self._file.write(block)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._flush()
        size = self.tokens * self._dtype.itemsize
        sections = {"tokens": Section(HEAD, size, self._crc)}
        at = HEAD + size
        made = (self._starts, self._context, self._document, self._offset, self._rows)
        for (name, dtype), values in zip(SECTIONS.items(), made, strict=True):
            raw = np.asarray(values).astype(str(dtype)).tobytes()
            self._file.write(bytes(aligned(at) - at) + raw)
            sections[name] = Section(aligned(at), len(raw), zlib.crc32(raw))
            at = aligned(at) + len(raw)
        counts = {"tokens": self.tokens, "samples": self.samples, "rows": self.rows}
        documents = len(np.unique(np.frombuffer(self._document, np.uint32))) if self.samples else 0
        head = Head(
            vocabulary=self.vocabulary, dtype=self._dtype.name, sections=sections, notes=self.notes,
            documents=documents, **self._told, **counts,  # type: ignore[arg-type]
        )  # fmt: skip
        self._file.seek(0)
        self._file.write(head.to_bytes())
        self._file.close()
        durable.publish(self._part, self.path)


class Store:
    """One file, mapped. Raises UserError where it can't be read, or where `fingerprint` is another tokenizer's."""

    def __init__(self, path: Path, *, fingerprint: str = "") -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.head = read_head(path, file)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise UserError(
                "{path} can't be read: {why}", remedy="Choose another file.", path=path, why=error.strerror or error
            ) from error
        check_tokenizer(path, self.head.vocabulary, fingerprint)
        self.tokens = self._section("tokens", np.dtype(self.head.dtype).newbyteorder("<"))
        made = {name: self._section(name, dtype) for name, dtype in SECTIONS.items()}
        self.sample_starts, self.row_samples = made["sample_starts"], made["row_samples"]
        self.sample_context, self.sample_document = made["sample_context"], made["sample_document"]
        self.sample_offset = made["sample_offset"]

    def _section(self, name: str, dtype: np.dtype) -> np.ndarray:
        section = self.head.sections[name]
        return np.frombuffer(self._map, dtype, section.bytes // dtype.itemsize, section.offset)

    def __len__(self) -> int:
        """Rows."""
        return self.head.rows

    def row(self, number: int) -> Row:
        first, last = int(self.row_samples[number]), int(self.row_samples[number + 1])
        starts = self.sample_starts[first : last + 1].astype(np.int64)
        start = int(starts[0])
        context = self.sample_context[first:last]
        if self.head.mode == "knowlm":  # which learns again what its samples repeat
            context = np.zeros_like(context)
        return Row(
            self.tokens[start : int(starts[-1])],
            starts[1:] - start,
            context,
            self.sample_document[first:last],
        )

    def sample(self, number: int) -> np.ndarray:
        """Its token ids, its context included."""
        return self.tokens[int(self.sample_starts[number]) : int(self.sample_starts[number + 1])]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample."""
        return np.diff(self.sample_starts.astype(np.int64))

    @cached_property
    def row_lengths(self) -> np.ndarray:
        return np.diff(self.sample_starts[self.row_samples.astype(np.int64)].astype(np.int64))

    def documents(self) -> Iterator[np.ndarray]:
        """The ids of each document, put together again from its samples (context left out)."""
        order = np.lexsort((self.sample_offset + self.sample_context, self.sample_document))
        cuts = np.flatnonzero(np.diff(self.sample_document[order])) + 1
        for group in np.split(order, cuts) if len(order) else ():
            yield np.concatenate([self.sample(int(one))[int(self.sample_context[one]) :] for one in group])

    def check_sums(self) -> None:
        """Reads everything. Raises UserError where bytes have changed since they were written."""
        check_sums(self.path, self.head)


def check_tokenizer(path: Path, vocabulary: Vocabulary, fingerprint: str) -> None:
    if fingerprint and fingerprint != vocabulary.fingerprint:
        raise UserError(
            "{path} was made with another tokenizer ({name}): its token ids mean other texts.",
            remedy="Choose the model it was made for, or build the corpus again with this model's tokenizer.",
            path=path,
            name=vocabulary.name or vocabulary.fingerprint[:12],
        )


class Source:
    """The rows of all stores of one source, counted through."""

    def __init__(self, name: str, stores: Sequence[Store]) -> None:
        self.name, self.stores = name, tuple(stores)
        self._ends = np.cumsum([len(store) for store in stores]).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def place(self, number: int) -> tuple[Store, int]:
        at = bisect_right(self._ends, number)
        return self.stores[at], number - (self._ends[at - 1] if at else 0)

    def row(self, number: int) -> Row:
        store, place = self.place(number)
        return store.row(place)

    @property
    def tokens(self) -> int:
        return sum(store.head.tokens for store in self.stores)


class Corpus:
    """The stores of a folder (and its folders), by source. Raises UserError: none there, or made by different
    tokenizers or for different lengths."""

    def __init__(self, folder: Path, *, fingerprint: str = "") -> None:
        self.folder = folder
        paths = [folder] if folder.is_file() else sorted(folder.rglob(f"*{SUFFIX}"))
        paths = [path for path in paths if not path.name.startswith(".")]
        if not paths:
            raise UserError(
                "{folder} holds no token store.",
                remedy="Choose the folder that `corpus build` or `corpus convert` wrote.",
                folder=folder,
            )
        stores = [Store(path, fingerprint=fingerprint) for path in paths]
        first = stores[0].head
        for store in stores[1:]:
            check_tokenizer(store.path, store.head.vocabulary, first.vocabulary.fingerprint)
            if store.head.length != first.length:
                raise UserError(
                    "{path} was packed for {length} tokens, others for {other}.",
                    remedy="Keep corpora of different lengths in different folders.",
                    path=store.path,
                    length=store.head.length,
                    other=first.length,
                )
        self.vocabulary, self.length = first.vocabulary, first.length
        self.sources = {name: Source(name, own) for name, own in _by_source(stores).items()}

    def rows(self) -> dict[str, int]:
        """How many rows each source has: what `mix.Order` is made from."""
        return {name: len(source) for name, source in self.sources.items()}


def _by_source(stores: Iterable[Store]) -> dict[str, list[Store]]:
    found: dict[str, list[Store]] = {}
    for store in stores:
        found.setdefault(store.head.source, []).append(store)
    return dict(sorted(found.items()))
