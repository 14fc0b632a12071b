"""`python -m core extract score`: how right a file of predictions is, and whether it beats another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from core.errors import UserError
from core.extract import gold as golds
from core.extract.schema import Task
from core.extract.score import Comparison, Figure, Rules, Scores, compare, score
from core.operation import Progress, Request, Result, operation
from core.records import Extraction


class ScoreRequest(Request):
    """Score predicted records against gold: precision, recall and F1 with intervals, by type."""

    gold: Path = Field(
        description="What is right: a records.jsonl, JSON lines with text and entity, relation or event, a CSV or "
        "Excel table, BIO tags, or an export of Label Studio",
        json_schema_extra={"picker": "file"},
    )
    pred: Path = Field(
        description="What was predicted for the same texts: the folder of a run, or its records.jsonl",
        json_schema_extra={"picker": "file"},
    )
    task: Task = Field(description="What to score: entities (ner), relations (re), events (ee)")
    rules: Rules = Field(
        default="strict",
        description="strict: places must match, arguments need their trigger; iepile: words, as IEPile's scorer",
    )
    types: str = Field(default="", description="Score these types alone, written with commas between; all if empty")
    before: Path | None = Field(
        default=None,
        description="Earlier predictions for the same texts: are the new ones better, worse, or can't one tell?",
        json_schema_extra={"picker": "file"},
    )
    allow_missing: bool = Field(
        default=False,
        description="Count gold rows without a prediction as rows where nothing was found",
        json_schema_extra={"advanced": True},
    )


class ScoreResult(Result):
    scores: Scores
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        made = self.scores
        lines = [f"{made.rules} scores of {made.documents} rows, task {made.task}", "", _HEAD]
        lines.append(_line("all", made.total))
        if len(made.slots) > 1:
            lines += [_line(f"all {slot}s", figure) for slot, figure in made.slots.items()]
        lines += [_line(name, figure) for name, figure in made.types.items()]
        if self.comparison:
            lines += ["", _told(self.comparison)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


_HEAD = f"{'':32} {'gold':>7} {'found':>7} {'right':>7} {'precision':>10} {'recall':>7} {'F1':>6}  95% interval of F1"


def _line(name: str, made: Figure) -> str:
    counts = f"{made.gold:7} {made.predicted:7} {made.correct:7}"
    low, high = made.f1_interval
    return f"{name[:32]:32} {counts} {made.precision:10.3f} {made.recall:7.3f} {made.f1:6.3f}  {low:.3f} to {high:.3f}"


def _told(made: Comparison) -> str:
    low, high = made.interval
    change = f"F1 {made.before:.3f} before, {made.after:.3f} after, {made.difference:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"{made.verdict}: {change}"


@operation("extract", "score")
def run(request: ScoreRequest, progress: Progress) -> ScoreResult:
    types = named(request.types)

    def rows(path: Path, *, predicted: bool = True) -> Iterator[Extraction]:
        return golds.read(path, request.task, located=request.rules == "strict", predicted=predicted)

    made = score(
        _counted(rows(request.gold, predicted=False), progress),
        rows(request.pred),
        request.task,
        request.rules,
        types=types,
        allow_missing=request.allow_missing,
    )
    check_types(made, types)
    comparison = None
    if request.before:
        comparison = compare(
            rows(request.gold, predicted=False),
            rows(request.before),
            rows(request.pred),
            request.task,
            request.rules,
            types=types,
            allow_missing=request.allow_missing,
        )
    return ScoreResult(scores=made, comparison=comparison, notes=tuple(str(note).strip() for note in notes(made)))


def named(types: str) -> frozenset[str] | None:
    """The types written with commas between; None: all."""
    return frozenset(name.strip() for name in types.split(",") if name.strip()) or None


def _counted(rows: Iterator[Extraction], progress: Progress) -> Iterator[Extraction]:
    for number, row in enumerate(rows, start=1):
        yield row
        progress.step(number, None, "rows")


def check_types(made: Scores, types: frozenset[str] | None) -> None:
    """Raise UserError where a score would only say that names differ."""
    unknown = sorted((types or frozenset()) - made.types.keys())
    if unknown:
        raise UserError(
            "Neither gold nor predictions have the types {unknown}.",
            remedy="Choose among {known}.",
            unknown=", ".join(unknown),
            known=", ".join([*made.types, *made.ignored]) or "–",
        )
    if not made.total.gold:
        raise UserError(
            "The gold has nothing to find for the task {task}.",
            remedy="Choose the task that the file is for, or a gold file with records.",
            task=made.task,
        )
    wanted = [name for name, figure in made.types.items() if figure.gold]
    said = [name for name, figure in made.types.items() if figure.predicted]
    if said and not set(wanted) & set(said):
        raise UserError(
            "None of the predicted types is in the gold: predicted are {predicted}, the gold has {wanted}.",
            remedy="Extract with a schema whose types have the gold's names.",
            predicted=", ".join(said[:10]),
            wanted=", ".join(wanted[:10]),
        )


def notes(made: Scores) -> Iterator[UserError]:
    """What must be known before the figures are believed."""
    in_gold, in_pred = made.unlocated
    if made.failed:
        yield UserError(
            "{n} predicted rows failed; they count with what they have, which may be nothing.", remedy="", n=made.failed
        )
    if made.missing:
        yield UserError(
            "{n} gold rows have no prediction and count as rows where nothing was found.", remedy="", n=made.missing
        )
    if in_gold and made.rules == "strict":
        yield UserError(
            "{n} records of the gold are not in their texts to the letter; nothing can match them.",
            remedy="",
            n=in_gold,
        )
    if in_pred and made.rules == "strict":
        yield UserError("{n} predicted records are not in their texts; they count as wrong.", remedy="", n=in_pred)
    strange = [name for name, figure in made.types.items() if not figure.gold]
    if strange:
        yield UserError(
            "These types are predicted but never in the gold: {types}.", remedy="", types=", ".join(strange[:10])
        )
