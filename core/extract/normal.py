"""Text as prompts and answers hold it, with the way back to the original's codepoints.

Normalised text has no newline and no `|`, so answers that quote it need no escaping: each run of
white space, control characters and lone surrogates becomes one space, `|` becomes `¦`. All other
characters stay as they are, one for one.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import regex

SKIPPED = " … "
_BARS = str.maketrans({"|": "¦", "｜": "¦"})
_ODD = re.compile("[\x00-\x1f\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff|｜]")
"""What normalising changes, beside spaces in a row: the gaps of `_WORD`, in the words of the faster module."""
_WORD = regex.compile(r"[^\p{Cc}\p{Cs}\p{Z}]+")


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
    if _ODD.search(text, start, end) is None and text.find("  ", start, end) < 0:
        return _as_it_is(text, start, end, sentence_starts)
    pieces: list[str] = []
    offsets: list[int] = []
    breaks: set[int] = set()
    coming = sorted((position for position in sentence_starts if start < position < end), reverse=True)
    last = start
    for word in _WORD.finditer(text, start, end):
        first, behind = word.span()
        if pieces:
            pieces.append(" ")
            offsets.append(last)
        while coming and coming[-1] < behind:
            place = len(offsets) + max(0, coming.pop() - first)
            if place:
                breaks.add(place)
        pieces.append(word.group().translate(_BARS))
        offsets.extend(range(first, behind))
        last = behind
    return Source("".join(pieces), array("I", [*offsets, last]), frozenset(breaks))


def _as_it_is(text: str, start: int, end: int, sentence_starts: tuple[int, ...]) -> Source:
    """The same for a piece that has nothing to change but spaces around, as nearly all have."""
    piece = text[start:end]
    first = start + len(piece) - len(piece.lstrip(" "))
    made = piece.strip(" ")
    last = first + len(made) if made else start
    inside = (at + (text[at] == " ") for at in sentence_starts if first < at < last)
    return Source(made, range(first if made else start, last + 1), frozenset(at - first for at in inside))


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
