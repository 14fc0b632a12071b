"""Grammars (GBNF) of answers: types come from the schema, spans from `Verbatim` or `Anything`.

`Verbatim` lets a span be nothing but a piece of the text. Linear in the text: one or two rules a word, or an
ideograph. A span starts and ends at such pieces, never inside a grapheme, and stays within a sentence.
`Anything` gives the outline: the same for all texts, so that an engine compiles it once, and it takes every answer
that `Verbatim` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import regex

from core.extract.answer import Found
from core.extract.normal import Source
from core.extract.schema import label

SEPARATOR = " || "
PART = " | "
NONE = "none"

_ONE_BY_ONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_PIECE = regex.compile(
    r"(?:\p{Nd}[\p{M}\u200c\u200d]*)+(?:[.,](?:\p{Nd}[\p{M}\u200c\u200d]*)+)*"
    rf"|(?:(?![{_ONE_BY_ONE}])[\p{{L}}\p{{N}}_][\p{{M}}\u200c\u200d]*)+"
    r"|\X"
)
_OPENER = regex.compile(r"[\p{Ps}\p{Pi}\"'#@$€£¥&*~+]|\p{Sc}|\p{So}")
_PUNCTUATION = regex.compile(r"[\p{P}\p{Sm}\p{Sk}¦\p{Cf}\p{M} ]")
_NEVER_LAST = regex.compile(r"[\p{Ps}\p{Pi},;:，、；：¦\p{Pd}#@&]")


@dataclass(frozen=True, slots=True)
class Piece:
    """`starts`: a span may start here; `ends`: may end here; `joins`: may go on to the next piece."""

    start: int
    end: int
    starts: bool
    ends: bool
    joins: bool


def pieces(source: Source) -> list[Piece]:
    """Words, single ideographs and signs of the text, in order; spaces between them are nobody's."""
    spans = [match.span() for match in _PIECE.finditer(source.text) if match.group() != " "]
    made: list[Piece] = []
    finishes = False  # whether a span that reaches the next piece can come to an end
    for number in range(len(spans) - 1, -1, -1):
        start, end = spans[number]
        sign = source.text[start]
        joins = finishes and number + 1 < len(spans) and spans[number + 1][0] not in source.breaks
        ends = _NEVER_LAST.match(sign) is None
        finishes = ends or joins
        starts = finishes and (_PUNCTUATION.match(sign) is None or _OPENER.match(sign) is not None)
        made.append(Piece(start, end, starts, ends, joins))
    return made[::-1]


def literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Spans(Protocol):
    """Where a grammar's rules `span` and `spans` come from."""

    @property
    def possible(self) -> bool:
        """Whether there can be any."""

    def free(self) -> list[str]:
        """Rules for `span`: one, anywhere."""

    def rising(self, separator: str = SEPARATOR) -> list[str]:
        """Rules for `spans`: one or more, in the text's order, none over another."""


@dataclass(frozen=True)
class Verbatim:
    """Pieces of this text."""

    source: Source
    made: Sequence[Piece]

    @property
    def possible(self) -> bool:
        return any(piece.starts for piece in self.made)

    def free(self) -> list[str]:
        """Any piece to any later piece of its sentence."""
        starts = " | ".join(f"f{number}" for number, piece in enumerate(self.made) if piece.starts)
        return [f"span ::= {starts}", *(self._going_on("f", number) for number in range(len(self.made)))]

    def rising(self, separator: str = SEPARATOR) -> list[str]:
        """In the text's order, so that an answer ends and never repeats."""
        following: list[int | None] = [None] * (len(self.made) + 1)
        rules = []
        for number in range(len(self.made) - 1, -1, -1):
            following[number] = number if self.made[number].starts else following[number + 1]
            after = following[number + 1]
            rules.append(self._going_on("s", number, None if after is None else f"{literal(separator)} m{after}"))
            if self.made[number].starts:
                rules.append(f"m{number} ::= s{number}" + ("" if after is None else f" | m{after}"))
        return [f"spans ::= m{following[0]}", *rules[::-1]]

    def take(self, texts: Iterable[str], *, rising: bool = False) -> bool:
        """Whether `span` takes each of them or, with `rising`, `spans` all of them in this order."""
        at = 0
        for text in texts:
            end = self._end(text, at)
            if end is None:
                return False
            at = end if rising else 0
        return True

    def _end(self, text: str, first: int) -> int | None:
        """The number after the last piece of a span that reads so and starts at piece `first` or later."""
        for number in range(first, len(self.made)):
            piece = self.made[number]
            if piece.starts and self.source.text.startswith(text, piece.start):
                end, last = piece.start + len(text), number
                while self.made[last].end < end and self.made[last].joins:
                    last += 1
                if self.made[last].end == end and self.made[last].ends:
                    return last + 1
        return None

    def _going_on(self, prefix: str, number: int, after: str | None = None) -> str:
        """One piece's rule: its text, then the next piece, or the end (then perhaps `after`)."""
        piece = self.made[number]
        ways = [after] if after and piece.ends else []
        if piece.joins:
            gap = self.source.text[piece.end : self.made[number + 1].start]
            ways.append((literal(gap) + " " if gap else "") + f"{prefix}{number + 1}")
        rule = f"{prefix}{number} ::= {literal(self.source.text[piece.start : piece.end])}"
        if not ways:
            return rule
        return f"{rule} ({' | '.join(ways)})" + ("?" if piece.ends else "")


@dataclass(frozen=True)
class Anything:
    """Signs of this kind, as many as one likes: GBNF for one of them."""

    sign: str = r"[^|\n]"
    possible: ClassVar[bool] = True

    def free(self) -> list[str]:
        return [f"span ::= {self.sign}+"]

    def rising(self, separator: str = SEPARATOR) -> list[str]:
        return [f"spans ::= span ({literal(separator)} span)*", *self.free()]


def verbatim(source: Source) -> Verbatim:
    return Verbatim(source, pieces(source))


def quotes(spans: Verbatim, found: Iterable[Found], *, rising: bool = False) -> bool:
    """Whether all words of these records are spans; `rising`: those of each type in the text's order."""
    if not rising:
        return spans.take(text for one in found for text in (one.text, *(text for _, text in one.parts)))
    of: dict[str, list[str]] = {}
    for one in found:
        of.setdefault(one.type, []).append(one.text)
    return all(spans.take(texts, rising=True) for texts in of.values())


def lines(names: Iterable[str], bodies: Iterable[str], rules: Iterable[str]) -> str:
    """The whole grammar: `none`, or one line a type at most, in the schema's order."""
    heads = [f"{literal(label(name) + ': ')} {body}" for name, body in zip(names, bodies, strict=True)]
    made = []
    for number, head in enumerate(heads):
        rest = f"l{number + 1}" if number + 1 < len(heads) else None
        made.append(f"l{number} ::= {head}" + (f' ("\\n" {rest})? | {rest}' if rest else ""))
    return "\n".join([f"root ::= {literal(NONE)} | l0", *made, *rules]) + "\n"


def nothing() -> str:
    """For a text in which no span can start."""
    return f"root ::= {literal(NONE)}\n"
