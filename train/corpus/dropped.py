"""Samples of what is left out: of a source and rule those with the lowest marks, chosen by chance and in any order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from core.launchers.corpus import Dropped, Mask
from train.corpus import pii

SHOWN = 2000
"""Characters of a text that are kept."""


class Samples:
    """The `most` samples of each (source, outcome, rule)."""

    def __init__(self, most: int, masks: tuple[Mask, ...] = ()) -> None:
        self._most, self._masks = most, masks
        self._kept: dict[tuple[str, str, str], list[Dropped]] = {}

    def wants(self, source: str, outcome: str, rule: str, mark: str) -> bool:
        held = self._kept.get((source, outcome, rule), [])
        return len(held) < self._most or (self._most > 0 and mark < held[-1].mark)

    def add(self, one: Dropped) -> None:
        if not self.wants(one.source, one.outcome, one.rule, one.mark):
            return
        held = self._kept.setdefault((one.source, one.outcome, one.rule), [])
        shown = one.text[:SHOWN]
        if self._masks:
            shown = pii.mask(shown, self._masks)[0]
        held.append(one.model_copy(update={"text": shown}))
        held.sort(key=lambda sample: (sample.mark, sample.file, sample.offset))
        del held[self._most :]

    def update(self, others: Iterable[Dropped]) -> None:
        for one in others:
            self.add(one)

    def all(self) -> list[Dropped]:
        return [one for key in sorted(self._kept) for one in self._kept[key]]


def mark(file: str, offset: int) -> str:
    return hashlib.blake2b(f"{file}\0{offset}".encode("utf-8", "replace"), digest_size=8).hexdigest()
