"""Trainings as the page lists them: a folder each, the newest job that wrote there, and what its files tell."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core import paths
from core.jobs import store
from core.jobs.store import Job
from core.launchers import contract, earlier

OPERATIONS = ("train finetune", "train pretrain")
QUEUED = (*OPERATIONS, "train curve")
"""Operations that take the machine's one turn to train."""
Series = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Training:
    out: Path
    job: Job | None
    """None for one that was started from the command line."""

    @property
    def running(self) -> bool:
        return self.job is not None and not self.job.over

    @property
    def asked(self) -> dict[str, Any]:
        """Its settings: resolved once it has begun, before that as they were asked."""
        return earlier.settings(self.out) or (self.job.request if self.job else {})

    @property
    def result(self) -> dict[str, Any] | None:
        """What it found at its end; None for one that has not got there since it was last started."""
        try:
            finished = (self.out / contract.RESULT).stat().st_mtime_ns
            begun = (self.out / contract.REQUEST).stat().st_mtime_ns
            found = json.loads((self.out / contract.RESULT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and finished >= begun else None


def folder() -> Path:
    """Where the page's trainings go, one folder each."""
    return paths.trainings()


def name_of(out: Path) -> str:
    """Its name among the workspace's trainings; its path where it lies elsewhere."""
    return out.name if out.parent == folder() else str(out)


def all_trainings() -> list[Training]:
    """Newest first; then those of the workspace that no job knows. Folders that are gone are left out."""
    found: dict[Path, Training] = {}
    for job in store.all_jobs():
        if job.operation not in OPERATIONS or job.request.get("dry_run") or not job.request.get("out"):
            continue
        out = Path(str(job.request["out"]))
        if out not in found and (out.is_dir() or job.state != "done"):
            found[out] = Training(out, job)
    for out in sorted(folder().iterdir()):
        if out not in found and (out / contract.REQUEST).is_file():
            found[out] = Training(out, None)
    return list(found.values())


def new_name(wanted: str) -> str:
    """A name that neither a training nor a model has yet: what comes of the one is put beside the other."""
    stem = re.sub(r"[^\w.-]+", "-", wanted).strip("-.")[:60] or "training"
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 10_000))
    return next(name for name in numbered if is_free(name))


def is_free(name: str) -> bool:
    return not (folder() / name).exists() and not (paths.models() / name).exists()


def waits_for(training: Training) -> Job | None:
    """The training that has the machine while this one waits for its turn."""
    if training.job is None or training.job.done or training.job.request.get("at_once"):
        return None
    earlier_ones = [
        job
        for job in store.all_jobs()
        if job.operation in QUEUED and not job.over and job.created < training.job.created
    ]
    return earlier_ones[-1] if earlier_ones else None


def metrics(out: Path) -> tuple[Series, dict[str, Any]]:
    """({metric: [(step, value)]}, the last line) of metrics.jsonl; read anew only where it has grown."""
    file = out / contract.METRICS
    try:
        state = file.stat()
    except OSError:
        return {}, {}
    return _metrics(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _metrics(file: Path, _changed: int, _size: int) -> tuple[Series, dict[str, Any]]:
    series: Series = {name: [] for name in contract.SHOWN}
    last: dict[str, Any] = {}
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
                step = float(row["step"])
            except (ValueError, KeyError, TypeError):  # a line for a person, or one that is just being written
                continue
            last |= row
            for name in contract.SHOWN:
                value = row.get(name)
                if isinstance(value, int | float) and value == value:
                    series[name].append((step, float(value)))
    return {name: points for name, points in series.items() if points}, last
