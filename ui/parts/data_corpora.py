"""Corpora as the page lists them: a folder each, the newest build that wrote there, and what its files tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core import paths
from core.jobs import store
from core.jobs.store import Job
from core.launchers import corpus
from core.launchers.corpus import Dropped, Ledger

OPERATION = "corpus build"


@dataclass(frozen=True)
class Corpus:
    out: Path
    job: Job | None
    """None for one that was built from the command line."""

    @property
    def ledger(self) -> Ledger | None:
        """None while it is not finished."""
        return _ledger(self.out, _stamp(self.out / corpus.LEDGER))

    @property
    def dropped(self) -> list[Dropped]:
        return _dropped(self.out, _stamp(self.out / corpus.DROPPED))


def all_corpora() -> list[Corpus]:
    """Newest first; then those of the workspace that no job knows. Finished ones whose folder is gone are left out."""
    found: dict[Path, Corpus] = {}
    for job in store.all_jobs():
        out = Path(str(job.request.get("out") or ""))
        if job.operation == OPERATION and out not in found and (out.is_dir() or job.state != "done"):
            found[out] = Corpus(out, job)
    for out in sorted(paths.corpora().iterdir()):
        if out not in found and (out / corpus.BUILD).is_file():
            found[out] = Corpus(out, None)
    return list(found.values())


def name_of(out: Path) -> str:
    """Its name among the workspace's corpora; its path where it lies elsewhere."""
    return out.name if out.parent == paths.corpora() else str(out)


def new_name(wanted: str) -> str:
    """A name that no corpus of the workspace has yet."""
    stem = re.sub(r"[^\w.-]+", "-", wanted).strip("-.")[:60] or "corpus"
    taken = {path.name for path in paths.corpora().iterdir()} | {name_of(one.out) for one in all_corpora()}
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 10_000))
    return next(name for name in numbered if name not in taken)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=16)
def _ledger(out: Path, _changed: int) -> Ledger | None:
    return corpus.ledger(out)


@lru_cache(maxsize=4)
def _dropped(out: Path, _changed: int) -> list[Dropped]:
    return corpus.dropped(out)
