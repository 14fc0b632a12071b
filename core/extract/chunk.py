"""Cut a document where sentences end, so that each piece fits a prompt and a grammar.

Positions count codepoints of the document; no cut is inside a grapheme, and none right after a heading.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import regex

from core.extract.headings import leads

# Characters a prompt holds well: a grammar has two rules a word, or a Chinese character.
LIMIT = 600
LIMIT_IDEOGRAPHS = 300

_CLOSERS = r"[\"'”’»」』）)\]】》〉]*"
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}，。、；：？！「」『』“”"
_BOUNDARY = regex.compile(
    rf"""
      (?:[。！？｡]|[…]+|；(?!\s*$))+ {_CLOSERS} [ \t]*            # Chinese and Japanese enders
    | (?<western>[.!?]+ {_CLOSERS}) (?:[ \t]+ | (?=[\r\n]|$) )   # Western ones, before a gap
    | [ \t]*(?:\r\n?|\n)[ \t]*(?:(?:\r\n?|\n)[ \t]*)+                    # an empty line
    | (?<=[{_CJK}.!?:;][ \t]*)(?:\r\n?|\n)+                            # a line's end after an ender or a CJK sign
    | (?:\r\n?|\n)(?=[ \t]*(?:[-*•·▪–]|\d{{1,3}}[.)])[ \t])              # before an item of a list
    | (?:\r\n?|\n)(?=[^\r\n]{{0,400}}[ ]\|[ ])                            # before a table's row
    """,
    regex.VERBOSE,
)
_ABBREVIATION = regex.compile(
    r"""(?<![\p{L}\p{N}]) (?: \p{Lu} | (?:\p{L}\.)+\p{L}
      | (?i:mr|mrs|ms|dr|prof|st|sr|jr|rev|hon|gen|col|lt|sgt|capt|gov|sen|rep|pres|vs|etc|cf|al|inc|ltd|co|corp|bros|no
        |vol|fig|eq|sec|ch|pp?|ed|eds|approx|dept|univ|est|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mt|ft|bd|ca|e\.g|i\.e)
      ) $""",
    regex.VERBOSE,
)
# these end a sentence as often as not: a capital after them decides
_MAY_END = regex.compile(r"(?<!\p{L})(?i:inc|ltd|co|corp|bros|etc|al|jr|sr|est|(?:\p{L}\.)+\p{L})$", regex.VERBOSE)
_INNER = (regex.compile(r"[；;：:—][ \t]*|\r\n?|\n"), regex.compile(r"[，,、][ \t]*"), regex.compile(r"\s+"))
_GRAPHEME = regex.compile(r"\X")
_IDEOGRAPH = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")


@dataclass(frozen=True, slots=True)
class Chunk:
    """`sentences` are the starts of its sentences, its own start first."""

    start: int
    end: int
    sentences: tuple[int, ...]


def chunks(text: str, limit: int = 0, overlap: int = 0) -> list[Chunk]:
    """Runs of sentences of at most `limit` codepoints (0: by the script), repeating `overlap` sentences of the last.

    Together they cover the whole text. A sentence over the limit is cut at its best inner boundary. A heading goes
    with what follows it. Nothing is repeated across a heading, nor more than a third of the limit.
    """
    limit = limit or default_limit(text)
    pieces = [piece for start, end in sentences(text) for piece in _within(text, start, end, limit)]
    made: list[Chunk] = []
    first = fresh = 0
    while fresh < len(pieces):
        last = fresh
        while last + 1 < len(pieces) and pieces[last + 1][1] - pieces[first][0] <= limit:
            last += 1
        last = _before_headings(text, pieces, fresh, last)
        made.append(Chunk(pieces[first][0], pieces[last][1], tuple(start for start, _ in pieces[first : last + 1])))
        fresh = last + 1
        first = _repeating(text, pieces, fresh, overlap, limit)
    return made


def _before_headings(text: str, pieces: list[tuple[int, int]], fresh: int, last: int) -> int:
    """The last piece of a chunk that is no heading, where more follows and anything else is left."""
    if last + 1 == len(pieces):
        return last
    for place in range(last, fresh - 1, -1):
        if not leads(text[slice(*pieces[place])]):
            return place
    return last


def _repeating(text: str, pieces: list[tuple[int, int]], fresh: int, overlap: int, limit: int) -> int:
    """The piece with which the next chunk starts, whose first new one is `fresh`."""
    if fresh >= len(pieces) or not overlap or leads(text[slice(*pieces[fresh])]):
        return fresh
    first = fresh
    while first > 0 and fresh - first < overlap and not leads(text[slice(*pieces[first - 1])]):
        start = pieces[first - 1][0]
        if pieces[fresh][0] - start > limit // 3 or pieces[fresh][1] - start > limit:
            break
        first -= 1
    return first


def default_limit(text: str) -> int:
    ideographs = sum(1 for _ in _IDEOGRAPH.finditer(text[:5000]))
    return LIMIT_IDEOGRAPHS if ideographs > 0.2 * min(len(text), 5000) else LIMIT


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence with the white space after it; they cover the text without gaps."""
    cuts = [0]
    for match in _BOUNDARY.finditer(text):
        if match.end() < len(text) and not _runs_on(text, match) and at_grapheme(text, match.end()):
            if len(cuts) > 1 and text[cuts[-1] : match.end()].isspace():
                cuts.pop()  # white space goes with the sentence before it
            cuts.append(match.end())
    return [(start, end) for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True) if end > start]


def _runs_on(text: str, match: regex.Match) -> bool:
    """Whether a Western ender is none: an abbreviation, an initial, or a small letter follows."""
    if match.group("western") is None:
        return False
    following = regex.compile(r"[\s\"'“‘«(\[]*(\S?)").match(text, match.end()).group(1)
    if following.islower():
        return True
    if text[match.start()] != ".":
        return False
    before = text[max(0, match.start() - 24) : match.start()]
    if _MAY_END.search(before):
        return not following.isupper()
    return _ABBREVIATION.search(before) is not None


def _within(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    made = []
    while end - start > limit:
        cut = _best_cut(text, start, start + limit)
        made.append((start, cut))
        start = cut
    return [*made, (start, end)]


def _best_cut(text: str, start: int, latest: int) -> int:
    """Behind the last strong sign in the second half, else the last comma, gap, or grapheme."""
    for sign in _INNER:
        cuts = [match.end() for match in sign.finditer(text, start + (latest - start) // 2, latest)]
        good = [cut for cut in cuts if cut <= latest and at_grapheme(text, cut)]
        if good:
            return good[-1]
    ends = _grapheme_ends(text, start, latest)
    place = bisect_right(ends, latest)
    return ends[place - 1] if place else ends[0]


def at_grapheme(text: str, position: int) -> bool:
    """Whether what a person sees as one character ends there."""
    if position >= len(text) or text[position].isascii():
        return not (0 < position < len(text) and text[position - 1 : position + 1] == "\r\n")
    if _alone(text[position]) and _alone(text[position - 1]):
        return True  # most of what is asked about; the rules are dear
    return position in _grapheme_ends(text, max(0, position - 64), position)


def _alone(char: str) -> bool:
    """A sign that clings to no other, and none to it by itself."""
    return "\u3400" <= char <= "\u9fff" or char.isascii() or char in "，。、；：？！…“”「」（）《》"


def _grapheme_ends(text: str, start: int, position: int) -> list[int]:
    """Ends of the graphemes from `start` on, the first one at or past `position` included."""
    ends = []
    for match in _GRAPHEME.finditer(text, start):
        ends.append(match.end())
        if match.end() >= position:
            break
    return ends
