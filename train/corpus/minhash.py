"""How alike two texts are, from a few hundred bytes each: MinHash of word sequences, or of characters in Chinese.

Broder 1997; permutations by multiply-add-shift (Dietzfelbinger et al. 1997). A text's hashes depend on nothing but its
letters: case, punctuation and white space don't count.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np

BANDS, PER_BAND = 20, 6
"""Texts that are 0.8 alike share a band with probability 0.998, 0.7: 0.92, 0.5: 0.27; `similar` then decides."""
HASHES = BANDS * PER_BAND
WORDS, CHARACTERS = 5, 8
"""In a sequence: words of text with spaces, characters of Chinese."""
_BLOCK = 1 << 12
_NO_LETTERS = re.compile(r"[\W_]+")
_PRIME = np.uint64(0x100000001B3)  # odd, so that it has an inverse modulo 2**64
_INVERSE = np.uint64(pow(0x100000001B3, -1, 1 << 64))


def signature(text: str, *, chinese: bool) -> np.ndarray:
    """(HASHES,) uint32. Two signatures agree in a share of places that estimates the Jaccard similarity (± 0.04)."""
    grams = _characters(text) if chinese else _words(text)
    lowest = np.full(HASHES, 0xFFFFFFFF, dtype=np.uint32)
    multiply, add = _permutations()
    for start in range(0, len(grams), _BLOCK):
        block = grams[start : start + _BLOCK]
        hashed = ((multiply[:, None] * block[None, :] + add[:, None]) >> np.uint64(32)).astype(np.uint32)
        np.minimum(lowest, hashed.min(axis=1), out=lowest)
    return lowest


def bands(signatures: np.ndarray) -> np.ndarray:
    """(n, HASHES) uint32 -> (BANDS, n) uint64: texts of whose signatures a band is equal have equal numbers there."""
    rows = signatures.reshape(len(signatures), BANDS, PER_BAND).astype(np.uint64)
    made = np.full((len(signatures), BANDS), np.uint64(0x9E3779B97F4A7C15))
    for place in range(PER_BAND):
        made = _mixed(made ^ rows[:, :, place] * np.uint64(0xFF51AFD7ED558CCD))
    return np.ascontiguousarray(made.T)


def similar(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, HASHES), (n, HASHES) -> (n,) estimated similarity."""
    return (first == second).mean(axis=1, dtype=np.float32)


def _words(text: str) -> np.ndarray:
    """Hashes of all sequences of WORDS words, each once; of the whole text where it has fewer."""
    letters = f" {_NO_LETTERS.sub(' ', text.lower()).strip()} ".encode("utf-8", "replace")
    raw = np.frombuffer(letters, dtype=np.uint8)
    gaps = np.flatnonzero(raw == 32)
    step = max(1, min(WORDS, len(gaps) - 1))
    before = _prefixes(raw.astype(np.uint64))
    # from the gap before a sequence's first word to the gap after its last
    return np.unique(_between(before, gaps[:-step], gaps[step:] + 1))


def _characters(text: str) -> np.ndarray:
    letters = _NO_LETTERS.sub("", text.lower()).encode("utf-32-le", "replace")
    codes = np.frombuffer(letters, dtype="<u4").astype(np.uint64)
    step = max(1, min(CHARACTERS, len(codes)))
    starts = np.arange(max(0, len(codes) - step + 1))
    return np.unique(_between(_prefixes(codes), starts, starts + step))


def _prefixes(values: np.ndarray) -> np.ndarray:
    """Of a polynomial hash: prefix i holds the first i values, each times PRIME to the power of its place."""
    made = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum((values + np.uint64(1)) * _powers(_PRIME, len(values)), out=made[1:])
    return made


def _between(before: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The hash of the values from starts to ends, wherever they stand."""
    return _mixed((before[ends] - before[starts]) * _powers(_INVERSE, len(before))[starts])


def _powers(base: np.uint64, count: int) -> np.ndarray:
    """base**0 … base**(count - 1) modulo 2**64; kept for texts of usual length."""
    size = 1 << max(16, int(count).bit_length())
    made = _kept_powers(int(base), size) if size <= 1 << 20 else _made_powers(int(base), size)
    return made[:count]


@cache
def _kept_powers(base: int, size: int) -> np.ndarray:
    return _made_powers(base, size)


def _made_powers(base: int, size: int) -> np.ndarray:
    made = np.full(size, np.uint64(base))
    made[0] = 1
    return np.cumprod(made, dtype=np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """splitmix64's finish: every bit of the input shows in every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@cache
def _permutations() -> tuple[np.ndarray, np.ndarray]:
    """Fixed for ever: corpora are compared by what they say. Multipliers odd."""
    numbers = _mixed(np.arange(1, 2 * HASHES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return numbers[:HASHES] | np.uint64(1), numbers[HASHES:]
