"""Printed lines as running text: paragraphs put together again across lines and pages, page headers left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import regex

from core.extract import headings
from core.extract.readers._paper import Paper, Writer

_BULLET = regex.compile(r"\s*(?:[-*•·▪◦●■–]\s|\(?\d{1,3}[.)、]\s?\p{L}|[（(][一二三四五六七八九十\d]{1,3}[)）])")
_ENDER = regex.compile(r"""[.!?。！？…:：;；][\"'”’»」』）)\]】》〉]*$""")
_CJK = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}，。、；：？！「」『』“”（）《》…—]")
_COMPOUND = regex.compile(r"\p{L}+-\p{L}+")
_BROKEN_WORD = regex.compile(r"(\p{Ll}+)[-‐\u00ad]$")
_SPACE = regex.compile(r"\s+")
HEADER_LINES = 2
"""Lines at a page's top and bottom that may be its header and footer."""


def flow(pages: Sequence[str], titles: Mapping[int, Mapping[str, int]]) -> Paper:
    """The pages' text as one. `titles`: of a page (counted from 0) the headings that the file names, with levels."""
    lines = [[line.strip() for line in page.split("\n") if line.strip()] for page in pages]
    repeated = _repeated(lines)
    compounds = {word.casefold() for page in pages for word in _COMPOUND.findall(page)}
    text = _Text(compounds)
    for number, page in enumerate(lines):
        text.page(_without(page, repeated), titles.get(number, {}))
    return text.end()


def folded(line: str) -> str:
    return _SPACE.sub("", line).casefold()


def _repeated(pages: Sequence[list[str]]) -> frozenset[str]:
    """First and last lines that half of the pages share, whatever number they hold."""
    counts = Counter(
        mark for page in pages for mark in {_mark(line) for line in (*page[:HEADER_LINES], *page[-HEADER_LINES:])}
    )
    least = max(3, sum(map(bool, pages)) // 2)
    return frozenset(mark for mark, count in counts.items() if count >= least)


def _mark(line: str) -> str:
    return regex.sub(r"\d+|\b[ivxlc]+\b", "#", folded(line))


def _without(page: list[str], repeated: frozenset[str]) -> list[str]:
    """A page of nothing else keeps them."""
    first, last = 0, len(page)
    while first < min(HEADER_LINES, last) and _mark(page[first]) in repeated:
        first += 1
    while last > max(first, len(page) - HEADER_LINES) and _mark(page[last - 1]) in repeated:
        last -= 1
    return page[first:last] or page


class _Text:
    def __init__(self, compounds: set[str]) -> None:
        self._out = Writer()
        self._compounds = compounds
        self._paragraph = ""
        self._open = False
        """Whether the paragraph goes on with the next line."""
        self._pages_due = 0

    def page(self, lines: list[str], titles: Mapping[str, int]) -> None:
        self._pages_due += 1
        usual = _usual_width(lines)
        for line in lines:
            level = titles.get(folded(line)) or headings.level(line)
            if level or _BULLET.match(line):
                self._open = False
            self._line(line)
            if level:
                self._close(level)
            else:
                wide = headings.width(line)
                ended = _ENDER.search(line) is not None
                self._open = wide >= (0.9 if ended else 0.6) * usual

    def end(self) -> Paper:
        self._close()
        self._out.pages += [self._out.length] * self._pages_due
        return self._out.paper()

    def _line(self, line: str) -> None:
        if self._open and self._paragraph:
            before = self._joint(line)
            at = len(before)
            self._paragraph = before + line
        else:
            self._close()
            at, self._paragraph = 0, line
        start = self._out.length + (2 if self._out.parts else 0) + at
        self._out.pages += [start] * self._pages_due
        self._pages_due = 0

    def _joint(self, line: str) -> str:
        """The paragraph as the line is put behind it: a word that was broken is whole again."""
        broken = _BROKEN_WORD.search(self._paragraph[-60:])
        if broken and line[0].islower():
            second = regex.match(r"\p{L}*", line).group()
            compound = f"{broken.group(1)}-{second}".casefold() in self._compounds
            return self._paragraph if compound else self._paragraph[:-1]
        if _CJK.match(self._paragraph[-1]) and _CJK.match(line[0]):
            return self._paragraph
        return self._paragraph + " "

    def _close(self, level: int = 0) -> None:
        self._out.block(self._paragraph, level=level)
        self._paragraph, self._open = "", False


def _usual_width(lines: Iterable[str]) -> int:
    widths = sorted(map(headings.width, lines))
    return widths[int(0.8 * (len(widths) - 1))] if widths else 0
