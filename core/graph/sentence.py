"""The sentence that a span stands in: what a person reads to believe a record."""

from __future__ import annotations

import re

END = re.compile(
    r"[。！？!?…]+[”’」』\"')）]*"
    r"|\n+"
    r"|(?<!\b[A-Z])(?<!\b[DMS]r)(?<!\bMs)(?<!\bMrs)(?<!\bSt)(?<!\bNo)\.[\"')\]]*(?=\s+[^a-z\s])"
)
REACH = 300
"""Codepoints to look on either side; a text without a single full stop is cut there, marked by “…”."""


def sentence_around(text: str, start: int, end: int) -> str:
    """The sentence or sentences of `text` that hold `[start, end)`, codepoints. Reads only nearby text."""
    begin, cut_left = _begin(text, start)
    stop, cut_right = _stop(text, end)
    body = text[begin:stop].strip()
    return f"{'…' if cut_left else ''}{body}{'…' if cut_right else ''}"


def sentence_of(text: str, spans: list[tuple[int, int]]) -> str:
    """The sentences around several spans; those far apart are joined by “…”. The text's start where none is located."""
    if not spans:
        return text[:REACH].strip() + ("…" if len(text) > REACH else "")
    first, last = min(spans), max(spans, key=lambda span: span[1])
    if last[1] - first[0] <= 2 * REACH:
        return sentence_around(text, first[0], last[1])
    return f"{sentence_around(text, *first)} … {sentence_around(text, *last)}"


def _begin(text: str, start: int) -> tuple[int, bool]:
    left = max(0, start - REACH)
    begin, cut = left, left > 0
    # One further character: a full stop counts only where a new sentence is seen to follow.
    for match in END.finditer(text, left, start + 1):
        if match.end() <= start:
            begin, cut = match.end(), False
    return begin, cut


def _stop(text: str, end: int) -> tuple[int, bool]:
    right = min(len(text), end + REACH)
    match = END.search(text, end, right)
    return (match.end(), False) if match else (right, right < len(text))
