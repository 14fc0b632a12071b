"""Grammars (GBNF) whose types come from the schema and whose spans can only be verbatim pieces of the text.

Linear in the text: one or two rules a word, or an ideograph. A span starts and ends at such pieces,
never inside a grapheme, and stays within a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex

from core.extract.normal import Source
from core.extract.schema import label

SEPARATOR = " || "
PART = " | "
NONE = "none"

_ONE_BY_ONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_PIECE = regex.compile(
    rf"(?:\p{{Nd}}\p{{M}}*)+(?:[.,](?:\p{{Nd}}\p{{M}}*)+)*"
    rf"|(?:(?![{_ONE_BY_ONE}])[\p{{L}}\p{{N}}_][\p{{M}}\u200c\u200d]*)+"
    r"|\X"
)
_OPENER = regex.compile(r"[\p{Ps}\p{Pi}\"'#@$€£¥&*~+]|\p{Sc}|\p{So}")
_PUNCTUATION = regex.compile(r"[\p{P}\p{Sm}\p{Sk}¦\p{Cf}\p{M}]")
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


def free_spans(source: Source, made: Sequence[Piece]) -> list[str]:
    """Rules for `span`: any piece to any later piece of its sentence."""
    starts = " | ".join(f"f{number}" for number, piece in enumerate(made) if piece.starts)
    return [f"span ::= {starts}", *(_going_on("f", source, made, number) for number in range(len(made)))]


def rising_spans(source: Source, made: Sequence[Piece], separator: str = SEPARATOR) -> list[str]:
    """Rules for `spans`: spans in the text's order that don't overlap, so that it ends and never repeats."""
    following: list[int | None] = [None] * (len(made) + 1)
    rules = []
    for number in range(len(made) - 1, -1, -1):
        following[number] = number if made[number].starts else following[number + 1]
        after = following[number + 1]
        rules.append(_going_on("s", source, made, number, None if after is None else f"{literal(separator)} m{after}"))
        if made[number].starts:
            rules.append(f"m{number} ::= s{number}" + ("" if after is None else f" | m{after}"))
    return [f"spans ::= m{following[0]}", *rules[::-1]]


def _going_on(prefix: str, source: Source, made: Sequence[Piece], number: int, after: str | None = None) -> str:
    """One piece's rule: its text, then the next piece, or the end (then perhaps `after`)."""
    piece = made[number]
    ways = [after] if after and piece.ends else []
    if piece.joins:
        gap = source.text[piece.end : made[number + 1].start]
        ways.append((literal(gap) + " " if gap else "") + f"{prefix}{number + 1}")
    rule = f"{prefix}{number} ::= {literal(source.text[piece.start : piece.end])}"
    if not ways:
        return rule
    return f"{rule} ({' | '.join(ways)})" + ("?" if piece.ends else "")


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
