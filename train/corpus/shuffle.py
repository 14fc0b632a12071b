"""A permutation of 0 … size - 1 that is computed, not kept: any place of it at once, in constant memory.

A Feistel network over pairs (left, right) of a rectangle that is hardly larger than `size` (Black and Rogaway,
"Ciphers with arbitrary finite domains", 2002); numbers beyond `size` are sent through again until they fall
inside ("cycle walking"), which keeps it one-to-one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np

ROUNDS = 6
_EVEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Shuffle:
    size: int
    key: tuple[int | str, ...]
    """What the order depends on, beside the size: a seed, a source's name, an epoch."""

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """The numbers at these places (each below `size`), as int64."""
        numbers = self._once(np.asarray(places, np.uint64))
        while len(outside := np.flatnonzero(numbers >= self.size)):
            numbers[outside] = self._once(numbers[outside])
        return numbers.astype(np.int64)

    def _once(self, places: np.ndarray) -> np.ndarray:
        wide, high = self._sides
        left, right = places // wide, places % wide
        for number, key in enumerate(self._keys):
            if number % 2:
                right = (right + _mixed(left, key) % wide) % wide
            else:
                left = (left + _mixed(right, key) % high) % high
        return left * wide + right

    @cached_property
    def _sides(self) -> tuple[Any, Any]:
        high = isqrt(max(0, self.size - 1)) + 1
        return np.uint64(-(-self.size // high) or 1), np.uint64(high)

    @cached_property
    def _keys(self) -> np.ndarray:
        digest = hashlib.blake2b(repr((self.size, *self.key)).encode(), digest_size=8 * ROUNDS)
        return np.frombuffer(digest.digest(), "<u8")


def _mixed(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """splitmix64's finisher: every bit of the value and the key moves every bit of the result."""
    mixed = values * _EVEN + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
