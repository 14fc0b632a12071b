"""Read JSON, Python literals and what damage leaves of them into bags of words. One pass, never raises.

A bag is any bracketed group; its items are words or bags, with the key that stood before a colon. Brackets
that don't match, quotes that are missing or doubled, full-width signs, commas too many or too few: all are
read by what stands beside them, and counted in the book.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import regex

from core.extract.salvage_names import Book

MOST = 200_000  # words and brackets: more come from a model that could not end, or from somebody's joke
PATIENCE = 20  # strings without any end that are looked through for the next record
DEEPEST = 40  # brackets inside one another; deeper ones are read as if they weren't there
_OPEN = {"{": "{", "[": "[", "(": "(", "｛": "{", "［": "[", "（": "(", "【": "["}
_CLOSE = {"}": "{", "]": "[", ")": "(", "｝": "{", "］": "[", "）": "(", "】": "["}
_COMMAS, _COLONS = ",，;；、", ":：="
_QUOTES = {'"': '"“”＂', "“": '"“”＂', "”": '"“”＂', "＂": '"“”＂', "'": "'‘’", "‘": "'‘’", "’": "'‘’"}
_WIDE = frozenset("｛［（【｝］）】，；、：“”＂‘’")
_SPACE = regex.compile(r"\s*")
_ENDS = frozenset(",，;；、:：]})］｝）】")
_BEFORE_A_STRING = frozenset(",，;；、:：[{(［｛（【")
_SCAN = {quotes: regex.compile(rf"\\.|[{quotes}]|\n", regex.S) for quotes in set(_QUOTES.values())}
_PLAIN = {
    '"': regex.compile(r'"([^"\\\n]*)"(?=\s*(?:[,:\]})，：］｝）;；]|$))'),
    "'": regex.compile(r"'([^'‘’\\\n]*)'(?=\s*(?:[,:\]})，：］｝）;；]|$))"),
}
_BARE = regex.compile(r"(?:[^,，;；、:：=\[\]{}()［］｛｝（）【】\"“”＂\n]|(?<=\S)[(（][^()（）\n]{0,80}[)）])+")
_STRUCTURE = regex.compile(r"[\[\]{}\n:：［］｛｝]")
_TAIL = regex.compile(r"[\s,，:：;；、\]})］｝）【】\[{(［｛（]*\Z")
_RECORD = regex.compile(r"[\]})］｝）]\s*[,，]\s*[\[{(［｛（]")
_NEXT_LINE = regex.compile(r"[ \t\r]*[\"'“‘\[\]{}()]")
_NEXT = regex.compile(r"[\"'“‘][^\s,，:：\]})\"'“”‘’]|[\[{]")
_GOES_ON = regex.compile(r"\s*[,，:：;；]\s*[^\s\"'“‘\[{(\d]")
_ESCAPE = regex.compile(r"\\(u[0-9a-fA-F]{4}|.)", regex.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "", "f": ""}


@dataclass(slots=True)
class Word:
    text: str
    quoted: bool = True
    whole: bool = True
    """False: the text ended inside it."""


@dataclass(slots=True)
class Bag:
    kind: str
    items: list[tuple[str | None, Word | Bag]] = field(default_factory=list)
    key: str | None = None
    """Of a value that is still to come."""


def parse(text: str, book: Book) -> Bag:
    """The root's items are what stands outside all brackets, and the outermost brackets."""
    whole = _valid(text, book)
    return whole if whole is not None else _Reader(text, book).read()


def _valid(text: str, book: Book) -> Bag | None:
    """What is JSON to the letter, but for words before and after it, is read as JSON."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return None
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)
    try:
        value, end = decoder.raw_decode(text, start)
        made = _bagged(value, 0)
    except (ValueError, RecursionError):
        return None
    if not isinstance(made, Bag) or any(sign in text[end:] or sign in text[:start] for sign in '{[("'):
        return None
    book.repair("prose", bool(text[:start].strip() or text[end:].strip()))
    return Bag("", [(None, made)])


class _Pairs(list):
    """A JSON object as it was written, with keys that come twice."""


def _bagged(value: Any, depth: int) -> Word | Bag:
    if depth > DEEPEST:
        raise ValueError
    if isinstance(value, _Pairs):
        return Bag("{", [(key, _bagged(inner, depth + 1)) for key, inner in value])
    if isinstance(value, list):
        return Bag("[", [(None, _bagged(inner, depth + 1)) for inner in value])
    return Word("" if value is None or isinstance(value, bool) else value)


class _Reader:
    def __init__(self, text: str, book: Book) -> None:
        self.text, self.book, self.at = text, book, 0
        self.root = Bag("")
        self.stack = [self.root]
        self.read_items = self.no_ends = 0
        self.last = ""  # what stood before: "value", "comma", "colon", "open"
        self._found: dict[str, int] = {}

    def read(self) -> Bag:
        text, end = self.text, len(self.text)
        while True:
            space = _SPACE.match(text, self.at)
            self.at = space.end() if space else self.at
            if self.at >= end:
                break
            if self.read_items > MOST:
                self.book.repair("length")
                break
            sign = text[self.at]
            if sign in _WIDE:
                self.book.repair("width")
            if sign in _OPEN:
                self._opened(_OPEN[sign])
            elif sign in _CLOSE:
                self._closed(_CLOSE[sign])
            elif sign in _COMMAS:
                self.book.repair("comma", self.last in ("comma", "open", "colon"))
                self.at, self.last = self.at + 1, "comma"
            elif sign in _COLONS:
                self._colon()
            elif sign in _QUOTES:
                self._put(self._string(sign))
            else:
                self._put(self._bare())
        if len(self.stack) > 1:
            self.book.repair("brackets")
        return self.root

    def _opened(self, kind: str) -> None:
        self.at += 1
        made = Bag(kind)
        if len(self.stack) > DEEPEST:  # as if it stood outside: what is so deep inside is rarely meant to be
            self.book.repair("depth")
            self.stack = [self.root]
        self._add(made)
        self.stack.append(made)
        self.last = "open"

    def _closed(self, kind: str) -> None:
        self.at += 1
        self.book.repair("comma", self.last == "comma")
        self.last = "value"
        for depth in range(len(self.stack) - 1, 0, -1):
            if self.stack[depth].kind == kind:
                self.book.repair("brackets", len(self.stack) - 1 - depth)
                del self.stack[depth:]
                return
        self.book.repair("brackets")

    def _colon(self) -> None:
        self.at += 1
        bag = self.stack[-1]
        if bag.items and self.last == "value":
            key, value = bag.items[-1]
            if isinstance(value, Word) and (key is None or bag.key is None):
                bag.items.pop()
                if key is not None:  # `"a": "b": "c"`: the bracket before "b" is lost
                    self.book.repair("brackets")
                    bag.key = key
                    bag = Bag("{")
                    self._add(bag)
                    self.stack.append(bag)
                bag.key = value.text
        self.last = "colon"

    def _put(self, word: Word) -> None:
        self.book.repair("comma", self.last == "value" and len(self.stack) > 1)
        self._add(word)
        self.last = "value"

    def _add(self, value: Word | Bag) -> None:
        bag = self.stack[-1]
        self.read_items += 1
        bag.items.append((bag.key, value))
        bag.key = None

    # Words

    def _string(self, quote: str) -> Word:
        plain = _PLAIN.get(quote)
        match = plain.match(self.text, self.at) if plain else None
        if match:
            self.at = match.end()
            return Word(match.group(1))
        return self._odd_string(_QUOTES[quote])

    def _odd_string(self, quotes: str) -> Word:
        """A string with escapes, with quotes inside, or without its end."""
        text, start = self.text, self.at + 1
        inside, escaped = 0, False
        for match in _SCAN[quotes].finditer(text, start):
            position = match.start()
            sign = match.group()
            if sign[0] == "\\":
                escaped = True
            elif sign == "\n":
                if _NEXT_LINE.match(text, position + 1):
                    return self._unclosed(start, position, escaped)
            elif self._closes(position, inside):
                self.at = position + 1
                self.book.repair("quotes", inside > 0)
                return Word(unescaped(text[start:position]) if escaped else text[start:position])
            elif self._opens(position):
                return self._unclosed(start, position, escaped)
            else:
                inside += 1
        return self._unclosed(start, len(text), escaped)

    def _closes(self, position: int, inside: int) -> bool:
        after = _SPACE.match(self.text, position + 1)
        following = after.end() if after else position + 1
        if following >= len(self.text):
            return True
        if self.text[following] not in _ENDS:
            # a comma was lost: the next string or bracket follows
            return inside % 2 == 0 and following > position + 1 and bool(_NEXT.match(self.text, following))
        return not (inside % 2 and _GOES_ON.match(self.text, position + 1))

    def _opens(self, position: int) -> bool:
        """Whether the quote begins the next string, so that this one has lost its end."""
        before = position - 1
        while before >= 0 and position - before < 8 and self.text[before].isspace():
            before -= 1
        following = self.text[position + 1 : position + 2]
        return self.text[before] in _BEFORE_A_STRING and bool(following.strip())

    def _unclosed(self, start: int, end: int, escaped: bool) -> Word:
        """A string without closing quote: its words go to where the punctuation before `end` begins."""
        self.book.repair("quotes")
        if end == len(self.text) and self.no_ends < PATIENCE:  # nothing ends it: the next record must not be in it
            self.no_ends += 1
            following = _RECORD.search(self.text, start)
            end = following.start() if following else end
        body = self.text[start:end]
        tail = _TAIL.search(body, max(0, len(body) - 200))
        kept = body[: tail.start()] if tail else body
        missing = _round(kept)
        while missing > 0 and body[len(kept) : len(kept) + 1] in (")", "）"):
            kept, missing = body[: len(kept) + 1], missing - 1  # a bracket of the string's own
        self.at = start + len(kept)
        whole = end < len(self.text) or len(kept.strip()) < len(body.strip())
        return Word((unescaped(kept) if escaped else kept).strip(), True, whole)

    def _bare(self) -> Word:
        start = self.at
        quote = min(self._next('"'), self._next("'"))
        if start < quote <= start + 300 and self._lost_its_opening(start, quote):
            self.at = quote + 1
            self.book.repair("quotes")
            return Word(self.text[start:quote].strip())
        match = _BARE.match(self.text, start)
        self.at = max(start + 1, match.end() if match else start + 1)
        if self.text[self.at : self.at + 1] in ('"', "'") and self._closes(self.at, 0):
            self.at += 1
            self.book.repair("quotes")
        words = self.text[start : self.at].strip(" \t\r\n'\"`")
        return Word(unescaped(words) if "\\u" in words else words, False, self.at < len(self.text))

    def _lost_its_opening(self, start: int, quote: int) -> bool:
        before, words = self.text[quote - 1], self.text[start:quote]
        its_own = before in ")）" and _round(words) == 0  # a bracket that belongs to the words
        if before.isspace() or before in _OPEN or (before in _ENDS and not its_own):
            return False
        return not _STRUCTURE.search(self.text, start, quote) and self._closes(quote, 0)

    def _next(self, sign: str) -> int:
        """Its next place, looked for once however often it is asked."""
        known = self._found.get(sign, -1)
        if known < self.at:
            known = self.text.find(sign, self.at)
            known = len(self.text) + 1_000 if known < 0 else known
            self._found[sign] = known
        return known


def _round(words: str) -> int:
    """Round brackets that are opened and not closed."""
    return sum(words.count(sign) for sign in "(（") - sum(words.count(sign) for sign in ")）")


def unescaped(text: str) -> str:
    made = _ESCAPE.sub(_meant, text)
    if regex.search(r"[\ud800-\udfff]", made):  # an emoji is written as two halves
        made = made.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return made


def _meant(match: regex.Match) -> str:
    sign = match.group(1)
    if len(sign) == 5:
        return chr(int(sign[1:], 16))
    return _ESCAPES.get(sign, sign)
