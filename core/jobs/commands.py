"""`python -m core jobs list | show | cancel | restart`. An id may be cut short as long as it stays clear."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field
from tyro.conf import Positional

from core.errors import UserError
from core.jobs import store
from core.jobs.processes import GRACE
from core.jobs.store import Job
from core.operation import Progress, Request, Result, operation

ID = Field(description="Job id, or the start of one", min_length=1)


class ListRequest(Request):
    """List the newest jobs."""

    limit: int = Field(20, ge=1, description="Most jobs to list")


class ShowRequest(Request):
    """Show one job: state, progress, metrics, cause of death, last log lines."""

    id: Positional[str] = ID
    lines: int = Field(20, ge=0, le=10_000, description="Log lines to show")


class CancelRequest(Request):
    """Cancel a job."""

    id: Positional[str] = ID


class RestartRequest(Request):
    """Start a job that is over again: what it had finished is kept."""

    id: Positional[str] = ID


class JobResult(Result):
    """One job, as a machine reads it."""

    id: str
    operation: str
    state: str
    attempt: int
    created: float
    started: float | None
    ended: float | None
    done: float
    total: float | None
    unit: str
    rate: float | None
    eta: float | None
    metrics: dict[str, float]
    error: dict[str, Any] | None
    result: dict[str, Any] | None
    request: dict[str, Any]
    log: tuple[str, ...] = ()
    receipt: str = ""

    def summary(self) -> str:
        lines = [f"{self.id}  {self.operation}  {self.state}", f"created {_when(self.created)}, attempt {self.attempt}"]
        if self.started is not None:
            ended = f", ended {_when(self.ended)}" if self.ended else ""
            lines.append(f"started {_when(self.started)}{ended}")
        lines += [progress_line(self)] if progress_line(self) else []
        lines += [f"{name} = {value:.6g}" for name, value in self.metrics.items()]
        lines += [f"error: {UserError.from_dict(self.error)}"] if self.error else []
        lines += [self.receipt] if self.receipt else []
        return "\n".join([*lines, *(["", *self.log] if self.log else [])])


class JobsResult(Result):
    jobs: tuple[JobResult, ...]

    def summary(self) -> str:
        if not self.jobs:
            return "No jobs yet."
        width = max(len(job.operation) for job in self.jobs)
        rows = (f"{job.id}  {job.operation:<{width}}  {job.state:<9}  {progress_line(job)}" for job in self.jobs)
        return "\n".join(row.rstrip() for row in rows)


@operation("jobs", "list")
def list_jobs(request: ListRequest, progress: Progress) -> JobsResult:
    return JobsResult(jobs=tuple(described(job) for job in store.all_jobs(request.limit)))


@operation("jobs", "show")
def show(request: ShowRequest, progress: Progress) -> JobResult:
    job = store.find(request.id)
    return described(job, log=tuple(store.log_lines(job.id, request.lines)))


@operation("jobs", "cancel")
def cancel(request: CancelRequest, progress: Progress) -> JobResult:
    """Waits for the end, so that the answer is the truth: with the kill that may follow it takes some seconds."""
    job = store.find(request.id)
    store.cancel(job.id)
    return described(store.wait(job.id, timeout=GRACE + 5))


@operation("jobs", "restart")
def restart(request: RestartRequest, progress: Progress) -> JobResult:
    return described(store.restart(store.find(request.id).id))


def described(job: Job, log: tuple[str, ...] = ()) -> JobResult:
    fields = {name: getattr(job, name) for name in JobResult.model_fields if name not in ("error", "log", "receipt")}
    return JobResult(**fields, error=job.error.to_dict() if job.error else None, log=log, receipt=job.summary)


def progress_line(job: JobResult) -> str:
    """`120 of 1000 rows, 14.2/s, 62 s left`; empty where nothing was counted."""
    if not job.done and not job.total:
        return ""
    of = f" of {job.total:g}" if job.total else ""
    rate = f", {job.rate:.3g}/s" if job.rate else ""
    left = f", {job.eta:.0f} s left" if job.eta is not None else ""
    return f"{job.done:g}{of} {job.unit}".rstrip() + rate + left


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
