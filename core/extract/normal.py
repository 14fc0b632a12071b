"""Text as prompts and answers hold it, with the way back to the original's codepoints.

Normalised text has no newline and no `|`, so answers that quote it need no escaping: each run of
white space, control characters and lone surrogates becomes one space, `|` becomes `¦`. All other
characters stay as they are, one for one.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SKIPPED = " … "
_BARS = {"|": "¦", "｜": "¦"}


@dataclass(frozen=True)
class Source:
    """A normalised piece of a document; `offsets[i]` is where its character i starts there, and one more the end."""

    text: str
    offsets: Sequence[int]
    breaks: frozenset[int] = frozenset()
    """Positions in `text` at which a sentence starts, 0 aside."""
    own: int = 0
    """Where the piece itself starts: before it stands its context, of earlier places of the document."""

    def original(self, start: int, end: int) -> tuple[int, int]:
        return self.offsets[start], self.offsets[end]


def normalise(text: str, start: int = 0, end: int | None = None, sentence_starts: tuple[int, ...] = ()) -> Source:
    """`text[start:end]` normalised, without white space around. Sentence starts count in `text`."""
    end = len(text) if end is None else end
    chars: list[str] = []
    offsets: list[int] = []
    breaks: set[int] = set()
    coming = sorted(position for position in sentence_starts if start < position < end)
    last, gap_at = start, -1
    for position in range(start, end):
        char = text[position]
        if _is_gap(char):
            gap_at = position if gap_at < 0 else gap_at
            continue
        if gap_at >= 0 and chars:
            chars.append(" ")
            offsets.append(gap_at)
        gap_at = -1
        while coming and coming[0] <= position:
            coming.pop(0)
            if chars:
                breaks.add(len(chars))
        chars.append(_BARS.get(char, char))
        offsets.append(position)
        last = position + 1
    return Source("".join(chars), array("I", [*offsets, last]), frozenset(breaks))


def after(context: list[Source], piece: Source) -> Source:
    """The piece behind its context, `…` between them. No span of a grammar reaches over such a sign."""
    text, offsets, breaks = "", [], set()
    for source in context:
        breaks |= {len(text) + place for place in (0, *source.breaks, len(source.text) + 1)} - {0}
        text += source.text + SKIPPED
        offsets += [*source.offsets, *[source.offsets[-1]] * (len(SKIPPED) - 1)]
    breaks |= {len(text) + place for place in (0, *piece.breaks)} - {0}
    return Source(text + piece.text, array("I", [*offsets, *piece.offsets]), frozenset(breaks), len(text))


def tidy(text: str) -> str:
    """A span or name as normalised text would hold it."""
    return normalise(text).text


@lru_cache(maxsize=4096)
def _is_gap(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zs", "Zl", "Zp")
