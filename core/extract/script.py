"""Traditional Chinese characters as simplified ones, one for one, so that places in a text stay the same."""

from __future__ import annotations

from functools import cache

import regex

_HAN = regex.compile(r"\p{Han}")
_known: dict[str, str] = {}


def simplified(text: str) -> str:
    """Each character by itself, by OpenCC's table: a text of the same length. Words that differ stay different."""
    new = set(_HAN.findall(text)) - _known.keys()
    if new:
        chars = sorted(new)
        for char, other in zip(chars, _converter().convert("\n".join(chars)).split("\n"), strict=True):
            _known[char] = other if len(other) == 1 else char
    return "".join(_known.get(char, char) for char in text)


@cache
def _converter():
    import opencc

    return opencc.OpenCC("t2s")
