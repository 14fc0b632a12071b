"""What a text is made of, counted at once: letters by script, digits, spaces, marks. In numpy."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np

OTHER, SPACE, LATIN, HAN, LETTER, DIGIT, ZH_MARK, LOST = range(8)
_HAN = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00))
_ZH_MARKS = "，。！？；：、…"


@dataclass(frozen=True, slots=True)
class Signs:
    """Characters of each kind; `letter` is neither Latin nor Han, `lost` is U+FFFD."""

    kinds: np.ndarray
    """The kind of every character."""
    counts: tuple[int, ...]

    @property
    def letters(self) -> int:
        return self.counts[LATIN] + self.counts[HAN] + self.counts[LETTER]

    @property
    def filled(self) -> int:
        """All but white space."""
        return max(1, sum(self.counts) - self.counts[SPACE])

    def share(self, kind: int) -> float:
        return self.counts[kind] / self.filled

    def of_letters(self, kind: int) -> float:
        return self.counts[kind] / max(1, self.letters)

    @property
    def language(self) -> str:
        """zh, en or "" by the script alone; a Han character says as much as three Latin letters."""
        han, latin = 3 * self.counts[HAN], self.counts[LATIN]
        whole = max(1, han + latin + self.counts[LETTER])
        if han / whole >= 0.5:
            return "zh"
        return "en" if latin / whole >= 0.5 else ""


def signs(text: str) -> Signs:
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4")
    kinds = _table()[np.minimum(codes, 0x1FFFF)]
    return Signs(kinds, tuple(np.bincount(kinds, minlength=8).tolist()))


@cache
def _table() -> np.ndarray:
    """The kind of each of the first 131,072 code points; what lies beyond is Han, but for planes that hold no text."""
    table = np.zeros(0x20000, dtype=np.uint8)
    for code in range(0x1FFFF):
        table[code] = _kind(chr(code))
    for first, end in _HAN:
        table[first:end] = HAN
    table[0x1FFFF] = HAN  # stands for planes 2 and 3
    return table


def _kind(char: str) -> int:
    category = unicodedata.category(char)
    if char.isspace() or category in ("Cc", "Zs"):
        return SPACE
    if char == "\ufffd":
        return LOST
    if char in _ZH_MARKS:
        return ZH_MARK
    if category.startswith("L") or category in ("Mn", "Mc"):
        return LATIN if ord(char) < 0x250 else LETTER
    return DIGIT if category == "Nd" else OTHER
