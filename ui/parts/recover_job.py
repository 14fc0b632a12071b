"""The job that a recovery's steps run in: the latest one, starting one, going on with one."""

from __future__ import annotations

from core.jobs import store
from core.weights import recovery_steps
from core.weights.recovery import Key, Recovery
from core.weights.recovery_run import RecoveryRequest

OPERATION = "weights recovery"


def latest(name: str) -> store.Job | None:
    return next(iter(_all(name)), None)


def receipts(name: str) -> dict[str, dict]:
    """Step -> what it took, from the newest job that finished it."""
    found: dict[str, dict] = {}
    for job in _all(name):
        for one in (job.result or {}).get("steps", ()):
            found.setdefault(one["step"], one)
    return found


def start(name: str, step: str = "all") -> None:
    """Run a step, or all that remain. One that stopped on the way is started over: same job, same log."""
    job = latest(name)
    if job is not None and job.over and job.state != "done" and job.request.get("step") == step:
        store.restart(job.id)
    else:
        store.submit(RecoveryRequest(name=name, step=step))  # type: ignore[arg-type]


def current(recovery: Recovery, job: store.Job) -> Key | None:
    """The step that a running job is at: the first of its steps that is not over."""
    asked = job.request.get("step", "all")
    left = recovery_steps.remaining(recovery)
    return next((key for key in left if asked in ("all", key)), None)


def _all(name: str) -> list[store.Job]:
    return [job for job in store.all_jobs() if job.operation == OPERATION and job.request.get("name") == name]
