"""Where sentences begin in a text, Chinese or Latin: the rules of core/extract/chunk.py, made for terabytes.

A cut stands before the first sign of the next sentence; white space belongs to what it follows. One fast search finds
every sign that may end a sentence; what it means is decided from its neighbours.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
_CJK_MARKS = "，。、；：？！「」『』“”"
_CLOSERS = "\"'”’»」』）)\\]】》〉"
_ENDS = re.compile(
    # what ends, all that goes on ending, what is closed behind it, the space after it
    rf"(?P<sign>[。！？｡…；.!?\n\r])(?P<more>[。！？｡…；]*|(?<=[.!?])[.!?]*)(?P<closed>[{_CLOSERS}]*)(?P<gap>\s*)"
)
_LINE_ENDS = re.compile(rf"[{_CJK}{_CJK_MARKS}.!?:;][ \t]*$")
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
    made = [match.end() for match in _ENDS.finditer(text) if _ends_here(text, match)]
    if made and made[-1] == len(text):
        made.pop()
    return np.array(made, np.int64)


def _ends_here(text: str, match: re.Match[str]) -> bool:
    sign, _, closed, gap = match.groups()
    lines = gap.count("\n") or gap.count("\r")
    if sign in "\n\r":
        lines += sign == "\n" or "\n" not in gap
        return lines > 1 or _LINE_ENDS.search(text, max(0, match.start() - 8), match.start()) is not None
    if lines > 1:
        return True
    if sign in ".!?":
        if not gap and match.end() < len(text):
            return False
        if lines and (not closed or closed[-1] in _CJK_MARKS):
            return True
        return not _runs_on(text, match.start(), match.end())
    return _begins_a_sign(text, match.end())


def _runs_on(text: str, sign: int, end: int) -> bool:
    """Whether a Western ender is none: an abbreviation, an initial, or a small letter follows."""
    following = text[end : end + 1]
    while following and following in _OPENERS:
        end += 1
        following = text[end : end + 1]
        if following.isspace():
            following = text[end:].lstrip()[:1]
    if following.islower():
        return True
    if text[sign] != ".":
        return False
    before = text[max(0, sign - 24) : sign]
    if _MAY_END.search(before):
        return not following.isupper()
    return _ABBREVIATION.search(before) is not None


def _begins_a_sign(text: str, place: int) -> bool:
    """Whether what stands there is a sign of its own, not a mark on the one before it."""
    following = text[place : place + 1]
    return not following or following.isascii() or unicodedata.category(following) not in ("Mn", "Me", "Mc", "Cf")


_KNOWLM = re.compile(r"[;!?；？。！\n]")


def knowlm_starts(text: str) -> np.ndarray:
    """Where KnowLM's preprocessing of Chinese text begins sentences: behind each of `;!?；？。！` and line ends."""
    made = [match.end() for match in _KNOWLM.finditer(text)]
    # its splitter puts a sign that follows another one at once to the sentence before
    kept = [place for place, after in zip(made, [*made[1:], -1], strict=True) if after != place + 1 and place < len(text)]
    return np.array(kept, np.int64)
