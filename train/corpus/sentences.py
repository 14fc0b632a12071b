"""Where sentences begin in a text, Chinese or Latin: the rules of core/extract/chunk.py, made for terabytes.

A cut stands before the first sign of the next sentence; white space belongs to what it follows. One fast search finds
every sign that may end a sentence; what it means is decided from its neighbours.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import numpy as np

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
_CJK_MARKS = "，。、；：？！「」『』“”"
_CLOSERS = "\"'”’»」』）)\\]】》〉"
_ENDS = re.compile(
    # what ends, all that goes on ending, what is closed behind it, the space after it
    rf"(?P<sign>[。！？｡…；.!?\n\r])(?P<more>[。！？｡…；]*|(?<=[.!?])[.!?]*)(?P<closed>[{_CLOSERS}]*)(?P<gap>\s*)"
)
_LINE_ENDS = re.compile(rf"[{_CJK}{_CJK_MARKS}.!?:;][ \t]*$")
_ROW = re.compile(r"(?:[-*•·▪–]|\d{1,3}[.)])[ \t]|[^\r\n]{0,400} \| ")
"""An item of a list or a row of a table: it begins something of its own."""
_OPENERS = "\"'“‘«(["
_ABBREVIATION = re.compile(
    r"""(?<![^\W_])(?: [A-Z\u00c0-\u00de\u0391-\u03a9\u0410-\u042f] | (?:[^\W\d_]\.)+[^\W\d_]
      | (?i:mr|mrs|ms|dr|prof|st|sr|jr|rev|hon|gen|col|lt|sgt|capt|gov|sen|rep|pres|vs|etc|cf|al|inc|ltd|co|corp|bros|no
        |vol|fig|eq|sec|ch|pp?|ed|eds|approx|dept|univ|est|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mt|ft|bd|ca|e\.g|i\.e)
      )$""",
    re.VERBOSE,
)
_MAY_END = re.compile(r"(?<![^\W\d_])(?i:inc|ltd|co|corp|bros|etc|al|jr|sr|est|(?:[^\W\d_]\.)+[^\W\d_])$", re.VERBOSE)
"""These end a sentence as often as not: a capital after them decides."""


def starts(text: str) -> np.ndarray:
    """Ascending places of the first sign of each sentence but the first."""
    made = []
    for match in _ENDS.finditer(text):
        start, end = match.span()
        if end - start == 2 and text[start] == "." and text[start + 1] == " ":  # by far the most frequent
            if not _runs_on(text, start, end):
                made.append(end)
        elif _ends_here(text, match):
            made.append(end)
    if made and made[-1] == len(text):
        made.pop()
    return np.array(made, np.int64)


def _ends_here(text: str, match: re.Match[str]) -> bool:
    sign, _, closed, gap = match.groups()
    lines = gap.count("\n") or gap.count("\r")
    if sign in "\n\r":
        lines += sign == "\n" or "\n" not in gap
        before = max(0, match.start() - 8)
        if lines > 1 or _ROW.match(text, match.end()):
            return True
        return _LINE_ENDS.search(text, before, match.start()) is not None
    if lines > 1:
        return True
    if sign in ".!?":
        if not gap and match.end() < len(text):
            return False
        if lines and (not closed or closed[-1] in _CJK_MARKS):
            return True
        if lines and _ROW.match(text, match.end()):
            return True
        return not _runs_on(text, match.start(), match.end())
    return _begins_a_sign(text, match.end())


def _runs_on(text: str, sign: int, end: int) -> bool:
    """Whether a Western ender is none: an abbreviation, an initial, or a small letter follows."""
    following = text[end : end + 1]
    while following and (following in _OPENERS or following.isspace()):
        end += 1
        following = text[end : end + 1]
    if following.islower():
        return True
    if text[sign] != ".":
        return False
    start = max(0, sign - 24)
    kind = _kind_of(text[max(start, text.rfind(" ", start, sign)) : sign])
    return kind == "abbreviation" or (kind == "may end" and not following.isupper())


@lru_cache(maxsize=1 << 15)
def _kind_of(before: str) -> str:
    """What the last word before a full stop is; words repeat, so that it is remembered."""
    if _MAY_END.search(before):
        return "may end"
    return "abbreviation" if _ABBREVIATION.search(before) else ""


def _begins_a_sign(text: str, place: int) -> bool:
    """Whether what stands there is a sign of its own, not a mark on the one before it."""
    following = text[place : place + 1]
    return not following or following.isascii() or unicodedata.category(following) not in ("Mn", "Me", "Mc", "Cf")


_KNOWLM = re.compile(r"[;!?；？。！\n]")


def knowlm_starts(text: str) -> np.ndarray:
    """Where KnowLM's preprocessing of Chinese text begins sentences: behind each of `;!?；？。！` and line ends."""
    made = [match.end() for match in _KNOWLM.finditer(text)]
    # its splitter puts a sign that follows another one at once to the sentence before
    kept = [place for place in made if place < len(text) and not _KNOWLM.match(text, place)]
    return np.array(kept, np.int64)
