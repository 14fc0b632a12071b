"""Text of models and files made fit for formats that refuse some characters."""

from __future__ import annotations

import re

# What XML 1.0 refuses: control characters, lone surrogates, the two non-characters. CSV readers stumble over NUL too.
REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """The same text, one U+FFFD for each character that files can't hold; its length stays, so offsets hold."""
    return REFUSED.sub("\ufffd", text)
