"""How like an answer is to the expected one."""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass

LARGEST = 4_000_000
"""Product of two lengths up to which characters are compared; above it words, since the cost grows with it."""


@dataclass(frozen=True)
class Likeness:
    exact: bool
    """The same, but for white space around it."""
    contains: bool
    """The expected text stands in the answer, word for word."""
    similarity: float
    """0 nothing in common to 1 the same: twice the matching characters over all (Ratcliff and Obershelp 1988)."""


def compare(answer: str, expected: str) -> Likeness:
    """Both in Unicode's composed form, so that é is é however it was typed."""
    said, wanted = (unicodedata.normalize("NFC", text).strip() for text in (answer, expected))
    whole = len(said) * len(wanted) <= LARGEST
    matcher = difflib.SequenceMatcher(None, said if whole else said.split(), wanted if whole else wanted.split(), False)
    return Likeness(said == wanted, wanted in said, round(matcher.ratio(), 4))
