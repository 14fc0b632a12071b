"""`python -m core extract submission`: triples of a run as InstructKGC hands them in, and their score."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import tyro
from pydantic import Field

from core.errors import UserError
from core.extract import instructkgc, instructkgc_run
from core.extract.score import Figure, score
from core.operation import Progress, Request, Result, operation
from core.records import Extraction


class SubmissionRequest(Request):
    """Write a run's triples as a submission of InstructKGC (id, output, kg), and score them where gold is given."""

    run: tyro.conf.Positional[Path] = Field(
        description="Folder that extract instructkgc wrote, or a records.jsonl",
        json_schema_extra={"picker": "folder"},
    )
    out: Path = Field(description="File to write", json_schema_extra={"picker": "file"})
    gold: Path | None = Field(
        default=None,
        description="Rows with kg or output, which tell what is right: the submission is scored against them",
        json_schema_extra={"picker": "file"},
    )


class SubmissionResult(Result):
    out: Path
    rows: int
    triples: int
    failed: int
    empty: int
    score: Figure | None = None

    def summary(self) -> str:
        lines = [f"{self.rows} rows, {self.triples} triples; {self.empty} rows have none, {self.failed} failed"]
        if self.score is not None:
            one = self.score
            low, high = one.f1_interval
            lines.append(
                f"precision {one.precision:.4f}, recall {one.recall:.4f}, F1 {one.f1:.4f} ({low:.3f} to {high:.3f}): "
                f"{one.correct} of {one.gold} triples right to the letter, {one.predicted} handed in"
            )
        return "\n".join([*lines, f"written to {self.out}"])


@operation("extract", "submission")
def run(request: SubmissionRequest, progress: Progress) -> SubmissionResult:
    rows = triples = failed = empty = 0
    request.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = request.out.with_name(request.out.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        for made in instructkgc_run.records(request.run):
            row = instructkgc.submission(made)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            rows, triples = rows + 1, triples + len(row["kg"])
            failed += made.error is not None
            empty += not row["kg"]
            progress.step(rows, None, "rows")
    if not rows:
        temporary.unlink()
        raise UserError("{path} is empty.", remedy="Let the run finish first.", path=request.run)
    temporary.replace(request.out)
    figure = _scored(request.gold, request.out) if request.gold is not None else None
    return SubmissionResult(out=request.out, rows=rows, triples=triples, failed=failed, empty=empty, score=figure)


def _scored(gold: Path, handed_in: Path) -> Figure:
    """By words, of the file that was written: what reaches the judges is what is scored."""
    wanted = {row.id: row for row in instructkgc.gold(gold)}
    pred = list(_handed_in(handed_in))
    missing = [row.id for row in pred if row.id not in wanted]
    if missing:
        raise UserError(
            "{count} of the rows are not in the gold, among them {rows}.",
            remedy="Score against the file that the run was made from.",
            count=len(missing),
            rows=", ".join(missing[:5]),
        )
    told = (replace(row, text=wanted[row.id].text) for row in pred)
    return score(iter(wanted.values()), told, "re", "iepile", allow_missing=True).total


def _handed_in(path: Path) -> Iterator[Extraction]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield instructkgc.as_records(row["id"], "", [(head, name, tail) for head, name, tail in row["kg"]])
