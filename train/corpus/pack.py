"""A document's sentences into samples of at most `length` tokens: the fewest, and the most even among those.

Everything here is about numbers: `ends` are the token offsets at which sentences end (ascending, the last one is the
document's length). The proofs stand in docs/guide/packing.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import UserError

Mode = Literal["filled", "even", "knowlm"]
"""filled: rows are filled to the brim with pieces of several documents (fill.py).
even: each document in its fewest samples, as even as can be; samples share rows where they fit.
knowlm: KnowLM's greedy samples, each a row of its own, which repeat and learn again what fits in front of them.
"""
KNOWLM_SHORTEST = 20
"""KnowLM drops samples of so few tokens."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [start, end) of a document; the first `context` of them belong to the sample before, too."""

    start: int
    end: int
    context: int = 0


def pack(ends: np.ndarray, length: int, mode: Mode = "even", overlap: int = 0) -> list[Span]:
    """No sentence may be longer than `length` (less `overlap`). With `overlap`, samples begin with up to so many
    tokens of whole sentences before them, as context that is not learned again."""
    if mode == "knowlm":
        return knowlm(ends, length)
    cuts = even(ends, length - overlap)
    spans, begin = [], 0
    for cut in cuts.tolist():
        before = _context(ends, begin, overlap) if overlap and begin else 0
        spans.append(Span(begin - before, cut, before))
        begin = cut
    return spans


def fewest(ends: np.ndarray, length: int) -> np.ndarray:
    """Where samples end if each takes all the sentences that fit: no other way needs fewer samples."""
    cuts: list[int] = []
    begin, total = 0, int(ends[-1])
    while begin < total:
        at = int(np.searchsorted(ends, begin + length, "right")) - 1
        if at < 0 or ends[at] == begin:
            raise UserError(
                "A sentence is longer than a sample of {length} tokens.",
                remedy="Cut it before, or make samples longer.",
                length=length,
            )
        begin = int(ends[at])
        cuts.append(begin)
    return np.array(cuts, np.int64)


def even(ends: np.ndarray, length: int) -> np.ndarray:
    """Where samples end: as few as `fewest`, and of all such ways the one whose lengths differ least (least sum of
    squares). O(n·w), n sentences, w sentences a window: cut j lies between the j-th cut made greedily from the end
    and from the start; those windows don't overlap."""
    latest = fewest(ends, length)
    if len(latest) <= 1:
        return latest
    total = int(ends[-1])
    points = np.concatenate(([0], ends))
    earliest = (total - fewest((total - points[::-1])[1:], length))[::-1]  # where its samples begin: 0 first
    back: list[np.ndarray] = []
    here, cost = np.zeros(1, np.int64), np.zeros(1, np.int64)
    windows = []
    for low, high in zip([*earliest[1:].tolist(), total], latest.tolist(), strict=True):
        first, last = np.searchsorted(points, (low, high))
        there = points[first : last + 1]
        lengths = there[None, :] - here[:, None]
        costs = np.where((lengths <= length) & (lengths > 0), cost[:, None] + lengths**2, np.iinfo(np.int64).max)
        best = costs.argmin(0)
        back.append(best)
        windows.append(there)
        here, cost = there, costs[best, np.arange(len(there))]
        open_ = cost < np.iinfo(np.int64).max
        here, cost, back[-1], windows[-1] = here[open_], cost[open_], best[open_], there[open_]
    cuts = np.empty(len(latest), np.int64)
    at = 0
    for number in range(len(latest) - 1, -1, -1):
        cuts[number] = windows[number][at]
        at = int(back[number][at])
    return cuts


def knowlm(ends: np.ndarray, length: int) -> list[Span]:
    """KnowLM's samples: greedy to the right, then from each sample's start to the left as far as it still fits."""
    spans, begin = [], 0
    for cut in fewest(ends, length).tolist():
        before = _context(ends, begin, length - (cut - begin)) if begin else 0
        spans.append(Span(begin - before, cut, before))
        begin = cut
    return [span for span in spans if span.end - span.start > KNOWLM_SHORTEST]


def _context(ends: np.ndarray, begin: int, room: int) -> int:
    """Tokens of the whole sentences right before `begin` that fit into `room`."""
    at = int(np.searchsorted(ends, begin - room, "left"))
    start = 0 if begin <= room else int(ends[at])
    return begin - start
