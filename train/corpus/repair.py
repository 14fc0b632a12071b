"""Text mended: wrongly decoded letters, HTML entities and control characters (ftfy), one form of letters and spaces.

What stands for something is kept: quotes stay curled, Chinese punctuation stays wide.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

ENCODING, FORM, SPACE = "encoding", "letters", "spaces"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,24});")
_MISREAD = re.compile("[\x80-\u04ff]")
"""Text that was decoded wrongly holds at least one of these, so most Chinese need not be asked further."""
_WIDE = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_HAS_WIDE = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]+")
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_INDENT = re.compile("(?m)^[\u00a0\u3000]+")
_LINE_ENDS = re.compile(r"[ \t]+(?=\n)|[ \t]+\Z")
_GAPS = re.compile(r"\n{3,}")


def repair(text: str) -> tuple[str, tuple[str, ...]]:
    """(the text mended, what was done to it)."""
    done = []
    mended = text
    if _wants_ftfy(text):
        mended = _fixed(text)
    if mended != text:
        done.append(ENCODING)
    formed = mended if unicodedata.is_normalized("NFC", mended) else unicodedata.normalize("NFC", mended)
    if _HAS_WIDE.search(formed):
        formed = formed.translate(_WIDE)
    if formed != mended:
        done.append(FORM)
    spaced = _spaced(formed)
    if spaced != formed:
        done.append(SPACE)
    return spaced, tuple(done)


def _spaced(text: str) -> str:
    text = _UNSEEN.sub("", text)
    text = _INDENT.sub("", text)
    text = _ODD_SPACE.sub(" ", text)
    return _GAPS.sub("\n\n", _LINE_ENDS.sub("", text)).strip()


def _wants_ftfy(text: str) -> bool:
    if _CONTROL.search(text) or ("&" in text and _ENTITY.search(text)):
        return True
    if text.isascii() or not _MISREAD.search(text):
        return False
    from ftfy.badness import is_bad

    return is_bad(text)


def _fixed(text: str) -> str:
    import ftfy

    return ftfy.fix_text(text, _settings())


@cache
def _settings():
    import ftfy

    return ftfy.TextFixerConfig(
        uncurl_quotes=False,
        fix_character_width=False,
        fix_latin_ligatures=False,
        normalization="NFC",
        explain=False,
    )
