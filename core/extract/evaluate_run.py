"""`python -m core extract report`: runs against gold, as a folder with report.html, report.json and every finding."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from core.errors import UserError
from core.extract import evaluate_html, evaluate_seen, inputs
from core.extract import gold as golds
from core.extract.evaluate import Evaluation, evaluate
from core.extract.evaluate_errors import ERRORS
from core.extract.evaluate_pieces import Rules
from core.extract.evaluate_store import FILE, Findings, all_lines
from core.extract.schema import Task
from core.extract.score_run import check_types, named, notes
from core.operation import Progress, Request, Result, operation
from core.records import Extraction
from core.store import dump

JSON, HTML, ERROR_LINES = "report.json", "report.html", "errors.jsonl"
FORMAT = 1
_evaluations = TypeAdapter(Evaluation)


class ReportRequest(Request):
    """Evaluate runs against gold: scores, errors by kind with their sentences, and a comparison, as HTML and JSON."""

    gold: Path = Field(
        description="What is right: a records.jsonl, JSON lines with text and entity, relation or event, a CSV or "
        "Excel table, BIO tags, or an export of Label Studio",
        json_schema_extra={"picker": "file"},
    )
    pred: tuple[Path, ...] = Field(
        min_length=1,
        max_length=20,
        description="What was predicted for the same texts: folders of runs, or their records.jsonl; several are "
        "compared",
        json_schema_extra={"picker": "file"},
    )
    task: Task = Field(description="What to score: entities (ner), relations (re), events (ee)")
    out: Path = Field(description="Folder for the report", json_schema_extra={"picker": "folder"})
    rules: Rules = Field(
        default="strict",
        description="strict: places must match, arguments need their trigger; iepile: words, as IEPile's scorer",
    )
    types: str = Field(default="", description="Score these types alone, written with commas between; all if empty")
    names: tuple[str, ...] = Field(
        default=(),
        description="What the runs are called in the report, in their order; their folders' names if not given",
        json_schema_extra={"advanced": True},
    )
    allow_missing: bool = Field(
        default=False,
        description="Count gold rows without a prediction as rows where nothing was found",
        json_schema_extra={"advanced": True},
    )
    trained_on: tuple[Path, ...] = Field(
        default=(),
        description="Files or folders that a model was trained on, where this program can't know: gold that stands "
        "in them is refused",
        json_schema_extra={"picker": "file", "advanced": True},
    )
    leave_out_seen: bool = Field(
        default=False,
        description="Leave out gold rows that a model or its prompt saw, instead of refusing them all",
        json_schema_extra={"advanced": True},
    )


class ReportResult(Result):
    out: Path
    rows: int
    left_out: int
    names: tuple[str, ...]
    f1: tuple[float, ...]
    notes: tuple[str, ...]
    seconds: float
    told: str = Field(default="", exclude=True)

    def summary(self) -> str:
        return "\n".join([self.told, *(f"note: {note}" for note in self.notes), f"written to {self.out}"])


@operation("extract", "report")
def run(request: ReportRequest, progress: Progress) -> ReportResult:
    """report.json goes last: with it the folder is a whole evaluation."""
    started = time.monotonic()
    names = _names(request)
    out = _folder(request.out)
    (out / JSON).unlink(missing_ok=True)
    known, leave_out = _seen(request, names, progress)
    made = evaluate(
        _rows(request, request.gold, predicted=False),
        [(name, _rows(request, path)) for name, path in zip(names, request.pred, strict=True)],
        request.task,
        request.rules,
        out,
        types=named(request.types),
        allow_missing=request.allow_missing,
        leave_out=leave_out,
        done=lambda rows: progress.step(rows, None, "rows"),
    )
    for one in made.runs:
        check_types(one.scores, named(request.types))
    told = _notes(made, request, known)
    report = {
        "format": FORMAT,
        "made_at": time.time(),
        "gold": {"path": str(request.gold), "sha256": _digest(request.gold)},
        "preds": [str(path) for path in request.pred],
        "notes": [{"run": name, **note.to_dict()} for name, note in told],
        "seen": {name: sorted(set(each)) for name, each in known.items()},
        **_evaluations.dump_python(made, mode="json"),
    }
    findings = Findings(out)
    _write_errors(out / ERROR_LINES, findings, names)
    (out / HTML).write_text(evaluate_html.render(report, findings), encoding="utf-8")
    temporary = out / f".{JSON}.tmp"
    temporary.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    temporary.replace(out / JSON)
    return ReportResult(
        out=out,
        rows=made.runs[0].scores.documents,
        left_out=made.left_out,
        names=names,
        f1=tuple(round(one.scores.total.f1, 4) for one in made.runs),
        notes=tuple(f"{name}: {note}".removeprefix(": ").strip() for name, note in told),
        seconds=round(time.monotonic() - started, 2),
        told=_told(made),
    )


def read_report(folder: Path) -> tuple[dict[str, Any], Evaluation]:
    """(the whole report, its evaluation) of a folder. Raises UserError: none there, or by a newer version."""
    place = folder / JSON
    try:
        report = json.loads(place.read_text(encoding="utf-8"))
        if report["format"] > FORMAT:
            raise UserError(
                "{file} was written by a newer version of the app.",
                remedy="Update the app, or evaluate again.",
                file=place,
            )
        return report, _evaluations.validate_python({name: report[name] for name in Evaluation.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "The evaluation in {folder} can't be read ({why}).",
            remedy="Evaluate again: it writes the folder anew.",
            folder=folder,
            why=error,
        ) from error


def _rows(request: ReportRequest, path: Path, *, predicted: bool = True) -> Iterator[Extraction]:
    return golds.read(path, request.task, located=request.rules == "strict", predicted=predicted)


def _names(request: ReportRequest) -> tuple[str, ...]:
    """Distinct ones."""
    if request.names and len(request.names) != len(request.pred):
        raise UserError(
            "There are {names} names for {runs} runs.",
            remedy="Give each run a name, or none.",
            names=len(request.names),
            runs=len(request.pred),
        )
    made: list[str] = []
    for wanted in request.names or [_name(path) for path in request.pred]:
        name, at = wanted, 2
        while name in made:
            name, at = f"{wanted} ({at})", at + 1
        made.append(name)
    return tuple(made)


def _name(path: Path) -> str:
    return path.parent.name if path.stem == "records" and path.parent.name else path.stem


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "The folder {folder} can't be made ({reason}).",
            remedy="Choose a folder in a place you may write to.",
            folder=out,
            reason=error.strerror or error,
        ) from error
    return out.resolve()


def _digest(path: Path) -> str:
    return inputs.digest(path) if path.is_file() else ""


def _seen(
    request: ReportRequest, names: Sequence[str], progress: Progress
) -> tuple[dict[str, list[str]], Collection[str]]:
    """What is known of each run's model, and the gold texts to leave out. Raises UserError where it saw some."""
    progress.log("looking whether a model or its prompt saw the gold")
    texts = list(dict.fromkeys(row.text for row in _rows(request, request.gold, predicted=False)))
    known: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    for name, path in zip(names, request.pred, strict=True):
        first = next(islice(_rows(request, path), 1), None)
        made = evaluate_seen.seen(texts, first.provenance if first else {}, request.trained_on)
        known[name] = made.known
        left_out |= made.texts
        if made.texts and not request.leave_out_seen:
            text, where = next(iter(made.texts.items()))
            raise UserError(
                "{name} saw {count} of the {rows} gold texts before, among them “{text}” (in {where}).",
                remedy="Evaluate with gold that it never saw, or leave these rows out: --leave-out-seen does.",
                name=name,
                count=len(made.texts),
                rows=len(texts),
                text=text[:60],
                where=where,
            )
    if texts and len(left_out) == len(texts):
        raise UserError(
            "All gold texts were seen before, so there is nothing left to evaluate with.",
            remedy="Make gold of other texts: a hundred sentences judged in the audit are a good start.",
        )
    return known, left_out


def _notes(made: Evaluation, request: ReportRequest, known: dict[str, list[str]]) -> list[tuple[str, UserError]]:
    """(the run that it is about, or "", what must be known)."""
    told: list[tuple[str, UserError]] = []
    for one in made.runs:
        told += [(one.name, note) for note in notes(one.scores)]
        if strange := _never_asked(one.about, one.scores.types.keys(), request):
            why = "Its schema never asked for {types}: all of these count as missing."
            told.append((one.name, UserError(why, remedy="", types=", ".join(strange))))
        if not known[one.name]:
            told.append((one.name, UserError("What its model was trained on isn't known here.", remedy="")))
    if made.left_out:
        why = "{n} gold rows were left out: a model or its prompt saw them."
        told.append(("", UserError(why, remedy="", n=made.left_out)))
    if len(made.versus) > 1:
        why = "{n} comparisons: each interval is right 19 times in 20, so one of them may mislead."
        told.append(("", UserError(why, remedy="", n=len(made.versus))))
    return told


def _never_asked(about: dict[str, Any], types: Collection[str], request: ReportRequest) -> list[str]:
    schema = evaluate_seen.schema_of(about)
    if schema is None:
        return []
    asked = {one.name for one in schema.types(request.task)}
    return sorted(set(types) - asked)[:10]


def _write_errors(place: Path, findings: Findings, names: Sequence[str]) -> None:
    with place.open("w", encoding="utf-8", newline="\n") as file:
        for number, name in enumerate(names):
            for line in all_lines(findings, number):
                gold = {"label": line.gold_label, "record": line.gold_record, "words": line.gold_words}
                pred = {"label": line.pred_label, "record": line.pred_record, "words": line.pred_words}
                told = {
                    "run": name,
                    "id": line.id,
                    "error": line.kind,
                    "slot": line.slot,
                    "type": line.type,
                    "gold": gold if line.gold_record else None,
                    "pred": pred if line.pred_record else None,
                }
                file.write(dump(told) + "\n")


def _told(made: Evaluation) -> str:
    lines = [f"{made.rules} scores of {made.runs[0].scores.documents} rows, task {made.task}", ""]
    width = max(len(one.name) for one in made.runs)
    for one in made.runs:
        total = one.scores.total
        low, high = total.f1_interval
        lines.append(
            f"{one.name:{width}}  precision {total.precision:.3f}  recall {total.recall:.3f}  F1 {total.f1:.3f} "
            f"({low:.3f} to {high:.3f})"
        )
        lines.append(f"{'':{width}}  " + ", ".join(f"{kind} {one.errors[kind]}" for kind in ERRORS))
    for pair in made.versus:
        tested = pair.comparison
        low, high = tested.interval
        lines.append(
            f"{made.runs[pair.after].name} against {made.runs[pair.before].name}: {tested.verdict}, "
            f"{tested.difference:+.3f} ({low:+.3f} to {high:+.3f})"
        )
    if (several := made.variants) is not None:
        low, high = several.mean_interval
        lines.append(
            f"mean F1 of the runs {several.mean:.3f} ({low:.3f} to {high:.3f}), lowest {several.lowest:.3f}, "
            f"best {several.best:.3f} ({made.runs[several.best_run].name}); chosen on one half and scored on the "
            f"other {several.chosen:.3f}"
        )
    return "\n".join(lines)


__all__ = ["ERROR_LINES", "FILE", "HTML", "JSON", "ReportRequest", "ReportResult", "read_report", "run"]
