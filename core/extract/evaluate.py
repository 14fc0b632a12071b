"""Runs against gold, in one pass over the files: scores, errors, confusions, curves and comparisons, and all findings.

Streams, as the score does: what grows with the files goes into `findings.sqlite`, from which the rest is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from core.extract.confidence import Calibration, calibration
from core.extract.evaluate_curves import Point, Variants, precision_recall, variants
from core.extract.evaluate_errors import KINDS, Finding, findings
from core.extract.evaluate_pieces import Piece, Rules, pieces
from core.extract.evaluate_store import CONFUSION, Writer, confusion
from core.extract.pairing import pair
from core.extract.schema import Task
from core.extract.score import Comparison, Scores, Tally, compared, counted
from core.records import Extraction

LABELS = 40
"""Labels of a confusion matrix; those that occur least are left out of the report (never of the counts)."""


@dataclass(frozen=True)
class RunScores:
    """One run on the gold."""

    name: str
    scores: Scores
    errors: dict[str, int]
    """How many findings of each kind, `right` among them."""
    by_type: dict[str, dict[str, int]]
    """{type: {kind: how many}}."""
    confusion: dict[str, dict[str, dict[str, int]]]
    """{slot: {gold's label, or "" for none: {predicted label, or "": how many}}}."""
    curve: list[Point]
    """Precision and recall by confidence; empty where the run measured none."""
    calibration: Calibration | None = None
    """How far confidences can be believed; None where there are none."""
    about: dict[str, Any] = field(default_factory=dict)
    """Of the first row's provenance: model, dialect, prompt, schema."""


@dataclass(frozen=True)
class Versus:
    """Is the second better than the first? Places among the runs."""

    before: int
    after: int
    comparison: Comparison


@dataclass(frozen=True)
class Evaluation:
    task: Task
    rules: Rules
    runs: list[RunScores]
    versus: list[Versus]
    variants: Variants | None
    """None for a single run."""
    left_out: int = 0
    """Gold rows that were left out because a model or its prompt had seen them."""


ABOUT = (
    "model",
    "model_title",
    "dialect",
    "dialect_version",
    "prompt_form",
    "examples",
    "schema",
    "schema_hash",
    "grammar",
    "passes",
)


def evaluate(
    gold: Iterable[Extraction],
    runs: Sequence[tuple[str, Iterable[Extraction]]],
    task: Task,
    rules: Rules,
    folder: Path,
    *,
    types: Collection[str] | None = None,
    allow_missing: bool = False,
    leave_out: Collection[str] = (),
    done: Callable[[int], None] = lambda rows: None,
) -> Evaluation:
    """`runs`: (name, predicted rows). `leave_out`: texts of rows that don't count. Writes `findings.sqlite` there.

    Raises UserError, as the score does: rows that don't meet, offsets that don't fit, nothing to score.
    """
    wanted = None if types is None else frozenset(types)
    made = [_Run(name, types) for name, _ in runs]
    together: Counter[tuple[int, ...]] = Counter()
    left_out = 0
    with Writer(folder) as writer:
        rows = pair([gold, *(pred for _, pred in runs)], merge=rules == "iepile", allow_missing=allow_missing)
        for doc, (right, *others) in enumerate(rows):
            done(doc + 1)
            if right.text in leave_out:
                left_out += 1
                continue
            writer.document(doc, right)
            own = list(pieces(right, task, rules))
            counts: list[int] = [sum(counted((p.item for p in _of(own, wanted)), rules).values())]
            for number, (run, pred) in enumerate(zip(made, others, strict=True)):
                said = list(pieces(pred, task, rules))
                run.add(own, said, pred, rules)
                found = findings(_of(own, wanted), _of(said, wanted), rules)
                run.found(found)
                counts += [sum(one.pred is not None for one in found), sum(one.kind == "right" for one in found)]
                writer.prediction(number, doc, pred, found)
            together[tuple(counts)] += 1
        scored = [run.scores(number, writer, task, rules) for number, run in enumerate(made)]
    pairs = [Versus(one, other, compared(_two(together, one, other))) for one, other in _pairs(len(made))]
    return Evaluation(task, rules, scored, pairs, variants(together) if len(made) > 1 else None, left_out)


def _of(found: Iterable[Piece], types: Collection[str] | None) -> list[Piece]:
    return [piece for piece in found if types is None or piece.item.type in types]


def _pairs(number: int) -> Iterator[tuple[int, int]]:
    """Each with each; of many runs each with the first."""
    yield from combinations(range(number), 2) if number <= 4 else ((0, other) for other in range(1, number))


def _two(together: Counter[tuple[int, ...]], one: int, other: int) -> Counter[tuple[int, ...]]:
    made: Counter[tuple[int, ...]] = Counter()
    for counts, number in together.items():
        columns = (0, 1 + 2 * one, 2 + 2 * one, 1 + 2 * other, 2 + 2 * other)
        made[tuple(counts[column] for column in columns)] += number
    return made


class _Run:
    def __init__(self, name: str, types: Collection[str] | None) -> None:
        self._name = name
        self._tally = Tally(types)
        self._kinds: Counter[str] = Counter()
        self._by_type: dict[str, Counter[str]] = {}
        self._about: dict[str, Any] | None = None

    def add(self, gold: Sequence[Piece], pred: Sequence[Piece], row: Extraction, rules: Rules) -> None:
        if self._about is None and row.provenance.get("model"):
            self._about = {name: row.provenance[name] for name in ABOUT if name in row.provenance}
        items = [counted((piece.item for piece in side), rules) for side in (gold, pred)]
        self._tally.add(items[0], items[1], row)

    def found(self, made: Iterable[Finding]) -> None:
        for one in made:
            self._kinds[one.kind] += 1
            self._by_type.setdefault(one.type, Counter())[one.kind] += 1

    def scores(self, number: int, writer: Writer, task: Task, rules: Rules) -> RunScores:
        scores = self._tally.scores(task, rules)
        said = writer.ask(
            "SELECT confidence, kind = 'right' FROM findings WHERE run = ? AND pred_record IS NOT NULL", number
        )
        sure = [(confidence, bool(right)) for confidence, right in said if confidence is not None]
        return RunScores(
            self._name,
            scores,
            {kind: self._kinds[kind] for kind in KINDS},
            {name: dict(kinds) for name, kinds in sorted(self._by_type.items())},
            _shown(confusion(writer.ask(CONFUSION, number))),
            precision_recall(sure, scores.total.gold) if 2 * len(sure) > len(said) else [],
            calibration(sure) if sure else None,
            self._about or {},
        )


def _shown(made: dict[str, dict[str, dict[str, int]]]) -> dict[str, dict[str, dict[str, int]]]:
    """The labels that occur most."""
    shown = {}
    for slot, cells in made.items():
        often: Counter[str] = Counter()
        for gold, row in cells.items():
            for pred, number in row.items():
                often[gold] += number
                often[pred] += number
        often.pop("", None)
        kept = {label for label, _ in often.most_common(LABELS)} | {""}
        shown[slot] = {
            gold: {pred: number for pred, number in row.items() if pred in kept}
            for gold, row in cells.items()
            if gold in kept
        }
    return shown
