"""Which encoding a text file is in: byte order marks, then strict UTF-8, then what is plausible."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts the same
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 1 << 20
_PLAUSIBLE = 0.75  # real Chinese text: 0.95 and more of its characters are on the common plane of its charset


def encoding_of(path: Path) -> str:
    """A codec's name; reads the whole file once where there is no mark, in constant memory.

    A file that is UTF-8 but for a few broken bytes is called UTF-8: read it with errors="replace".
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
        for mark, encoding in _MARKS:
            if sample.startswith(mark):
                return encoding
        if (unmarked := _unmarked_utf16(sample)) is not None:
            return unmarked
        file.seek(0)
        if _is_utf8(iter(lambda: file.read(_SAMPLE), b"")):
            return "utf-8"
    return _guess(sample)


def _is_utf8(blocks) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in blocks:
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _unmarked_utf16(sample: bytes) -> str | None:
    """Latin text in UTF-16 has a zero in every second byte."""
    for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
        if len(zeros) > 8 and zeros.count(0) > 0.6 * len(zeros):
            return encoding
    return None


def _guess(sample: bytes) -> str:
    broken = len(_REPLACED.findall(sample.decode("utf-8", "replace")))
    if len(_UTF8_CHARACTER.findall(sample)) > 20 * broken:
        return "utf-8"
    if _is_korean(sample):
        return "euc_kr"
    if _is_western(sample):
        return "cp1252"
    scores = {encoding: _score(sample, encoding, common) for encoding, common in _PLANES.items()}
    best = max(scores, key=lambda encoding: scores[encoding])
    return best if scores[best] >= _PLAUSIBLE else _charset_normalizer(sample)


def _is_korean(sample: bytes) -> bool:
    """Hangul's bytes are also those of common Chinese characters, but a longer Chinese text has others too."""
    letters = [char for char in _decoded(sample, "euc_kr") or "" if ord(char) > 0x7F and char > "\u303f"]
    return len(letters) >= 20 and all("\uac00" <= char <= "\ud7a3" for char in letters)


def _is_western(sample: bytes) -> bool:
    """Latin-1 as Windows writes it: few letters with accents, nearly all of them those of Western Europe."""
    text = _decoded(sample, "cp1252") or ""
    beyond = [char for char in text if ord(char) > 0x7F]
    letters = sum(map(str.isalpha, text))
    few = sum(map(str.isalpha, beyond)) <= 0.3 * letters
    return bool(beyond) and few and sum(char in _WESTERN for char in beyond) >= 0.95 * len(beyond)


def _score(sample: bytes, encoding: str, common: Callable[[str], bool]) -> float:
    """Share of the non-ASCII characters, ideographic punctuation aside, that are common in that charset."""
    text = _decoded(sample, encoding) or ""
    letters = [char for char in text if ord(char) > 0x7F and not "\u2010" <= char <= "\u303f" and char < "\uff00"]
    return sum(map(common, letters)) / len(letters) if letters else 0.0


def _first_plane(charset: str, low: int, high: int) -> Callable[[str], bool]:
    """Whether a character's first byte lies where the charset keeps its common characters."""

    def common(char: str) -> bool:
        try:
            raw = char.encode(charset)
        except UnicodeEncodeError:
            return False
        return len(raw) == 2 and low <= raw[0] <= high

    return common


_PLANES: dict[str, Callable[[str], bool]] = {
    "gb18030": _first_plane("gb2312", 0xB0, 0xD7),
    "big5": _first_plane("big5", 0xA4, 0xC6),
    "shift_jis": lambda char: "\u3040" <= char <= "\u30ff" or _first_plane("shift_jis", 0x88, 0x97)(char),
    "euc_jp": lambda char: "\u3040" <= char <= "\u30ff" or _first_plane("euc_jp", 0xB0, 0xCF)(char),
}
_WESTERN = frozenset("àâäáãåæçéèêëíìîïñóòôöõøœùúûüýÿßÀÂÄÁÃÅÆÇÉÈÊËÍÎÏÑÓÔÖÕØÙÚÛÜ‘’“”«»–—…·°§©®€£¡¿ºª\xa0")
_REPLACED = re.compile("\ufffd+")
_UTF8_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def _charset_normalizer(sample: bytes) -> str:
    """For single-byte charsets; Windows' Latin-1 where it has no opinion, since that reads any bytes."""
    from charset_normalizer import from_bytes

    found = from_bytes(sample[: 1 << 16], cp_exclusion=["gb18030", "gbk", "gb2312", "big5", "utf_16", "utf_32"]).best()
    return found.encoding if found else "cp1252" if _decoded(sample, "cp1252") is not None else "latin-1"


def _decoded(sample: bytes, encoding: str) -> str | None:
    """None where it can't be in that encoding. The sample may end inside a character."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return None
