"""What fills a template's slots: names/KIND.txt, one name a line, and the numbers and dates below.

A line with slots is a pattern (`University of {city}`), filled from the same split; `40* ` before a line makes it forty
times as likely. Lines without slots are split by their hash, about 80% train and 20% kept_out, so that a kept-out name
is made of nothing that training ever shows; `# free` as a file's first line keeps it whole (weekdays, say).
A file whose name starts with `_` holds parts of other names and is no kind of its own.
"""

from __future__ import annotations

import hashlib
import random
import re
from bisect import bisect
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Literal

from train.starter.numbers import NUMBERS

Split = Literal["train", "kept_out"]
LISTS = Path(__file__).parent / "names"
LINE = re.compile(r"(?:(\d+)\* )?(.*)")
SLOT = re.compile(r"\{([a-z_]+)\}")
TRIES = 60  # a pattern that never yields a word of its own split is used all the same

Line = str | tuple[str, ...]  # a name, or a pattern's literals and kinds in turns


@cache
def kinds() -> frozenset[str]:
    """Every kind that a template may name."""
    files = {path.stem for path in LISTS.glob("*.txt") if not path.name.startswith("_")}
    return frozenset(files | {kind for kind in NUMBERS if not kind.startswith("_")} | {"acronym"})


@lru_cache(1 << 16)
def side(name: str) -> Split:
    """Which split a name belongs to, for ever."""
    return "kept_out" if hashlib.sha256(name.lower().encode()).digest()[0] % 5 == 0 else "train"


@cache
def names(split: Split) -> Names:
    return Names(split)


class Names:
    """All names of one split; files are read when first asked for."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.lists: dict[str, tuple[list[Line], list[int]]] = {}

    def fill(self, kind: str, rng: random.Random) -> str:
        if number := NUMBERS.get(kind):
            return number(rng)
        if kind == "acronym":
            return self.drawn(_acronym, rng)
        lines, weights = self.lists.get(kind) or self.read(kind)
        for _ in range(TRIES):
            line = lines[bisect(weights, rng.randrange(weights[-1]))]
            if isinstance(line, str):
                return line
            text = "".join([part if at % 2 == 0 else self.fill(part, rng) for at, part in enumerate(line)])
            # Brad + shaw may be a surname of the other split's list.
            if " " in text or side(text) == self.split:
                break
        return text

    def drawn(self, draw: Callable[[random.Random], str], rng: random.Random) -> str:
        """An invented name of this split: drawn until one is."""
        while side(name := draw(rng)) != self.split:
            pass
        return name

    def read(self, kind: str) -> tuple[list[Line], list[int]]:
        path = LISTS / f"{kind}.txt"
        text = path.read_text(encoding="utf-8").splitlines()
        free = bool(text) and text[0].strip() == "# free"
        lines: list[Line] = []
        weights = []
        for number, line in enumerate(text, start=1):
            match = LINE.fullmatch(line.strip())
            if not match or not match[2] or line.startswith("#"):
                continue
            parts = SLOT.split(match[2])
            if unknown := [part for part in parts[1::2] if not _known(part)]:
                raise ValueError(f"{path}:{number}: unknown kind {unknown[0]!r} in a pattern")
            if free or len(parts) > 1 or side(match[2]) == self.split:
                lines.append(tuple(parts) if len(parts) > 1 else match[2])
                weights.append(int(match[1] or 1))
        if not lines:
            raise ValueError(f"{path}:1: no name for the split {self.split!r}: add names, or '# free' as first line")
        self.lists[kind] = lines, list(accumulate(weights))
        return self.lists[kind]


def _known(kind: str) -> bool:
    return kind in NUMBERS or kind == "acronym" or (LISTS / f"{kind}.txt").exists()


def _acronym(rng: random.Random) -> str:
    """BRDC, UNAPO: some can be spoken."""
    if rng.random() < 0.5:
        return "".join(rng.choices("ABCDEFGHIKLMNPRSTUVW", k=rng.choice((3, 3, 3, 4, 4, 5))))
    consonants, vowels = "BCDFGHKLMNPRSTV", "AEIOU"
    letters = [rng.choice(vowels if at % 2 else consonants) for at in range(rng.choice((4, 5, 5, 6)))]
    return "".join(letters[rng.choice((0, 0, 1)) :])
