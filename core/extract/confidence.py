"""How sure a record is: how many passes say it, how likely the model held its tokens, and what that is worth.

A record's confidence is the share of the passes that say it, times the mean probability of its tokens where the
engine tells it. One pass without probabilities measures nothing: there it stays None. A pass whose answers
could not be read has no vote.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from core.records import Argument, Entity, Event, Extraction, Relation, Span

R = TypeVar("R", Entity, Relation, Event, Argument)
BINS = 10


def voted(turns: Sequence[Extraction], votes: int = 0) -> Extraction:
    """The records that at least `votes` passes say (0: half of them), with the share that does.

    The document's confidence is how far the passes agree: the mean share of votes for what was kept and
    against what wasn't; 1 where all found nothing.
    """
    able = [one for one in turns if _readable(one)] or list(turns)
    need = min(votes or math.ceil(len(able) / 2), len(able))
    entities, of_entities = _kept([one.entities for one in able], _entity, need)
    relations, of_relations = _kept([one.relations for one in able], _relation, need)
    events, of_events = _kept([one.events for one in able], _event, need)
    agreed = [*of_entities, *of_relations, *of_events]
    return Extraction(
        "",
        "",
        entities=tuple(sorted(entities, key=lambda one: (one.start is None, one.start or 0, one.end or 0))),
        relations=_turned([one.relations for one in able], relations),
        events=tuple(_with_arguments(one, [each.events for each in able]) for one in events),
        confidence=round(sum(agreed) / len(agreed), 4) if agreed else 1.0,
        provenance=_spent(turns) | {"passes": len(able), "votes_needed": need},
    )


def judged(extraction: Extraction) -> Extraction:
    """With a confidence of the document's own where its records have one and it hasn't."""
    if extraction.confidence is not None or extraction.error is not None:
        return extraction
    records: list[Entity | Relation | Event] = [*extraction.entities, *extraction.relations, *extraction.events]
    known = [one.confidence for one in records if one.confidence is not None]
    return replace(extraction, confidence=round(sum(known) / len(known), 4)) if known else extraction


def by_tokens(extraction: Extraction, answer: str, tokens: Sequence[tuple[str, float]]) -> Extraction:
    """Each record with the mean probability of the tokens that its words took in the answer.

    `tokens`: (text, log-probability), one after the other as generated. Where a record's words can't be
    found in the answer, it gets the whole answer's mean.
    """
    if not tokens:
        return extraction
    says = _Said(answer, tokens)
    return replace(
        extraction,
        entities=tuple(replace(one, confidence=says.probability([one.text])) for one in extraction.entities),
        relations=tuple(
            replace(one, confidence=says.probability([one.head.text, one.tail.text])) for one in extraction.relations
        ),
        events=tuple(
            replace(
                one,
                confidence=says.probability([one.trigger.text]),
                arguments=tuple(replace(each, confidence=says.probability([each.text])) for each in one.arguments),
            )
            for one in extraction.events
        ),
    )


class _Said:
    """An answer with the log-probability of each of its characters' tokens."""

    def __init__(self, answer: str, tokens: Sequence[tuple[str, float]]) -> None:
        self._answer = answer
        self._tokens: list[tuple[int, int, float]] = []
        place = 0
        for text, logprob in tokens:
            self._tokens.append((place, place + len(text), max(-100.0, min(0.0, logprob))))
            place += len(text)

    def probability(self, words: Sequence[str]) -> float:
        spans = [(start, start + len(word)) for word in words if word and (start := self._answer.find(word)) >= 0]
        logs = [log for start, end, log in self._tokens if any(start < to and end > at for at, to in spans)]
        logs = logs or [log for _, _, log in self._tokens]
        return round(math.exp(sum(logs) / len(logs)), 4)


def _kept(turns: Sequence[Sequence[R]], name: Callable[[R], Hashable], need: int) -> tuple[list[R], list[float]]:
    """(records with enough votes and their confidence, for each record seen how far the passes agree on it)."""
    seen: dict[Hashable, list[R]] = {}
    for records in turns:
        for key, record in {name(one): one for one in reversed(records)}.items():
            seen.setdefault(key, []).append(record)
    kept, agreed = [], []
    for said in seen.values():
        share = len(said) / len(turns)
        if len(said) >= need:
            kept.append(replace(said[0], confidence=round(share * _probability(said), 4)))
        agreed.append(share if len(said) >= need else 1 - share)
    order = {name(one): place for records in reversed(turns) for place, one in enumerate(records)}
    kept.sort(key=lambda one: order[name(one)])
    return kept, agreed


def _probability(records: Iterable[Any]) -> float:
    known = [one.confidence for one in records if one.confidence is not None]
    return sum(known) / len(known) if known else 1.0


def _turned(turns: Sequence[Sequence[Relation]], kept: Sequence[Relation]) -> tuple[Relation, ...]:
    """The relations, marked where some passes say one only the one way round and others only the other."""
    ways = [{(one.head.text.casefold(), one.relation, one.tail.text.casefold()) for one in turn} for turn in turns]

    def both(one: Relation) -> bool:
        here = (one.head.text.casefold(), one.relation, one.tail.text.casefold())
        there = (here[2], here[1], here[0])
        only_here = any(here in said and there not in said for said in ways)
        only_there = any(there in said and here not in said for said in ways)
        return here != there and only_here and only_there

    return tuple(replace(one, swapped=True) if both(one) else one for one in kept)


def _with_arguments(event: Event, turns: Sequence[Sequence[Event]]) -> Event:
    """The event with the arguments that at least half of the passes that say it give it."""
    same = [
        one for turn in turns for one in {_event(each): each for each in turn}.values() if _event(one) == _event(event)
    ]
    arguments, _ = _kept([one.arguments for one in same], _argument, math.ceil(len(same) / 2))
    share = len(same) / len(turns)
    of_all = (replace(one, confidence=round((one.confidence or 0.0) * share, 4)) for one in arguments)
    return replace(event, arguments=tuple(of_all))


def _place(span: Span | Entity | Argument) -> Hashable:
    return (span.start, span.end) if span.start is not None else span.text.casefold()


def _entity(one: Entity) -> Hashable:
    return (one.type, _place(one))


def _relation(one: Relation) -> Hashable:
    """By words, not places: passes may take another mention of the same."""
    return (one.head.text.casefold(), one.relation, one.tail.text.casefold())


def _event(one: Event) -> Hashable:
    return (one.type, one.trigger.text.casefold())


def _argument(one: Argument) -> Hashable:
    return (one.role, one.text.casefold())


def _readable(turn: Extraction) -> bool:
    told = turn.provenance
    return not told.get("unreadable") or told["unreadable"] < told.get("calls", 0)


def _spent(turns: Sequence[Extraction]) -> dict[str, Any]:
    """Numbers added up; what else there is, from the first that has it."""
    made: dict[str, Any] = {}
    for turn in turns:
        for name, value in turn.provenance.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            made[name] = made.get(name, 0) + value if number else made.get(name, value)
    return made


@dataclass(frozen=True)
class Bin:
    """Records whose confidence is in (low, high]; the first bin has 0 as well."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean."""
    right: float
    """The share of them that is right."""


@dataclass(frozen=True)
class Calibration:
    """How far confidences can be taken as probabilities of being right.

    `ece`: the expected calibration error, the bins' distance between confidence and share right, by their sizes
    (Naeini et al. 2015). `brier`: the mean squared distance of the confidences from 1 (right) or 0. Both are
    better when smaller; None where there is nothing to go by.
    """

    count: int
    bins: tuple[Bin, ...]
    ece: float | None
    brier: float | None


def calibration(pairs: Iterable[tuple[float, bool]], bins: int = BINS) -> Calibration:
    """From (confidence in [0, 1], whether the record is right). Bins of equal width, empty ones left out."""
    known = list(pairs)
    inside: dict[int, list[tuple[float, bool]]] = {}
    for sure, right in known:
        inside.setdefault(max(0, min(bins - 1, math.ceil(sure * bins) - 1)), []).append((sure, right))
    made = tuple(
        Bin(
            at / bins,
            (at + 1) / bins,
            len(some),
            sum(sure for sure, _ in some) / len(some),
            sum(right for _, right in some) / len(some),
        )
        for at, some in sorted(inside.items())
    )
    if not known:
        return Calibration(0, (), None, None)
    ece = sum(one.count * abs(one.confidence - one.right) for one in made) / len(known)
    brier = sum((sure - right) ** 2 for sure, right in known) / len(known)
    return Calibration(len(known), made, ece, brier)
