"""The tokens of pieces, remembered: a batch of texts is cut, looked up, and put together again by numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from train.corpus.cuts import Cuts

REMEMBERED = 600_000
"""Pieces at most (about 150 MB); after that, all are forgotten: the frequent ones are back at once."""


class _Numbers(dict[str, int]):
    """Piece -> its number; a new piece gets the next one and is noted down."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, piece: str) -> int:
        self.new.append(piece)
        self[piece] = number = len(self)
        return number


@dataclass(frozen=True)
class Encoded:
    """A batch of texts as tokens, one after the other, with where its pieces are."""

    ids: np.ndarray
    starts: np.ndarray
    """Where each text begins, in characters of the joined batch."""
    piece_starts: np.ndarray
    """Where each piece begins, likewise, and at last where the batch ends."""
    piece_tokens: np.ndarray
    """How many tokens stand before each piece, and at last all."""
    first_pieces: np.ndarray
    """The first piece of each text, and at last their number."""
    codes: np.ndarray
    owner: Pieces
    joined: str

    def split(self) -> list[np.ndarray]:
        """The ids of each text."""
        ends = self.piece_tokens[self.first_pieces].tolist()
        return [self.ids[start:end] for start, end in pairwise(ends)]

    def at(self, places: Sequence[Sequence[int] | np.ndarray]) -> Iterator[np.ndarray]:
        """For each text: how many of its tokens stand before each place (in its characters, ascending)."""
        counts = [len(one) for one in places]
        asked = np.concatenate([np.asarray(one, np.int64) for one in places]) if sum(counts) else np.zeros(0, np.int64)
        where = asked + np.repeat(self.starts, counts)
        piece = np.searchsorted(self.piece_starts, where, "right") - 1
        inside = where - self.piece_starts[piece]
        tokens = self.piece_tokens[piece]
        # a space before the place stays with the word after it, as tokenizers have it
        hard = np.flatnonzero((inside > 1) | ((inside == 1) & (self.codes[where - 1] != 32)))
        for one in hard.tolist():
            start, end = self.piece_starts[piece[one]], self.piece_starts[piece[one] + 1]
            tokens[one] += self.owner.inside(self.joined[start:end], int(inside[one]))
        first = np.repeat(self.piece_tokens[self.first_pieces[:-1]], counts)
        before = np.where(asked == 0, 0, tokens - first)  # what is put in front of a text belongs to it
        yield from np.split(before, np.cumsum(counts)[:-1])


class Pieces:
    """`prefix`: whether a space is put in front of a text: "" never, `always`, or `unless` there is one already."""

    def __init__(self, tokenizer: Any, cuts: Cuts, *, prefix: str) -> None:
        self._tokenizer, self._cuts, self._prefix = tokenizer, cuts, prefix
        self.forget()

    def forget(self) -> None:
        self._numbers = _Numbers()
        self._ends: dict[str, np.ndarray] = {}
        self._ids = np.zeros(1 << 12, np.int32)
        self._first = np.zeros(1 << 10, np.int64)
        self._count = np.zeros(1 << 10, np.int32)
        self._known = self._used = 0

    def encode(self, texts: Sequence[str]) -> Encoded:
        prefixes = [self._in_front(text) for text in texts]
        joined = "".join(part for pair in zip(prefixes, texts, strict=True) for part in pair)
        codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
        ahead = np.array([len(one) for one in prefixes], np.int64)
        lengths = np.array([len(text) for text in texts], np.int64) + ahead
        ends = np.cumsum(lengths)
        begins = ends - lengths
        real = begins[lengths > 0]  # an empty text has no piece
        cut = np.zeros(len(codes) + 1, bool)
        cut[self._cuts.before(codes)] = True
        cut[real] = True
        cut[len(codes)] = True
        places = np.flatnonzero(cut)
        starts = places.tolist()
        words = [joined[start:end] for start, end in pairwise(starts)]
        numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
        self._learn()
        counts = self._count[numbers]
        before = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        sources = np.repeat(self._first[numbers] - before[:-1], counts) + np.arange(before[-1])
        ids = self._ids[sources].astype(np.int64)
        first_pieces = np.searchsorted(places, np.append(begins, len(codes)))
        made = Encoded(ids, begins + ahead, places, before, first_pieces, codes, self, joined)
        if len(self._numbers) > REMEMBERED or self._used > 8 * REMEMBERED:
            self.forget()
        return made

    def inside(self, piece: str, place: int) -> int:
        """How many of a piece's tokens end at or before a place inside it."""
        ends = self._ends.get(piece)
        if ends is None:
            found = self._tokenizer.encode(piece, add_special_tokens=False)
            ends = np.array([end for _, end in found.offsets], np.int64)
            if len(self._ends) < REMEMBERED // 10:
                self._ends[piece] = ends
        return int(np.searchsorted(ends, place, "right"))

    def _in_front(self, text: str) -> str:
        if not self._prefix or not text:
            return ""
        return "" if self._prefix == "unless" and text[0] in " ▁" else " "

    def _learn(self) -> None:
        """Tokenize the pieces that were new."""
        new, self._numbers.new = self._numbers.new, []
        if not new:
            return
        model = self._tokenizer.model
        found: list[list[int]] = []
        for piece in new:
            symbols = self._cuts.symbols(piece)
            if symbols:
                found.append([token.id for token in model.tokenize(symbols)])
            else:
                found.append(self._tokenizer.encode(piece, add_special_tokens=False).ids)
        counts = np.fromiter(map(len, found), np.int64, len(found))
        total = int(counts.sum())
        flat = np.fromiter((one for ids in found for one in ids), np.int32, total)
        self._ids = _grown(self._ids, self._used + total)
        self._first = _grown(self._first, self._known + len(new))
        self._count = _grown(self._count, self._known + len(new))
        self._ids[self._used : self._used + total] = flat
        self._first[self._known : self._known + len(new)] = self._used + np.cumsum(counts) - counts
        self._count[self._known : self._known + len(new)] = counts
        self._known, self._used = self._known + len(new), self._used + total


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    if size <= len(array):
        return array
    made = np.zeros(max(size, 2 * len(array)), array.dtype)
    made[: len(array)] = array
    return made
