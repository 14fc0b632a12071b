"""Which sentences of a run are judged: a random sample, drawn in one pass, from a seed. Never by confidence.

`simple`: every sentence has the same chance. `stratified`: half of the sample from sentences in which something was
found, half from the others, which tells precision better where most sentences are empty; the score weighs both by
how many there are. The frame is the text's own sentences, whatever was found in them, so that all runs on the same
texts share it; a record belongs to the sentence in which it begins, one that isn't in the text to the text's first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from core.extract.calls import key
from core.extract.chunk import sentences
from core.extract.evaluate_pieces import Piece, pieces
from core.extract.schema import TASKS, Task
from core.records import Extraction

Method = Literal["simple", "stratified"]
EVERY, FOUND, EMPTY = "every", "found", "empty"


@dataclass(frozen=True)
class Drawn:
    """A sentence of the sample and the document that it stands in; `start`, `end` are places there."""

    document: Extraction
    start: int
    end: int
    stratum: str

    @property
    def text_key(self) -> str:
        return key(self.document.text)


@dataclass
class Sample:
    """In the order in which it is to be judged: by chance, so that what has been judged so far is a sample, too."""

    drawn: list[Drawn]
    population: dict[str, int] = field(default_factory=dict)
    """Sentences of each stratum."""
    rows: int = 0
    records: int = 0


def draw(
    rows: Iterable[Extraction],
    size: int,
    seed: int,
    method: Method = "simple",
    *,
    tasks: Iterable[Task] = TASKS,
    done: Callable[[int], None] = lambda rows: None,
) -> Sample:
    """`size` sentences, fewer where there are fewer. Holds no more than the sample."""
    tasks = tuple(tasks)
    chance = random.Random(seed)
    names = (EVERY,) if method == "simple" else (FOUND, EMPTY)
    rooms = {name: size // len(names) + (number < size % len(names)) for number, name in enumerate(names)}
    held: dict[str, list[Drawn]] = {name: [] for name in names}
    made = Sample([], dict.fromkeys(names, 0))
    for row in rows:
        made.rows += 1
        made.records += len(row.entities) + len(row.relations) + len(row.events)
        done(made.rows)
        starts = {start for start, _ in places(row, tasks)} if method == "stratified" else set()
        for start, end in frame(row.text):
            name = EVERY if method == "simple" else FOUND if any(start <= at < end for at in starts) else EMPTY
            made.population[name] += 1
            _keep(held[name], rooms[name], made.population[name], Drawn(row, start, end, name), chance)
    made.drawn = [one for name in names for one in held[name]]
    chance.shuffle(made.drawn)
    return made


def _keep(held: list[Drawn], room: int, seen: int, one: Drawn, chance: random.Random) -> None:
    """Algorithm R: each of those seen so far is held with the same chance."""
    if len(held) < room:
        held.append(one)
    elif (place := chance.randrange(seen)) < room:
        held[place] = one


def frame(text: str) -> list[tuple[int, int]]:
    """The sentences that hold something to read."""
    return [(start, end) for start, end in sentences(text) if any(char.isalnum() for char in text[start:end])]


def inside(row: Extraction, start: int, end: int, tasks: Iterable[Task]) -> list[Piece]:
    """The pieces of the row's records that belong to this sentence, each once."""
    first = next(iter(frame(row.text)), (0, 0))[0] == start
    wanted = {record for at, record in _anchors(row, tasks) if (first if at is None else start <= at < end)}
    made: dict[object, Piece] = {}
    for task in tasks:
        for piece in pieces(row, task, "strict"):
            if piece.record in wanted:
                made.setdefault(piece.item, piece)
    return list(made.values())


def places(row: Extraction, tasks: Iterable[Task]) -> Iterator[tuple[int, str]]:
    """(where it begins, its name) of each record; of one that isn't in the text, the text's first sentence."""
    first = next(iter(frame(row.text)), (0, 0))[0]
    for at, record in _anchors(row, tasks):
        yield (first if at is None else at), record


def _anchors(row: Extraction, tasks: Iterable[Task]) -> Iterator[tuple[int | None, str]]:
    """Head before tail, trigger before arguments; the first that has a place."""
    if "ner" in tasks:
        for number, entity in enumerate(row.entities):
            yield entity.start, f"entity:{number}"
    if "re" in tasks:
        for number, one in enumerate(row.relations):
            yield (one.head.start if one.head.start is not None else one.tail.start), f"relation:{number}"
    if "ee" in tasks:
        for number, event in enumerate(row.events):
            starts = [event.trigger.start, *(argument.start for argument in event.arguments)]
            yield next((start for start in starts if start is not None), None), f"event:{number}"
