"""The starter adapter's training rows: real and generated sentences, asked for under ever different schemas.

Rows come in groups that share a schema, hence the start of their prompt (which the trainer computes once).
A sentence's other types are absent ones: every group asks for more than any of its sentences holds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from core.extract.answer import Found
from core.extract.dialects import studio
from core.extract.normal import normalise, tidy
from core.extract.schema import Task
from core.extract.tasks import ee, ner
from core.extract.tasks import re as relation_task
from core.records import Entity
from train.starter import check, real, templates, wording, written
from train.starter.wording import Asked, Style
from train.starter.written import Topic

GROUP = 6
"""Sentences that share a schema."""
PERSONS = ("person", "politician", "writer", "musicalartist", "scientist", "researcher")
BODIES = ("organisation", "band", "politicalparty", "university")
COARSE = {
    "person": PERSONS,
    "organisation": BODIES,
    "place": ("location", "country"),
    "work": ("book", "poem", "album", "song", "magazine"),
}
"""Everyday types as CrossNER's finer ones: what a ready-made schema asks of real sentences."""
COARSE_WORDINGS = {
    "person": [["person", "a named human being"], ["people", "names of human beings"], ["PER", ""], ["human", ""]],
    "organisation": [
        ["organisation", "a company, university, agency or other named group"],
        ["organization", "a firm, party, band or institution"],
        ["ORG", ""],
        ["group", "a named group of people"],
    ],
    "place": [["place", "a country, city, region or building"], ["location", "where something is"], ["LOC", ""]],
    "work": [
        ["work", "a named book, poem, song or album"],
        ["creative work", "a book, poem, record, song or magazine"],
        ["title", "title of a work"],
    ],
}
ALIEN = {
    "ai": ("algorithm", "metrics", "programlang", "conference"),
    "literature": ("book", "poem", "literarygenre", "magazine"),
    "music": ("album", "song", "musicgenre", "musicalinstrument"),
    "politics": ("election", "politicalparty"),
    "science": ("chemicalcompound", "protein", "enzyme", "astronomicalobject", "chemicalelement", "academicjournal"),
}
"""Types that another domain's sentences hardly hold: absent ones to ask for."""


_FILE = Path(__file__).parent / "mixtures.json"
MIXTURES: dict[str, dict[str, float]] = json.loads(_FILE.read_text(encoding="utf-8"))
"""Shares of the rows by the sources' names: `broad` to learn the task, `relations` for types never heard of, `last`."""
UNSURE = {"relations_work": ("occupation",), "relations_culture": ("character", "alias")}
"""Entity types that a world's sentences hold unmarked, too, so they aren't asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    prompt: str
    completion: str
    source: str


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence and what an answer says of it, types under their keys."""

    text: str
    found: tuple[Found, ...]


Source = Iterator[list[Row]]
T = TypeVar("T")


def rows(data: Path, count: int, rng: random.Random, mixture: str = "broad") -> Iterator[Row]:
    """At least `count` rows, in groups, the sources in proportion to the mixture's shares."""
    made, shares = sources(data, rng), MIXTURES[mixture]
    number = 0
    while number < count:
        name = rng.choices(list(shares), list(shares.values()))[0]
        group = next(made[name])
        number += len(group)
        yield from group


def sources(data: Path, rng: random.Random) -> dict[str, Source]:
    worlds = templates.worlds()
    return {
        "fewrel": _fewrel(data, rng),
        "semeval": _semeval(data, rng),
        "crossner": _crossner(data, rng),
        "coarse": _coarse(data, rng),
        "wnut": _wnut(data, rng),
        "entities": _generated("ner", [one for one in worlds if templates.load_world(one).entities], rng),
        "relations": _generated("re", [one for one in worlds if templates.load_world(one).relations], rng),
        "events": _generated("ee", [one for one in worlds if templates.load_world(one).events], rng),
        "written_relations": _written([one for one in written.topics() if one.relations], rng),
        "written_events": _written([one for one in written.topics() if one.events], rng),
        "no_events": _no_events(data, [one for one in worlds if templates.load_world(one).events], rng),
    }


def _fewrel(data: Path, rng: random.Random) -> Source:
    of: dict[str, list[real.Sentence]] = {}
    for one in real.fewrel(data, kept_out=False):
        of.setdefault(one.relations[0][0], []).append(one)
    draw = {name: _cycle(found, rng) for name, found in of.items()}
    wordings = wording.dataset("fewrel")["relations"]
    far = templates.load_world("relations_nature").relations if "relations_nature" in templates.worlds() else {}
    while True:
        keys = rng.sample(sorted(of), rng.choice((3, 4, 5, 6, 8, 10, 12)))
        others = [name for name in of if name not in keys]
        more = rng.sample(sorted(far), min(len(far), rng.choice((0, 0, 1, 2, 3))))
        asked = wording.relations({**far, **wordings}, [*keys, *more], Style.draw(rng), rng)
        said = []
        for _ in range(GROUP):
            chosen = rng.choice(keys) if rng.random() < 0.9 or not others else rng.choice(others)
            told = _relations(next(draw[chosen]))
            if rng.random() < 0.12:
                told = _beside(told, _relations(next(draw[rng.choice(keys)])))
            said.append(told)
        yield _group("re", asked, said, "fewrel")


def _semeval(data: Path, rng: random.Random) -> Source:
    draw = _cycle(real.semeval(data, kept_out=False), rng)
    wordings = wording.dataset("semeval")["relations"]
    while True:
        keys = rng.sample(sorted(wordings), rng.choice((4, 6, 9, 9)))
        asked = wording.relations(wordings, keys, Style.draw(rng), rng)
        yield _group("re", asked, [_relations(next(draw)) for _ in range(GROUP)], "semeval")


def _crossner(data: Path, rng: random.Random) -> Source:
    draw = {name: _cycle(real.crossner(data, name, kept_out=False, rng=rng), rng) for name in real.DOMAINS}
    wordings = wording.dataset("crossner")
    while True:
        domain = rng.choice(real.DOMAINS)
        own = wordings[domain]["entities"]
        keys = [key for key in own if key != "misc" or rng.random() < 0.5]
        if rng.random() < 0.35:
            keys = rng.sample(keys, rng.randint(4, len(keys)))
        far = [
            (name, key)
            for name, found in ALIEN.items()
            if name != domain
            for key in found
            if key not in own and rng.random() < 0.25
        ]
        told = {**own, **{key: wordings[name]["entities"][key] for name, key in far}}
        asked = wording.entities(told, [*keys, *(key for _, key in far)], Style.draw(rng), rng)
        yield _group("ner", asked, [_mentions(next(draw[domain])) for _ in range(GROUP)], "crossner")


def _coarse(data: Path, rng: random.Random) -> Source:
    """Real sentences asked for everyday types."""
    every = [one for name in real.DOMAINS for one in real.crossner(data, name, kept_out=False, rng=rng)]
    draw = _cycle(every, rng)
    back = {fine: coarse for coarse, found in COARSE.items() for fine in found}
    while True:
        keys = rng.sample(sorted(COARSE), rng.randint(2, 4))
        asked = wording.entities(COARSE_WORDINGS, keys, Style.draw(rng), rng)
        said = []
        for _ in range(GROUP):
            one = next(draw)
            mentions = tuple((back[kind], start, end) for kind, start, end in one.entities if kind in back)
            said.append(_mentions(real.Sentence(one.text, mentions)))
        yield _group("ner", asked, said, "coarse")


def _wnut(data: Path, rng: random.Random) -> Source:
    found = real.wnut(data, rng)
    told = _cycle([one for one in found if one.entities], rng)
    empty = _cycle([one for one in found if not one.entities], rng)
    wordings = wording.dataset("wnut17")["entities"]
    while True:
        keys = rng.sample(sorted(wordings), rng.choice((3, 5, 6, 6)))
        asked = wording.entities(wordings, keys, Style.draw(rng), rng)
        said = [_mentions(next(told if rng.random() < 0.7 else empty)) for _ in range(GROUP)]
        yield _group("ner", asked, said, "wnut")


def _generated(task: Task, worlds: Sequence[str], rng: random.Random) -> Source:
    draw = {name: templates.rows(name, "train", rng, join=0.3) for name in worlds}
    sizes = [len(_types(name, task)) ** 0.5 for name in worlds]
    while True:
        name = rng.choices(worlds, sizes)[0]
        found = [next(draw[name]) for _ in range(GROUP)]
        present = _present(task, found)
        every = list(_types(name, task))
        wanted = [key for key in present if key in every and rng.random() < 0.9]
        absent = [key for key in every if key not in present]
        room = rng.choice((2, 4, 6, 9, 17)) if task == "ee" else rng.choice((4, 6, 9, 12, 16))
        keys = [*wanted, *rng.sample(absent, min(len(absent), max(1, room - len(wanted))))]
        yield _group(task, _asked(name, task, keys, rng), [_said(task, row) for row in found], f"{name} {task}")


def _written(topics: Sequence[Topic], rng: random.Random) -> Source:
    """A topic's sentences, asked for its types and a few of another's."""
    draw = {one.name: _cycle(one.sentences, rng) for one in topics}
    while True:
        topic, other = rng.sample(topics, 2)
        found = [next(draw[topic.name]) for _ in range(GROUP)]
        present = {_key(topic, one.type) for sentence in found for one in sentence.found}
        own, far = _named_types(topic), _named_types(other)
        keys = [key for key in own if rng.random() < (0.9 if key in present else 0.7)]
        keys += rng.sample(sorted(far), min(len(far), rng.choice((0, 1, 2, 4))))
        ask = wording.events if topic.task == "ee" else wording.relations
        asked = ask({**far, **own}, keys, Style.draw(rng), rng)
        said = [
            Said(one.text, tuple(replace(each, type=_key(topic, each.type)) for each in one.found)) for one in found
        ]
        if keys:
            yield _group(topic.task, asked, said, f"{topic.name} (written)")


def _named_types(topic: Topic) -> dict[str, Any]:
    """Its types under keys that no other topic has."""
    return {_key(topic, key): made for key, made in {**topic.relations, **topic.events}.items()}


def _key(topic: Topic, key: str) -> str:
    return f"{topic.name}/{key}"


def _no_events(data: Path, worlds: Sequence[str], rng: random.Random) -> Source:
    """Real sentences asked for events whose words they don't hold."""
    every = [one for name in real.DOMAINS for one in real.crossner(data, name, kept_out=False, rng=rng)]
    draw = _cycle([*every, *real.fewrel(data, kept_out=False)], rng)
    while True:
        name = rng.choice(worlds)
        words = [word.casefold() for word in check.triggers(name, kept_out=False)]
        types = templates.load_world(name).events
        keys = rng.sample(sorted(types), min(len(types), rng.choice((2, 4, 6))))
        texts: list[str] = []
        while len(texts) < GROUP:
            text = next(draw).text
            if not any(word in text.casefold() for word in words):
                texts.append(text)
        yield _group("ee", _asked(name, "ee", keys, rng), [Said(text, ()) for text in texts], "no events")


def _group(task: Task, asked: Asked, said: Sequence[Said], source: str) -> list[Row]:
    made = []
    for one in said:
        text = normalise(one.text).text
        found = [_named(task, asked, each) for each in one.found if each.type in asked.names]
        answer = studio.write(task, asked.schema, found)
        made.append(Row(studio.prompt(task, asked.schema, text), answer, source))
    return made


def _named(task: Task, asked: Asked, one: Found) -> Found:
    """The record under the names that the schema uses; words as the prompt's text holds them."""
    parts = tuple((role, tidy(text)) for role, text in one.parts)
    if task == "ee":
        order = {role: at for at, (key, role) in enumerate(asked.roles) if key == one.type}
        kept = sorted((part for part in parts if part[0] in order), key=lambda part: order[part[0]])
        parts = tuple((asked.roles[one.type, role], text) for role, text in kept)
    return Found(asked.names[one.type], tidy(one.text), parts)


def _relations(one: real.Sentence) -> Said:
    return Said(one.text, tuple(Found(name, head, (("", tail),)) for name, head, tail in one.relations))


def _mentions(one: real.Sentence) -> Said:
    found = [Entity(one.text[start:end], kind, start, end) for kind, start, end in one.entities]
    return Said(one.text, tuple(ner.words(found)))


def _beside(one: Said, other: Said) -> Said:
    return Said(f"{one.text} {other.text}", one.found + other.found)


def _said(task: Task, row: templates.Row) -> Said:
    words: dict[Task, Callable[[], list[Found]]] = {
        "ner": partial(ner.words, row.entities),
        "re": partial(relation_task.words, row.relations),
        "ee": partial(ee.words, sorted(row.events, key=lambda event: event.trigger.start or 0)),
    }
    return Said(row.text, tuple(words[task]()))


def _present(task: Task, found: Sequence[templates.Row]) -> list[str]:
    return list(dict.fromkeys(one.type for row in found for one in _said(task, row).found))


def _types(world: str, task: Task) -> dict[str, Any]:
    known = templates.load_world(world)
    if task == "ner":
        return {key: told for key, told in known.entities.items() if key not in UNSURE.get(world, ())}
    return dict(known.relations if task == "re" else known.events)


def _asked(world: str, task: Task, keys: Sequence[str], rng: random.Random) -> Asked:
    types, style = _types(world, task), Style.draw(rng)
    if task == "ner":
        return wording.entities(types, keys, style, rng)
    if task == "re":
        return wording.relations(types, keys, style, rng, ends(world) if rng.random() < 0.4 else None)
    return wording.events(types, keys, style, rng)


_ENDS: dict[str, dict[str, tuple[str, str]]] = {}


def ends(world: str) -> dict[str, tuple[str, str]]:
    """Relation key -> the usual names of the entity types that stand as its heads and tails, seen on a sample."""
    if world not in _ENDS:
        known = templates.load_world(world)
        seen: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
        source = templates.rows(world, "train", random.Random(0))
        for row in (next(source) for _ in range(1500)):
            at = {(one.start, one.end): known.entities[one.type][0][0] for one in row.entities}
            for one in row.relations:
                heads, tails = seen.setdefault(one.relation, ({}, {}))
                for place, into in ((one.head, heads), (one.tail, tails)):
                    if (place.start, place.end) in at:
                        into[at[place.start, place.end]] = None
        _ENDS[world] = {key: (", ".join(heads), ", ".join(tails)) for key, (heads, tails) in seen.items()}
    return _ENDS[world]


def _cycle(found: Sequence[T], rng: random.Random) -> Iterator[T]:
    """All of them in a new order, again and again."""
    while True:
        yield from rng.sample(list(found), len(found))
