"""Rows that are full: pieces of several documents side by side, chosen so that together they fill a row.

A pool of documents is held back. Of a long one, a row takes the sentences that leave just the room which some short
piece fills. Where none does, a short document is cut between two sentences to make one. Every token goes into exactly
one row, and a document's pieces into rows in their order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from train.corpus.store import Piece

HOLD = 1 << 20
"""Tokens held back."""
LOOK_BACK = 24
"""Sentences that a row is tried with fewer of."""
DONORS = 6


@dataclass(slots=True, eq=False)
class _Left:
    """What is still to be laid of a document. `ends`: where its sentences end, `at`: the first one left."""

    ids: np.ndarray
    document: int
    context: int
    offset: int
    ends: list[int]
    at: int = 0
    begin: int = 0

    @property
    def tokens(self) -> int:
        return self.ends[-1] - self.begin

    def upto(self, room: int) -> int:
        """The most tokens of whole sentences that fit into `room`."""
        found = bisect_right(self.ends, self.begin + room, self.at)
        return self.ends[found - 1] - self.begin if found > self.at else 0

    def take(self, tokens: int) -> Piece:
        end = self.begin + tokens
        piece = Piece(self.ids[self.begin : end], self.document, self.context, self.offset + self.begin)
        self.at, self.begin, self.context = bisect_right(self.ends, end, self.at), end, 0
        return piece


class Filler:
    """`add` what is to be laid; `rows` gives rows as soon as enough is held back to choose from."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._shortest = min(32, max(1, length // 16))
        self._tolerance = length // 400
        self._long: deque[_Left] = deque()
        self._short: list[deque[_Left]] = [deque() for _ in range(length + 1)]
        self._sizes = 0
        """Bit n is set where a short piece of n tokens waits."""
        self._held = 0

    def add(self, ids: np.ndarray, document: int, ends: list[int], *, context: int = 0, offset: int = 0) -> None:
        """Ids that begin `offset` tokens into their document. They may be cut at `ends`, the last of which is their
        own; no two are further apart than a row is long."""
        left = _Left(ids, document, context, offset, ends)
        if left.tokens:
            self._held += left.tokens
            self._put(left)

    def rows(self, *, last: bool = False) -> Iterator[list[Piece]]:
        """Full rows; `last`: all that is left, too."""
        while self._held > (0 if last else HOLD):
            row = self._row()
            self._held -= sum(len(piece.ids) for piece in row)
            yield row

    def _row(self) -> list[Piece]:
        seed = self._long.popleft() if self._long else self._pop(self._sizes.bit_length() - 1)
        taken, donor, given = self._best_start(seed)
        row = [seed.take(taken)]
        room = self.length - taken
        if donor is not None:
            self._remove(donor)
            row.append(donor.take(given))
            self._put(donor)
            room -= given
        if seed.tokens:
            self._put(seed, first=True)
        while size := self._fitting(room):
            piece = self._pop(size)
            row.append(piece.take(size))
            room -= size
        return row

    def _best_start(self, seed: _Left) -> tuple[int, _Left | None, int]:
        """How many tokens of `seed` to take, and from which other document how many, if one is to be cut."""
        whole = seed.tokens if seed.tokens <= self.length else 0
        starts = [whole] if whole else self._starts(seed)
        best, waste = starts[0], self.length
        for taken in starts:
            room = self.length - taken
            left = room - self._fitting(room)
            if left < waste:
                best, waste = taken, left
                if not left:
                    break
        if waste <= self._tolerance:
            return best, None, 0
        donor: _Left | None = None
        given = 0
        for other in self._donors(seed):
            for taken in starts:
                room = self.length - taken
                some = other.upto(room)
                if some >= self._shortest and room - some < waste:
                    best, donor, given, waste = taken, other, some, room - some
                    if waste <= self._tolerance:
                        return best, donor, given
        return best, donor, given

    def _starts(self, seed: _Left) -> list[int]:
        """Beginnings of a long document that a row may take, the longest first."""
        last = bisect_right(seed.ends, seed.begin + self.length, seed.at)
        found = [end - seed.begin for end in reversed(seed.ends[max(seed.at, last - LOOK_BACK) : last])]
        return [found[0], *(one for one in found[1:] if one >= self.length // 2)]

    def _donors(self, seed: _Left) -> list[_Left]:
        """Documents that may be cut: the longest short ones, then long ones."""
        found: list[_Left] = []
        sizes = self._sizes
        while sizes and len(found) < DONORS:
            size = sizes.bit_length() - 1
            found += [one for one in self._short[size] if len(one.ends) - one.at > 1][: DONORS - len(found)]
            sizes ^= 1 << size
        return [*found, *(self._long[at] for at in range(min(2, len(self._long))))]

    def _fitting(self, room: int) -> int:
        """The size of the largest short piece that fits, or 0."""
        return (self._sizes & ((2 << room) - 1)).bit_length() - 1 if room > 0 and self._sizes & ((2 << room) - 1) else 0

    def _put(self, left: _Left, *, first: bool = False) -> None:
        size = left.tokens
        if size > self.length:
            (self._long.appendleft if first else self._long.append)(left)
            return
        self._short[size].append(left)
        self._sizes |= 1 << size

    def _pop(self, size: int) -> _Left:
        piece = self._short[size].popleft()
        if not self._short[size]:
            self._sizes ^= 1 << size
        return piece

    def _remove(self, left: _Left) -> None:
        size = left.tokens
        if size > self.length:
            self._long.remove(left)
            return
        self._short[size].remove(left)
        if not self._short[size]:
            self._sizes ^= 1 << size
