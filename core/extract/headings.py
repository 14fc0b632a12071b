"""Which line of a plain text is a heading: by its number, its Markdown sign, or by standing alone and being short."""

from __future__ import annotations

import regex

LONGEST = 80
"""Characters of a heading; an ideograph counts twice."""

_CHAPTER = regex.compile(
    r"""\s*(?:
      (?P<sharps>\#{1,6})\s+\S
    | 第\s*[\d零〇一二三四五六七八九十百千两]+\s*(?P<unit>[编卷部篇章回节節條条])(?:[\s\u3000：:、]|$|\p{Han})
    | (?P<zh>[一二三四五六七八九十]{1,3})、\S
    | (?P<en>(?i:chapter|part|book|section|appendix|article))\s+(?:\d+|[IVXLC]+|[A-Z])\b
    | (?P<number>\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+(?=\p{Lu}|\p{Han})
    )""",
    regex.VERBOSE,
)
_ENDS_SENTENCE = regex.compile(r"""[.!?。！？｡…;；,，、][\"'”’»」』）)\]】》〉]*$""")
_NO_HEADING = regex.compile(r"\s*(?:[-*•·▪–+>|]|\(?\d+[.)]\s)|.* \| ")
_WIDE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
_UNITS = {"编": 1, "卷": 1, "部": 1, "篇": 1, "章": 1, "回": 1, "节": 2, "節": 2, "條": 3, "条": 3}


def level(line: str) -> int:
    """1 the topmost, 0: no heading by its form. Numbered paragraphs, which end as sentences do, are none."""
    line = line.strip()
    found = _CHAPTER.match(line)
    if found is None or not short(line) or (_ENDS_SENTENCE.search(line) and found["sharps"] is None):
        return 0
    if found["sharps"]:
        return len(found["sharps"])
    if found["unit"]:
        return _UNITS[found["unit"]]
    return 1 + found["number"].count(".") if found["number"] else 1


def leads(piece: str) -> bool:
    """Whether a sentence, with the line ends after it, belongs to what follows: a heading, or `… as follows:`."""
    words = piece.strip()
    if not words or "\n" in words or "\r" in words:
        return False
    if level(words) or (words[-1] in ":：" and short(words)):
        return True
    alone = piece[len(piece.rstrip()) :].replace("\r\n", "\n").count("\n") + piece.count("\r") > 1
    plain = short(words) and not _ENDS_SENTENCE.search(words) and not _NO_HEADING.match(words)
    return alone and plain and any(char.isalpha() for char in words)


def short(line: str) -> bool:
    return len(line) <= LONGEST and width(line) <= LONGEST


def width(line: str) -> int:
    """How wide it is in print, an ideograph as two letters."""
    return len(line) + len(_WIDE.findall(line))
