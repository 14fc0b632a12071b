"""Sentences that are longer than a sample, cut at the best place inside: as core/extract/chunk.py cuts its own."""

from __future__ import annotations

import re

import numpy as np

from train.corpus.tokens import Tokenizer

SIGNS = (re.compile(r"[；;：:—][ \t]*|\r\n?|\n"), re.compile(r"[，,、][ \t]*"), re.compile(r"\s+"))
"""From the strongest to the weakest; after those, any two characters may be parted."""


def cut_long(text: str, ends: list[int], limit: int, tokenizer: Tokenizer, *, framed: int) -> list[int]:
    """`ends` with more of them, so that no sentence is longer than `limit`. `framed`: tokens around the text's own.

    A piece ends behind the last strong sign in its second half, else the last comma, gap or character; never inside
    a character, unless one character has more tokens than the limit.
    """
    front = framed - (tokenizer.vocabulary.eos is not None)
    levels = _Levels(text, tokenizer, front)
    made: list[int] = []
    begin = 0
    for end in ends:
        while end - begin > limit:
            begin = levels.best(begin, limit)
            made.append(begin)
        made.append(end)
        begin = end
    return made


class _Levels:
    """The token offsets of each level's places, found when first asked for."""

    def __init__(self, text: str, tokenizer: Tokenizer, front: int) -> None:
        self._text, self._tokenizer, self._front = text, tokenizer, front
        self._found: dict[int, np.ndarray] = {}

    def best(self, begin: int, limit: int) -> int:
        for level in range(len(SIGNS) + 1):
            places = self._places(level)
            last = int(np.searchsorted(places, begin + limit, "right")) - 1
            least = begin + (limit // 2 if level < len(SIGNS) else 0)
            if last >= 0 and places[last] > least:
                return int(places[last])
        return begin + limit

    def _places(self, level: int) -> np.ndarray:
        if level not in self._found:
            places = np.arange(1, len(self._text))
            if level < len(SIGNS):
                places = np.array([match.end() for match in SIGNS[level].finditer(self._text)], np.int64)
            self._found[level] = np.unique(self._tokenizer.cut([self._text], [places])[0].at) + self._front
        return self._found[level]
