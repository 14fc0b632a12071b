"""`python -m core extract audit sample` and `… audit score`: how right a run is, judged by a person, without gold."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from pydantic import Field

from core.extract import audit_share
from core.extract.audit import TOLD, Audit, write_told
from core.extract.audit_sample import Method
from core.extract.audit_score import AuditScores
from core.extract.schema import Task
from core.extract.score import Comparison
from core.operation import Progress, Request, Result, operation


class SampleRequest(Request):
    """Draw the random sentences of a run that a person then judges on the page Evaluate."""

    run: Path = Field(description="Folder that an extraction run wrote", json_schema_extra={"picker": "folder"})
    size: int = Field(
        default=100, ge=2, le=10_000, description="Sentences to judge; fewer where there are fewer",
        json_schema_extra={"unit": "sentences"},
    )  # fmt: skip
    method: Method = Field(
        default="simple",
        description="simple: every sentence has the same chance; stratified: half of them from sentences in which "
        "something was found, which the score makes up for",
    )
    same_as: Path | None = Field(
        default=None,
        description="Run on the same texts whose sample is judged for this run, too, so that the two can be compared",
        json_schema_extra={"picker": "folder"},
    )
    task: tuple[Task, ...] = Field(
        default=(), description="What is judged; all that the run was asked for if none is given",
        json_schema_extra={"advanced": True},
    )  # fmt: skip
    seed: int = Field(
        default=7, ge=0, le=2**31, description="Same seed, same sentences", json_schema_extra={"advanced": True}
    )
    who: str = Field(default="", description="Who draws it; your login name if not given")


class SampleResult(Result):
    run: Path
    sentences: int
    population: dict[str, int]
    seed: int

    def summary(self) -> str:
        whole = sum(self.population.values())
        return (
            f"{self.sentences} of {whole} sentences drawn (seed {self.seed}); judge them on the page Evaluate, "
            "then `extract audit score` tells how right the run is"
        )


@operation("extract", "audit sample")
def sample(request: SampleRequest, progress: Progress) -> SampleResult:
    audit, who = Audit(request.run), request.who or me()

    def done(rows: int) -> None:
        progress.step(rows, None, "rows")

    if request.same_as is not None:
        made = audit.share(Audit(request.same_as), who, done=done)
    else:
        made = audit.sample(request.size, request.seed, who, method=request.method, tasks=request.task, done=done)
    return SampleResult(run=request.run, sentences=made.size, population=made.population, seed=made.seed)


class AuditScoreRequest(Request):
    """How right a run is by its audit: precision, recall and F1 with intervals; and whether it beats another run."""

    run: Path = Field(description="Folder that an extraction run wrote", json_schema_extra={"picker": "folder"})
    before: Path | None = Field(
        default=None,
        description="Run that was audited on the same sentences: is this one better, worse, or can't one tell?",
        json_schema_extra={"picker": "folder"},
    )


class AuditScoreResult(Result):
    run: Path
    scores: AuditScores
    left: int
    """Sentences of the sample that nobody has judged yet."""
    told: dict[str, Any]
    comparison: Comparison | None = None

    def summary(self) -> str:
        lines = [f"{self.scores.sentences} sentences judged, {self.left} to go"]
        for name in ("precision", "recall", "f1"):
            share = getattr(self.scores, name)
            if share is None:
                lines.append(f"{name}: nothing to tell it by")
            else:
                lines.append(f"{name} {share.value:.3f} ({share.interval[0]:.3f} to {share.interval[1]:.3f})")
        if (made := self.comparison) is not None:
            low, high = made.interval
            lines.append(
                f"{made.verdict}: F1 {made.before:.3f} before, {made.after:.3f} after, {made.difference:+.3f} "
                f"({low:+.3f} to {high:+.3f}), on {made.documents} sentences"
            )
        return "\n".join([*lines, f"written to {self.run / TOLD}"])


@operation("extract", "audit score")
def score(request: AuditScoreRequest, progress: Progress) -> AuditScoreResult:
    audit = Audit(request.run)
    info = audit.newest()
    made = audit.scores(info)
    comparison = audit_share.compare(request.before, request.run) if request.before else None
    return AuditScoreResult(
        run=request.run,
        scores=made,
        left=info.size - info.judged,
        told=write_told(request.run),
        comparison=comparison,
    )


def me() -> str:
    """Who sits at this machine, as far as it knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "–"
