"""Evaluations as the page lists them: a folder each, and the newest job that wrote there."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from core import paths
from core.extract.audit import FILE as AUDIT
from core.extract.audit import told
from core.extract.evaluate_run import JSON
from core.jobs import store
from core.jobs.store import Job
from core.store import FILE as STORE
from ui.i18n import t
from ui.parts import runs
from ui.parts.job_panel import when
from ui.parts.run_view import model_title
from ui.parts.runs import Run

OPERATION = "extract report"


@dataclass(frozen=True)
class Evaluated:
    out: Path
    job: Job | None
    """None for one that was made from the command line."""

    @property
    def name(self) -> str:
        return name_of(self.out)

    @property
    def done(self) -> bool:
        return (self.out / JSON).is_file()


def folder() -> Path:
    place = paths.workspace() / "evaluations"
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def name_of(out: Path) -> str:
    """Its name among the workspace's evaluations; its path where it lies elsewhere."""
    return out.name if out.parent == folder() else str(out)


def all_evaluations() -> list[Evaluated]:
    """Newest first; then those of the workspace that no job knows. Folders that are gone are left out."""
    found: dict[Path, Evaluated] = {}
    for job in store.all_jobs():
        out = job.request.get("out") if job.operation == OPERATION else None
        if out and (place := Path(str(out))) not in found and (place.is_dir() or not job.over):
            found[place] = Evaluated(place, job)
    for place in sorted(folder().iterdir(), reverse=True):
        if place not in found and (place / JSON).is_file():
            found[place] = Evaluated(place, None)
    return list(found.values())


def runs_with_rows() -> dict[str, Run]:
    """The extraction runs that have something to score, by their folders, newest first."""
    rows = (STORE, "records.jsonl")
    return {str(run.folder): run for run in runs.all_runs() if any((run.folder / name).is_file() for name in rows)}


def run_label(run: Run) -> str:
    """Its input, its model, when it was made, and whether it was audited."""
    audited = t("audited") if (run.folder / AUDIT).is_file() and told(run.folder)["audited"] else ""
    model = model_title(str(run.request.get("model") or ""))
    return " · ".join(part for part in (run.input_name, model, when(run.job.created), audited) if part)


def new_folder(gold: str) -> Path:
    """A path for a new one: its time and its gold's name."""
    stem = re.sub(r"[^\w]+", "-", Path(gold).stem).strip("-")[:40] or "gold"
    base = folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{stem}"
    return next(
        place for n in range(1, 1000) if not (place := base if n == 1 else base.with_name(f"{base.name}-{n}")).exists()
    )
