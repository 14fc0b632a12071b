"""Extraction runs as the page lists them: a folder each, and the newest job that wrote there tells its state."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import paths
from core.jobs import store
from core.jobs.store import Job

OPERATION = "extract run"


@dataclass(frozen=True)
class Run:
    folder: Path
    job: Job

    @property
    def request(self) -> dict[str, Any]:
        return self.job.request

    @property
    def input_name(self) -> str:
        return Path(str(self.request.get("input") or self.folder.name)).name

    @property
    def limit(self) -> int | None:
        return self.request.get("limit")

    @property
    def tasks(self) -> tuple[str, ...]:
        asked = self.request.get("task") or ()
        return (asked,) if isinstance(asked, str) else tuple(asked)


def all_runs() -> list[Run]:
    """Newest first. A finished run whose folder was deleted is left out; one stopped before it made its own is not."""
    found: dict[Path, Run] = {}
    for job in store.all_jobs():
        out = job.request.get("out") if job.operation == OPERATION else None
        if not out or (folder := Path(str(out))) in found:
            continue
        if folder.is_dir() or job.state != "done":
            found[folder] = Run(folder, job)
    return list(found.values())


def find(folder: str) -> Run | None:
    """The run with that folder, or with that name in the workspace."""
    wanted = {Path(folder), paths.runs() / folder}
    return next((run for run in all_runs() if run.folder in wanted), None)


def new_folder(source: str) -> Path:
    """A folder's path for a new run: its time and its source's name."""
    stem = re.sub(r"[^\w]+", "-", Path(source).stem).strip("-")[:40] or "run"
    base = paths.runs() / f"{time.strftime('%Y%m%d-%H%M%S')}-{stem}"
    return next(
        place for n in range(1, 1000) if not (place := base if n == 1 else base.with_name(f"{base.name}-{n}")).exists()
    )
