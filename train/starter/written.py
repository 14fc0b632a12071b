"""Sentences written one by one, of many topics: `written/*.txt`. `python -m train.starter.written FILE` checks one.

A topic is its types under several wordings, then `TEXT || records`: `KEY: HEAD > TAIL` for a relation,
`KEY: TRIGGER @ role=WORDS` for an event. A sentence says nothing of its topic's types that isn't recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from core.extract.answer import Found
from core.extract.schema import Task
from train.starter import check, templates
from train.starter.templates import EventType

FOLDER = Path(__file__).parent / "written"
Wordings = list[list[str]]


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    found: tuple[Found, ...]
    line: int


@dataclass
class Topic:
    """`relations` or `events` by key; a topic has one kind of them."""

    name: str
    relations: dict[str, Wordings] = field(default_factory=dict)
    events: dict[str, EventType] = field(default_factory=dict)
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def task(self) -> Task:
        return "ee" if self.events else "re"


class Unfit(ValueError):
    """A line that breaks the format."""


@cache
def topics() -> tuple[Topic, ...]:
    """Of all files."""
    return tuple(topic for file in sorted(FOLDER.glob("*.txt")) for topic in read(file))


def read(file: Path) -> list[Topic]:
    """Raises Unfit with the number of the first line that breaks the format."""
    made: list[Topic] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            _take(line.strip(), number, made)
        except (Unfit, ValueError, KeyError, IndexError) as error:
            raise Unfit(f"{file.name}:{number}: {error}: {line[:120]}") from error
    return made


def _take(line: str, number: int, made: list[Topic]) -> None:
    if not line or line == "--" or line.startswith("# "):
        return
    if line.startswith("== "):
        made.append(Topic(line[3:]))
        return
    topic = made[-1]
    if " ||" in line:
        topic.sentences.append(_sentence(line, number, topic))
        return
    kind, _, rest = line.partition(" ")
    named, *told = (part.strip() for part in rest.split("|"))
    wordings = [_wording(part) for part in told]
    if len(wordings) < 2:
        raise Unfit("needs at least two wordings")
    if kind == "relation":
        topic.relations[named] = wordings
    elif kind == "event":
        topic.events[named] = EventType(wordings, {})
    elif kind == "role":
        event, _, role = named.rpartition(" ")
        topic.events[event].roles[role] = wordings
    else:
        raise Unfit("neither a topic, a type nor a sentence")


def _wording(part: str) -> list[str]:
    name, _, told = part.partition(": ")
    if not name.strip() or not told.strip():
        raise Unfit(f"“{part}” is no “name: description”")
    return [name.strip(), told.strip()]


def _sentence(line: str, number: int, topic: Topic) -> Sentence:
    text, _, records = line.partition(" ||")
    text = text.strip()
    found = tuple(_record(one.strip(), text, topic) for one in records.split(" ; ") if one.strip())
    return Sentence(text, found, number)


def _record(record: str, text: str, topic: Topic) -> Found:
    key = next((key for key in (*topic.relations, *topic.events) if record.startswith(f"{key}: ")), "")
    if not key:
        raise Unfit(f"no type of the topic in “{record}”")
    rest = record[len(key) + 2 :]
    if key in topic.relations:
        head, arrow, tail = (part.strip() for part in rest.partition(" > "))
        if not arrow:
            raise Unfit(f"no “ > ” in “{record}”")
        return Found(key, _in(head, text), (("", _in(tail, text)),))
    trigger, *arguments = (part.strip() for part in rest.split(" @ "))
    parts = []
    for argument in arguments:
        role, _, words = argument.partition("=")
        if role not in topic.events[key].roles:
            raise Unfit(f"“{key}” has no role “{role}”")
        parts.append((role, _in(words, text)))
    return Found(key, _in(trigger, text), tuple(parts))


def _in(words: str, text: str) -> str:
    if not words or words not in text:
        raise Unfit(f"“{words}” doesn't stand in the text")
    return words


def faults(file: Path) -> Iterator[str]:
    """What is wrong beyond the format: types that no sentence has, triggers kept out of training, doubled sentences."""
    kept = {word for world in templates.worlds() for word in check.triggers(world, kept_out=True)}
    seen: set[str] = set()
    for topic in read(file):
        used = {one.type for sentence in topic.sentences for one in sentence.found}
        types = (*topic.relations, *topic.events)
        yield from (f"== {topic.name}: no sentence has “{key}”" for key in types if key not in used)
        if topic.relations and topic.events:
            yield f"== {topic.name}: has relations and events"
        for sentence in topic.sentences:
            if sentence.text in seen:
                yield f"line {sentence.line}: stands twice"
            seen.add(sentence.text)
            if topic.events:
                yield from (
                    f"line {sentence.line}: the trigger “{one.text}” is kept out of training"
                    for one in sentence.found
                    if one.text.lower() in kept
                )


def main() -> None:
    for name in sys.argv[1:]:
        file = Path(name)
        try:
            read(file)
        except Unfit as error:
            raise SystemExit(str(error)) from None
        for fault in faults(file):
            print(fault)
        found = read(file)
        print(
            f"{file.name}: {len(found)} topics,"
            f" {sum(len(topic.relations) + len(topic.events) for topic in found)} types,"
            f" {sum(len(topic.sentences) for topic in found)} sentences,"
            f" {sum(len(one.found) for topic in found for one in topic.sentences)} records"
        )


if __name__ == "__main__":
    main()
