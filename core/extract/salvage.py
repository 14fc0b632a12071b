"""One reader for what models make of any answer format, and for what damage makes of it. Never raises, linear time.

Lines and tuples are read around the schema's names (salvage_lines), JSON and Python literals as bags of words
(salvage_tree, salvage_walk). Nothing is guessed that isn't written: what can't be told apart is dropped and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import regex

from core.extract.answer import Found, Reading
from core.extract.salvage_lines import Lines, joined, without_last
from core.extract.salvage_names import Book, Names, says_nothing
from core.extract.salvage_tree import Bag, Word, parse, unescaped
from core.extract.salvage_walk import Walk
from core.extract.schema import Schema, Task

LONGEST = 4_000_000
"""Characters; an answer beyond is nonsense, and is cut there."""
LOOP = 8
"""A record said more often than this is a model that could not end."""

_FENCE = regex.compile(r"```[^\n`]*|~~~[^\n]*")
_THINKING = regex.compile(r"<think>.*?(?:</think>|$)", regex.S)
_ANSWER = regex.compile(r"(?i)^\s*(?:answer|output|回答|答案|输出)\s*[:：]\s*")
_STRUCTURED = regex.compile(
    r"[\[{(［｛（]\s*[\"'“‘＂\[{［｛]"  # a bracket, then a quote or another bracket
    r"|[\[{［｛]\s*[^\s,，:：{}\[\]()\"']{1,60}[^,，:：{}\[\]\n\"']{0,60}[:：]"  # {key:
    r"|[\"“”＂][^\"“”＂\n]{1,80}[\"“”＂]\s*[:：]\s*[\[{\"“＂［｛]"  # "key": [
    r"|^\s*[\[{［｛]"
)
_UNFINISHED = regex.compile(r"([,，(（\[])[ \t\r]*\n\s*")
_INSIDE = regex.compile(r'^\s*"(?:\s|\\[nrt])*[\[{]+(?:\s|\\[nrt])*\\"')


@dataclass(frozen=True)
class Salvaged:
    """What an answer says. `readable` False: it could not be understood, which is not "nothing found"."""

    found: tuple[Found, ...]
    readable: bool
    repairs: dict[str, int]
    """How often what was put right: fence, prose, quotes, brackets, comma, width, depth, repeats, …"""
    dropped: int
    left_out: tuple[str, ...] = ()
    """Words of records or arguments that were dropped, where they could be told apart."""

    @property
    def reading(self) -> Reading:
        return Reading(self.found, self.readable, sum(self.repairs.values()), self.dropped)


def salvage(task: Task, schema: Schema, answer: str, *, cut: bool = False) -> Salvaged:
    """`cut`: generation ended at its limit, so the last record isn't whole unless the format shows that it is."""
    book = Book()
    text = _plain(answer[:LONGEST], book)
    book.repair("cut", len(answer) > LONGEST)
    names = Names(task, schema)
    if says_nothing(text) or not text.strip():
        return Salvaged((), True, {"format": 1} if text.strip().casefold() not in ("none", "[]", "{}") else {}, 0)
    reading = _structured(names, text, book) if _STRUCTURED.search(text) else None
    if reading is None or not (reading.found or reading.readable):
        lines = _lines(names, text, Book(), cut=cut)
        if reading is None or lines.found:
            book = Book(Counter({"format": max(1, lines.repaired)}) + book.repairs)
            reading = lines
    found, repeats = _once(reading.found)
    book.repair("repeats", repeats)
    return Salvaged(tuple(found), reading.readable, dict(book.repairs), reading.dropped, tuple(book.dropped))


def read(task: Task, schema: Schema, answer: str, *, cut: bool = False) -> Reading:
    return salvage(task, schema, answer, cut=cut).reading


def _plain(answer: str, book: Book) -> str:
    """Without thoughts, fences and the word “Answer:”; JSON that was written into a string is taken out of it."""
    text, thoughts = _THINKING.subn("", answer)
    text, fences = _FENCE.subn("", text)
    text, titles = _ANSWER.subn("", text)
    for kind, times in (("thoughts", thoughts), ("fence", fences), ("prose", titles)):
        book.repair(kind, times)
    if _INSIDE.match(text):
        text = unescaped(text.strip()[1:].removesuffix('"'))
        book.repair("quotes")
    return text


def _structured(names: Names, text: str, book: Book) -> Reading:
    root = parse(text, book)
    walk = Walk(names, book)
    walk.read(root)
    book.repair("prose", any(_is_prose(names, key, value) for key, value in root.items))
    book.repair("brackets", not any(isinstance(value, Bag) for _, value in root.items))
    return Reading(tuple(walk.found), walk.known, dropped=len(book.dropped))


def _is_prose(names: Names, key: str | None, value: Word | Bag) -> bool:
    return (isinstance(value, Word) and not value.quoted) or (key is not None and names.type(key) is None)


def _lines(names: Names, text: str, book: Book, *, cut: bool) -> Reading:
    reader = Lines(names, book)
    lines = [line for line in _UNFINISHED.sub(r"\1", text).splitlines() if line.strip()]
    readings = [reader.line(line) for line in lines]
    made = joined(readings)
    if not made.readable:
        # silence is a way of saying "none"; words that can't be understood are not
        return Reading((), not lines, repaired=1, dropped=max(made.dropped, 1) if lines else 0)
    if cut and readings and readings[-1].found and reader.is_unfinished(lines[-1]):
        made = joined([*readings[:-1], without_last(readings[-1])])
    return replace(made, repaired=max(1, made.repaired))


def _once(found: tuple[Found, ...]) -> tuple[list[Found], int]:
    """As often as they are said (the second is looked for at the second place), but once where that is a loop."""
    said = Counter(found)
    kept: list[Found] = []
    seen: set[Found] = set()
    for one in found:
        if one not in seen or said[one] <= LOOP:
            kept.append(one)
        seen.add(one)
    return kept, len(found) - len(kept)
