"""How right predictions are: micro precision, recall and F1, by slot and type, with 95% intervals.

`strict`: places must match. An entity is its type and place; a relation its type and both places; an
event's trigger its type and place; an argument its role and place, of a trigger that matches. Said
twice counts once; what has no place in the text never matches.

`iepile`: as IEPile's scorer: words must match, to the letter and as often as gold says them, wherever
they stand; an argument is its event's type, its role and its words, whatever the trigger. Predicted
rows of one source and id are put together first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import UserError
from core.extract import resample
from core.extract.evaluate_pieces import SLOTS, Item, Rules, pieces
from core.extract.pairing import MISSING, pair
from core.extract.schema import Task
from core.records import Extraction

__all__ = ["ALL", "SLOTS", "Comparison", "Figure", "Rules", "Scores", "Tally", "compare", "compared", "figure", "score"]

Counts = tuple[int, int, int]
"""(gold, predicted, correct) of one document."""
ALL = "all"


@dataclass(frozen=True)
class Figure:
    """Counts over all documents and what follows from them; 0 where there is nothing to divide by."""

    gold: int
    predicted: int
    correct: int
    precision: float
    recall: float
    f1: float
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]
    f1_interval: tuple[float, float]


@dataclass(frozen=True)
class Scores:
    task: Task
    rules: Rules
    total: Figure
    """Over all slots together: the score to quote."""
    slots: dict[str, Figure]
    types: dict[str, Figure]
    """Over all slots of a type, in the types' alphabetical order."""
    documents: int
    failed: int
    """Predicted rows that carry an error."""
    missing: int
    """Gold rows without a prediction, where that is allowed."""
    unlocated: tuple[int, int]
    """Records of gold and of the predictions that have no place in their text."""
    ignored: tuple[str, ...]
    """Types that occur but were not asked for."""


@dataclass(frozen=True)
class Comparison:
    """`difference`: micro F1 after minus before. The verdict rests on its 95% interval."""

    verdict: Literal["better", "worse", "cannot tell"]
    difference: float
    interval: tuple[float, float]
    before: float
    after: float
    documents: int


def score(
    gold: Iterable[Extraction],
    pred: Iterable[Extraction],
    task: Task,
    rules: Rules = "strict",
    *,
    types: Collection[str] | None = None,
    allow_missing: bool = False,
) -> Scores:
    """Predictions against gold; rows are paired as `pairing.pair` says. Raises UserError.

    `types`: score these alone; records of other types are ignored on both sides.
    """
    tally = Tally(types)
    for one, other in pair((gold, pred), merge=rules == "iepile", allow_missing=allow_missing):
        tally.add(_items(one, task, rules), _items(other, task, rules), other)
    return tally.scores(task, rules)


def compare(
    gold: Iterable[Extraction],
    before: Iterable[Extraction],
    after: Iterable[Extraction],
    task: Task,
    rules: Rules = "strict",
    *,
    types: Collection[str] | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """Is `after` better than `before`? Paired: both are scored on the same resampled documents."""
    documents: Counter[tuple[int, ...]] = Counter()
    for one, old, new in pair((gold, before, after), merge=rules == "iepile", allow_missing=allow_missing):
        wanted = _asked(_items(one, task, rules), types)
        gold_count, old_count, old_right = _total(wanted, _asked(_items(old, task, rules), types))
        _, new_count, new_right = _total(wanted, _asked(_items(new, task, rules), types))
        documents[gold_count, old_count, old_right, new_count, new_right] += 1
    return compared(documents)


def compared(documents: Counter[tuple[int, ...]]) -> Comparison:
    """`documents`: how many have which (gold, predicted before, right before, predicted after, right after)."""
    if not documents:
        raise nothing()
    sums, draws = resample.totals(documents)
    old_f1, new_f1 = (_f1_of(sums, columns) for columns in _SIDES)
    gains = _f1_of(draws, _SIDES[1]) - _f1_of(draws, _SIDES[0])
    low, high = resample.interval(gains)
    verdict: Literal["better", "worse", "cannot tell"]
    verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    return Comparison(
        verdict, float(new_f1 - old_f1), (low, high), float(old_f1), float(new_f1), documents=documents.total()
    )


_SIDES = ((0, 1, 2), (0, 3, 4))  # gold, predicted and correct, before and after


def _f1_of(sums: np.ndarray, columns: tuple[int, int, int]) -> np.ndarray:
    """0 where there is nothing in gold and nothing predicted, so that differences stay numbers."""
    return np.nan_to_num(resample.f1(*(sums[..., column] for column in columns)))


# Records to items


def _items(row: Extraction, task: Task, rules: Rules) -> Counter[Item]:
    """A document's items; under `strict` each once."""
    return counted((piece.item for piece in pieces(row, task, rules)), rules)


def counted(items: Iterable[Item], rules: Rules) -> Counter[Item]:
    return Counter(items) if rules == "iepile" else Counter(set(items))


# Counting


def _asked(items: Counter[Item], types: Collection[str] | None) -> Counter[Item]:
    return items if types is None else Counter({item: n for item, n in items.items() if item.type in types})


def _correct(gold: Counter[Item], pred: Counter[Item]) -> Counter[Item]:
    return Counter({item: n for item, n in (gold & pred).items() if item.located})


def _total(gold: Counter[Item], pred: Counter[Item]) -> Counts:
    return gold.total(), pred.total(), _correct(gold, pred).total()


class Tally:
    """For each figure, how many documents have which counts: all that the intervals need."""

    def __init__(self, types: Collection[str] | None) -> None:
        self._types = None if types is None else frozenset(types)
        self._documents = self._failed = self._missing = 0
        self._unlocated = [0, 0]
        self._ignored: set[str] = set()
        self._counts: dict[tuple[str, str], Counter[Counts]] = defaultdict(Counter)

    def add(self, gold: Counter[Item], pred: Counter[Item], row: Extraction) -> None:
        """`row`: the predicted one, for what it says of itself."""
        self._documents += 1
        self._failed += row.error is not None
        self._missing += row.provenance is MISSING
        if self._types is not None:
            self._ignored.update(item.type for item in gold.keys() | pred.keys() if item.type not in self._types)
            gold, pred = _asked(gold, self._types), _asked(pred, self._types)
        here: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for column, items in enumerate((gold, pred, _correct(gold, pred))):
            for item, number in items.items():
                for figure in (ALL, ""), ("slot", item.slot), ("type", item.type):
                    here[figure][column] += number
                if column < 2 and not item.located:
                    self._unlocated[column] += number
        for figure, counts in here.items():
            self._counts[figure][counts[0], counts[1], counts[2]] += 1

    def scores(self, task: Task, rules: Rules) -> Scores:
        if not self._documents:
            raise nothing()
        types = sorted(name for kind, name in self._counts if kind == "type")
        return Scores(
            task=task,
            rules=rules,
            total=self._figure((ALL, "")),
            slots={slot: self._figure(("slot", slot)) for slot in SLOTS[task]},
            types={name: self._figure(("type", name)) for name in types},
            documents=self._documents,
            failed=self._failed,
            missing=self._missing,
            unlocated=(self._unlocated[0], self._unlocated[1]),
            ignored=tuple(sorted(self._ignored)),
        )

    def _figure(self, name: tuple[str, str]) -> Figure:
        documents: Counter[tuple[int, ...]] = Counter(self._counts.get(name))
        documents[0, 0, 0] += self._documents - documents.total()
        return figure(+documents)


def figure(documents: Counter[tuple[int, ...]]) -> Figure:
    """`documents`: how many documents have which (gold, predicted, correct)."""
    sums, draws = resample.totals(documents)
    measures = (resample.precision, resample.recall, resample.f1)
    values = [float(np.nan_to_num(measure(*sums))) for measure in measures]
    intervals = [resample.interval(measure(*draws.T)) for measure in measures]
    gold, predicted, correct = (int(number) for number in sums)
    return Figure(
        gold,
        predicted,
        correct,
        precision=values[0],
        recall=values[1],
        f1=values[2],
        precision_interval=intervals[0],
        recall_interval=intervals[1],
        f1_interval=intervals[2],
    )


def nothing() -> UserError:
    return UserError("There are no rows to score.", remedy="Give gold and predictions with at least one row.")
