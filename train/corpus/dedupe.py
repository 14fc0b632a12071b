"""Copies found across all parts: a range of sorted hashes at a time, so that memory holds little of any corpus.

A document is a copy if an earlier one (in the order of sources, files and rows) is equal, or shares a band and
is `similarity` alike by its whole signature. So what is kept depends on nothing but the texts and their order,
and the first of a kind is always kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from train.corpus import minhash, parts
from train.corpus.parts import COPY, Part

PARTS = "parts.json"
RANGE = 4_000_000
"""Documents whose hashes a worker sorts at a time: about 200 MB."""
_BLOCK = 1 << 15
_ROUNDS = 8
"""Different texts that a document is compared with, of those that share a band."""


@dataclass(frozen=True)
class DedupeTask:
    """One row of keys (0: the texts' hashes, then the bands), hashes in [low, high)."""

    work: Path
    row: int
    number: int
    low: int
    high: int
    similarity: float

    @property
    def told(self) -> Path:
        return self.work / f"dupes-{self.row:02d}-{self.number:04d}.npy"


def tasks(work: Path, documents: int, *, exact: bool, near: bool, similarity: float) -> list[DedupeTask]:
    rows = [*([0] if exact else []), *(range(1, 1 + minhash.BANDS) if near else ())]
    count = max(1, -(-documents // RANGE))
    cuts = [place * (1 << 64) // count for place in range(count + 1)]
    return [
        DedupeTask(work, row, number, cuts[number], cuts[number + 1], similarity)
        for row in rows
        for number in range(count)
    ]


def find(task: DedupeTask) -> int:
    """Write the copies of a range, sorted; how many there are."""
    if not task.told.exists():
        keys, documents = _members(task)
        found = _equal(task, keys, documents) if task.row == 0 else _alike(task, keys, documents)
        parts.save(task.told, np.sort(found, order=["copy", "of"]))
    return int(np.load(task.told, mmap_mode="r").shape[0])


def copies(work: Path, part: Part) -> dict[int, tuple[str, int, float]]:
    """{place in the part: (exact or near, number of the document that it repeats, how alike)}."""
    made: dict[int, tuple[str, int, float]] = {}
    for path in sorted(work.glob("dupes-*.npy")):
        found = np.load(path, mmap_mode="r")
        low, high = np.searchsorted(found["copy"], [part.first, part.first + part.documents])
        kind = "exact" if path.name.startswith("dupes-00-") else "near"
        for copy, of, alike in found[low:high].tolist():
            place = copy - part.first
            earlier = made.get(place)
            if earlier is None or (earlier[0] == kind and of < earlier[1]):
                made[place] = kind, of, alike
    return made


def all_parts(work: Path) -> tuple[Part, ...]:
    """The corpus's parts in order, as parts.json has them."""
    return _parts(work, (work / PARTS).stat().st_mtime_ns)[0]


def place_of(work: Path, document: int) -> tuple[Part, int]:
    """The part that holds a document, and its place there."""
    known, firsts = _parts(work, (work / PARTS).stat().st_mtime_ns)
    part = known[int(np.searchsorted(firsts, np.uint64(document), side="right")) - 1]
    return part, document - part.first


@lru_cache(maxsize=2)
def _parts(work: Path, _changed: int) -> tuple[tuple[Part, ...], np.ndarray]:
    known = tuple(Part(**one) for one in parts.read_json(work / PARTS))
    return known, np.array([part.first for part in known], dtype=np.uint64)


def _members(task: DedupeTask) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, documents) of the range that share their hash with another, sorted by both."""
    keys, documents = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.uint64)]
    for part in all_parts(task.work):
        row = np.load(task.work / f"{part.name}.keys.npy", mmap_mode="r")[task.row]
        low = int(np.searchsorted(row, np.uint64(task.low)))
        high = len(row) if task.high == 1 << 64 else int(np.searchsorted(row, np.uint64(task.high)))
        keys.append(np.array(row[low:high]))
        order = np.load(task.work / f"{part.name}.order.npy", mmap_mode="r")[task.row]
        documents.append(order[low:high].astype(np.uint64) + np.uint64(part.first))
    hashed, numbered = np.concatenate(keys), np.concatenate(documents)
    order = np.argsort(hashed, kind="stable")  # parts come in order, so equal hashes stay in the documents' order
    return _shared(hashed[order], numbered[order])


def _shared(keys: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those whose key is their neighbour's too."""
    if not len(keys):
        return keys, documents
    same = keys[1:] == keys[:-1]
    shared = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    return keys[shared], documents[shared]


def _firsts(keys: np.ndarray) -> np.ndarray:
    """(n,) for each place, the place at which its run of equal keys starts."""
    starts = np.concatenate([[True], keys[1:] != keys[:-1]])
    return np.maximum.accumulate(np.where(starts, np.arange(len(keys)), 0))


def _equal(task: DedupeTask, keys: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Equal in both halves of the hash: 128 bits."""
    if not len(keys):
        return np.empty(0, dtype=COPY)
    others = _gathered(task.work, "text", documents)
    order = np.lexsort((documents, others, keys))
    keys, others, documents = keys[order], others[order], documents[order]
    whole = np.cumsum(np.concatenate([[True], (keys[1:] != keys[:-1]) | (others[1:] != others[:-1])]))
    firsts = _firsts(whole)
    repeated = firsts != np.arange(len(firsts))
    return _copies(documents[repeated], documents[firsts[repeated]], np.ones(int(repeated.sum()), dtype=np.float32))


def _alike(task: DedupeTask, keys: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Each against the first of its band, those that differ against the first of themselves, and so on."""
    found = [np.empty(0, dtype=COPY)]
    for _ in range(_ROUNDS):
        if not len(keys):
            break
        firsts = _firsts(keys)
        others = np.flatnonzero(firsts != np.arange(len(firsts)))
        alike = np.empty(len(others), dtype=np.float32)
        for start in range(0, len(others), _BLOCK):
            block = others[start : start + _BLOCK]
            ours = _gathered(task.work, "sign", documents[block])
            alike[start : start + _BLOCK] = minhash.similar(
                ours, _gathered(task.work, "sign", documents[firsts[block]])
            )
        close = alike >= task.similarity
        found.append(_copies(documents[others[close]], documents[firsts[others[close]]], alike[close]))
        keys, documents = _shared(keys[others[~close]], documents[others[~close]])
    return np.concatenate(found)


def _copies(copy: np.ndarray, of: np.ndarray, alike: np.ndarray) -> np.ndarray:
    made = np.empty(len(copy), dtype=COPY)
    made["copy"], made["of"], made["alike"] = copy, of, alike
    return made


def _gathered(work: Path, what: str, documents: np.ndarray) -> np.ndarray:
    """The rows of `what` (text, sign) of these documents, wherever they lie."""
    known, firsts = _parts(work, (work / PARTS).stat().st_mtime_ns)
    order = np.argsort(documents, kind="stable")
    sorted_ = documents[order]
    at = np.searchsorted(firsts, sorted_, side="right") - 1
    bounds = [0, *(np.flatnonzero(at[1:] != at[:-1]) + 1).tolist(), len(at)]
    pieces = []
    for start, end in pairwise(bounds):
        part = known[int(at[start])]
        held = np.load(work / f"{part.name}.{what}.npy", mmap_mode="r")
        pieces.append(np.array(held[(sorted_[start:end] - np.uint64(part.first)).astype(np.int64)]))
    made = np.concatenate(pieces)
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return made[back]
