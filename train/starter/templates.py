"""Sentences with known records, from a world's templates; train.starter.check WORLD looks at one.

A world is worlds/WORLD.json (types and their wordings) and templates/WORLD.txt, one template a line:
`{person P} was [t born|delivered] in {city C}. || birth: t who=P where=C ; born in: P > C`

- `{kind NAME}` a filled slot that is an entity; `{kind}` the same without a name; `{~kind NAME}` filled, no entity.
- `[t some|other words]` binds literal words (one of the alternatives), mostly an event's trigger.
- `(a|b|)` one of the alternatives; without a `|` the parentheses are just text.
- a record is `relation key: HEAD > TAIL` or `event key: TRIGGER role=NAME …`; records are separated by ` ; `.
- `# ` starts a comment line, `! ` a template that is kept out of training, with its triggers.

"a"/"an" before a slot is put right, doubled blanks and full stops are removed, a sentence starts with a capital.
A small article that a list's name starts with (the Danube, a gunman) stands before the span, not in it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from core.records import Argument, Entity, Event, Relation, Span
from train.starter.names import Split, kinds, names

HERE = Path(__file__).parent
# A brand or a gene keeps its small letter where it starts a sentence.
KEEPS_ITS_CASE = {"company", "product", "software", "website", "gene", "bank", "programming"}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
ARTICLES = ("the ", "a ", "an ")
SLOT = re.compile(r"(~?)([a-z_]+)(?: ([A-Za-z][A-Za-z0-9]*))?")


class TemplateError(ValueError):
    """A world or a template that can't be used; the message starts with file:line."""


@dataclass(frozen=True)
class Row:
    """One generated text; `.type`, relation and role names are the world's keys."""

    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class EventType:
    wordings: list[list[str]]
    roles: dict[str, list[list[str]]]


@dataclass(frozen=True)
class World:
    """Types by key, each with its wordings `[name, description]`; the first wording is the usual one."""

    name: str
    entities: dict[str, list[list[str]]]
    relations: dict[str, list[list[str]]]
    events: dict[str, EventType]
    kinds: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Slot:
    kind: str
    name: str | None
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    name: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[tuple[Piece, ...], ...]


Piece = str | Slot | Words | Choice


@dataclass(frozen=True, slots=True)
class Template:
    """`relations`: (key, head, tail); `events`: (key, trigger, ((role, name), …)), all by the names in the text."""

    line: int
    kept_out: bool
    pieces: tuple[Piece, ...]
    relations: tuple[tuple[str, str, str], ...] = ()
    events: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = ()


def worlds() -> list[str]:
    return sorted(p.stem for p in (HERE / "worlds").glob("*.json") if (HERE / "templates" / f"{p.stem}.txt").exists())


@cache
def load_world(name: str) -> World:
    path = HERE / "worlds" / f"{name}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise TemplateError(f"{path}:{error.lineno}: {error.msg}") from error
    events = {
        key: EventType(event["wordings"], event.get("roles", {})) for key, event in data.get("events", {}).items()
    }
    world = World(name, data.get("entities", {}), data.get("relations", {}), events, data.get("kinds", {}))
    lists = [*world.entities.items(), *world.relations.items()]
    lists += [(key, event.wordings) for key, event in events.items()]
    lists += [(f"{key}/{role}", wordings) for key, event in events.items() for role, wordings in event.roles.items()]
    for key, wordings in lists:
        if not wordings or any(len(wording) != 2 or not wording[0].strip() for wording in wordings):
            raise TemplateError(f'{path}:1: every wording of "{key}" must be ["name", "description"]')
    for kind, keys in world.kinds.items():
        if unknown := [key for key in keys if key not in world.entities]:
            raise TemplateError(f'{path}:1: kind "{kind}" names the unknown entity type "{unknown[0]}"')
    return world


@cache
def load_templates(name: str) -> tuple[Template, ...]:
    world, path = load_world(name), HERE / "templates" / f"{name}.txt"
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            try:
                found.append(parse(line.strip(), world, number))
            except ValueError as error:
                raise TemplateError(f"{path}:{number}: {error}") from error
    if not found:
        raise TemplateError(f"{path}:1: no template")
    return tuple(found)


def parse(line: str, world: World, number: int = 1) -> Template:
    kept_out = line.startswith("!")
    text, _, records = (line.lstrip("!").strip() + " ").partition(" || ")
    reader = _Reader(text.strip(), world)
    pieces = reader.pieces(closer="")
    relations, events = [], []
    for record in filter(None, (part.strip() for part in records.split(" ; "))):
        key, colon, body = record.partition(":")
        key, body = key.strip(), body.strip()
        if not colon:
            raise ValueError(f'record "{record}" has no colon')
        if ">" in body:
            head, _, tail = (part.strip() for part in body.partition(">"))
            if key not in world.relations:
                raise ValueError(f'unknown relation "{key}"')
            relations.append((key, reader.bound(head), reader.bound(tail)))
        else:
            events.append(_event(key, body, world, reader))
    return Template(number, kept_out, pieces, tuple(relations), tuple(events))


def _event(key: str, body: str, world: World, reader: _Reader) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    if key not in world.events:
        raise ValueError(f'unknown event "{key}"')
    if not body:
        raise ValueError(f'event "{key}" has no trigger')
    trigger, *pairs = body.split()
    arguments = []
    for pair in pairs:
        role, equals, name = pair.partition("=")
        if not equals or role not in world.events[key].roles:
            raise ValueError(f'event "{key}" has no role "{role}"')
        arguments.append((role, reader.bound(name)))
    return key, reader.bound(trigger), tuple(arguments)


class _Reader:
    """Reads a template's text into pieces, and remembers which names it binds, where it always binds them."""

    def __init__(self, text: str, world: World) -> None:
        self.text, self.world, self.at = text, world, 0
        self.always: set[str] = set()
        self.sometimes: set[str] = set()

    def bound(self, name: str) -> str:
        if name in self.sometimes:
            raise ValueError(f'"{name}" stands in an alternative, so no record may name it')
        if name not in self.always:
            raise ValueError(f'unknown name "{name}"')
        return name

    def pieces(self, closer: str, optional: bool = False) -> tuple[Piece, ...]:
        """Pieces up to `closer` (one of its characters) or the end of the text; stands before it then."""
        found: list[Piece] = []
        while self.at < len(self.text) and self.text[self.at] not in closer:
            sign = self.text[self.at]
            if sign == "{":
                found.append(self.slot(optional))
            elif sign == "[":
                found.append(self.words(optional))
            elif sign == "(":
                found.extend(self.group(optional))
            elif sign in "}])|":
                raise ValueError(f'stray "{sign}" before "{self.text[self.at + 1 : self.at + 20]}"')
            else:
                end = re.compile(r"[{\[(}\])|]|$").search(self.text, self.at)
                assert end  # noqa: S101 - `$` always matches
                found.append(self.text[self.at : end.start()])
                self.at = end.start()
        if closer and self.at >= len(self.text):
            raise ValueError('a "(" is never closed')
        return tuple(found)

    def group(self, optional: bool) -> list[Piece]:
        # Whether the parentheses are alternatives shows only at the first `|`, and names inside depend on it.
        alternatives = _has_bar(self.text, self.at)
        self.at += 1
        options = [self.pieces("|)" if alternatives else ")", optional or alternatives)]
        while self.text[self.at] == "|":
            self.at += 1
            options.append(self.pieces("|)", True))
        self.at += 1
        return [Choice(tuple(options))] if alternatives else ["(", *options[0], ")"]

    def slot(self, optional: bool) -> Slot:
        inside = self._inside("}")
        match = SLOT.fullmatch(inside)
        if not match:
            raise ValueError(f'"{{{inside}}}" is not a slot: {{kind NAME}}')
        plain, kind, name = match.groups()
        if kind not in kinds():
            raise ValueError(f'unknown kind "{kind}": no names/{kind}.txt')
        if not plain and kind not in self.world.kinds:
            raise ValueError(f'the world says no entity type for kind "{kind}": {{~{kind}}}, or add it to "kinds"')
        if name:
            self._bind(name, optional)
        return Slot(kind, name, () if plain else tuple(self.world.kinds[kind]))

    def words(self, optional: bool) -> Words:
        name, _, words = self._inside("]").partition(" ")
        options = tuple(option.strip() for option in words.split("|"))
        if not NAME.fullmatch(name) or not all(options):
            raise ValueError(f'"[{name} {words}]" must be [name words] or [name words|other words]')
        if re.search(r"[{}\[()]", words):
            raise ValueError(f'nothing may be nested in "[{name} {words}]"')
        self._bind(name, optional)
        return Words(name, options)

    def _inside(self, closer: str) -> str:
        end = self.text.find(closer, self.at)
        if end < 0:
            raise ValueError(f'"{self.text[self.at]}" is never closed')
        inside, self.at = self.text[self.at + 1 : end], end + 1
        return inside

    def _bind(self, name: str, optional: bool) -> None:
        if name in self.always | self.sometimes:
            raise ValueError(f'"{name}" is bound twice')
        (self.sometimes if optional else self.always).add(name)


def _has_bar(text: str, start: int) -> bool:
    """Whether the group that opens at `start` has a `|` of its own."""
    depth, hidden = 0, ""
    for sign in text[start:]:
        if hidden:
            hidden = "" if sign == hidden else hidden
        elif sign in "{[":
            hidden = {"{": "}", "[": "]"}[sign]
        elif sign == "|" and depth == 1:
            return True
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            break
    return False


@dataclass
class _Writer:
    """One sentence being written; `given` are names of an earlier sentence, by kind, to be used again once."""

    split: Split
    rng: random.Random
    given: dict[str, str] = field(default_factory=dict)
    out: str = ""
    spans: dict[str, Span] = field(default_factory=dict)
    entities: list[Entity] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)

    def write(self, pieces: tuple[Piece, ...]) -> None:
        for piece in pieces:
            if isinstance(piece, str):
                self.literal(piece)
            elif isinstance(piece, Slot):
                self.slot(piece)
            elif isinstance(piece, Words):
                self.spans[piece.name] = self.mark(self.rng.choice(piece.options))
            else:
                self.write(self.rng.choice(piece.options))

    def literal(self, text: str) -> None:
        if text[:1] == " " and self.out[-1:] in ("", " ", "("):
            text = text[1:]
        if text[:1] in (",", ".", ";", ":", ")", "?", "!") and self.out[-1:] == " ":
            self.out = self.out[:-1]
        if text[:1] == "." and self.out[-1:] == ".":
            text = text[1:]
        self.out += text

    def slot(self, slot: Slot) -> None:
        text = self.given.pop(slot.kind, None) or self.name(slot.kind)
        self.used[slot.kind] = text
        article = next((word for word in ARTICLES if text.startswith(word)), "")
        text = text.removeprefix(article)
        led = re.search(r"(?:^|\s)(?:[Tt]he|[Aa]n?) $", self.out[-5:])
        if article:
            self.out = re.sub(r"\S+ $", "", self.out) if led else self.out
            self.literal(article if self.out else article.capitalize())
        elif led and text.startswith("The "):
            text = text[4:]
        else:
            self.article(text)
        if not self.out and slot.kind not in KEEPS_ITS_CASE and not re.match(r"\w*\d", text):
            text = text[0].upper() + text[1:]
        span = self.mark(text)
        if slot.name:
            self.spans[slot.name] = span
        self.entities += [Entity(span.text, type, span.start, span.end) for type in slot.types]

    def name(self, kind: str) -> str:
        """A name that stands nowhere in the sentence yet, where a few tries find one."""
        for _ in range(6):
            text = names(self.split).fill(kind, self.rng)
            if text not in self.out:
                break
        return text

    def article(self, text: str) -> None:
        if match := re.search(r"(?:^|[\s(])([Aa]n?) $", self.out[-4:]):
            self.out = self.out[: -len(match[1]) - 1] + match[1][0] + ("n " if starts_with_a_vowel(text) else " ")

    def mark(self, text: str) -> Span:
        start = len(self.out)
        self.out += text
        return Span(text, start, start + len(text))


def starts_with_a_vowel(text: str) -> bool:
    """By sound, roughly: an engineer, an MRI scan, a university, a European, an 8%."""
    word = re.split(r"[\s\-]", text, maxsplit=1)[0]
    if re.fullmatch(r"[A-Z]{2,}[0-9]*", word):
        return word[0] in "AEFHILMNORSX"
    if re.match(r"8|1[18](?!\d)", word):
        return True
    return bool(re.match(r"(?i)[aeiouéáöü]|hour|honor|heir", word)) and not re.match(
        r"(?i)un[ia]|us[eau]|eu|one|ut[io]|ur[aio]", word
    )


def rows(world: str, split: Split, rng: random.Random, *, join: float = 0.0) -> Iterator[Row]:
    """Rows without end: all templates of the split in a new order, again and again.

    `join` is the probability that a row holds two or three sentences; half of those share a name.
    """
    templates = [template for template in load_templates(world) if template.kept_out == (split == "kept_out")]
    if not templates:
        return
    deck: list[Template] = []

    def draw() -> Template:
        if not deck:
            deck.extend(rng.sample(templates, len(templates)))
        return deck.pop()

    while True:
        row, used = fill(draw(), split, rng)
        if rng.random() < join:
            for _ in range(rng.choice((1, 1, 2))):
                shared = rng.sample(sorted(used.items()), min(1, len(used))) if rng.random() < 0.5 else []
                more, used = fill(draw(), split, rng, given=dict(shared))
                row = _joined(row, more)
        yield row


def fill(
    template: Template, split: Split, rng: random.Random, *, given: dict[str, str] | None = None
) -> tuple[Row, dict[str, str]]:
    """A row of one template, and which name each kind of slot got last."""
    writer = _Writer(split, rng, dict(given or {}))
    writer.write(template.pieces)
    spans = writer.spans
    relations = tuple(Relation(spans[head], key, spans[tail]) for key, head, tail in template.relations)
    events = tuple(
        Event(key, spans[trigger], tuple(_argument(role, spans[name]) for role, name in arguments))
        for key, trigger, arguments in template.events
    )
    return Row(writer.out, tuple(writer.entities), relations, events), writer.used


def _argument(role: str, span: Span) -> Argument:
    return Argument(role, span.text, span.start, span.end)


def _joined(first: Row, second: Row) -> Row:
    by = len(first.text) + 1

    def moved(span: Any) -> dict[str, Any]:
        return {"text": span.text, "start": span.start + by, "end": span.end + by}

    entities = tuple(Entity(type=entity.type, **moved(entity)) for entity in second.entities)
    relations = tuple(Relation(Span(**moved(r.head)), r.relation, Span(**moved(r.tail))) for r in second.relations)
    events = tuple(
        Event(e.type, Span(**moved(e.trigger)), tuple(Argument(role=a.role, **moved(a)) for a in e.arguments))
        for e in second.events
    )
    return Row(
        f"{first.text} {second.text}",
        first.entities + entities,
        first.relations + relations,
        first.events + events,
    )
