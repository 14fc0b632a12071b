"""Jobs as the rest of the program sees them: submit, read, cancel, restart, remove.

A job is a folder (files.py says which file means what) and nothing stores its state: it is read off
the files and the locks, so a reload, a second window, a restarted server and a SIGKILL all show the truth.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from core import operation, paths, resources
from core.errors import UserError
from core.jobs import death, events, files, processes, requests
from core.operation import Needs, Request

State = Literal["starting", "running", "done", "failed", "cancelled", "died"]

WORKER = "core.jobs.worker"
START_TIME = 30.0
"""Seconds that a new worker process gets to begin; after that it counts as died."""
ID = re.compile(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{6}")


@dataclass(frozen=True)
class Job:
    id: str
    folder: Path
    operation: str
    """As typed: `extract run`."""
    request: dict[str, Any]
    created: float
    """Seconds since 1970, as all times here."""
    state: State
    attempt: int = 1
    cancelling: bool = False
    """Asked to stop, and still running."""
    done: float = 0.0
    total: float | None = None
    unit: str = ""
    rate: float | None = None
    """Units a second: of late while it runs, on the whole when it is over."""
    eta: float | None = None
    """Seconds left."""
    started: float | None = None
    """Of the last attempt."""
    ended: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """The last value of each."""
    error: UserError | None = None
    """Why it failed or died."""
    result: dict[str, Any] | None = None
    """What it handed back, when done."""
    summary: str = ""
    """The receipt, when done."""

    @property
    def over(self) -> bool:
        return self.state not in ("starting", "running")

    @property
    def log(self) -> Path:
        """Log lines, stdout and stderr of all attempts."""
        return self.folder / files.LOG


def submit(request: Request) -> Job:
    """Start the request's operation in a process of its own. Raises UserError if this machine has not what it needs."""
    made = operation.of(request)
    _check_resources(made.estimate(request))
    try:
        # Made under a name that no one lists, so that nobody sees half a job.
        draft = Path(tempfile.mkdtemp(dir=paths.jobs(), prefix=".new-"))
        requests.write(draft, made, request)
        files.write(draft / files.ATTEMPT, {"attempt": 1, "time": time.time()})
        folder = _named(draft)
        processes.start_worker(folder, Path.cwd(), WORKER)
    except OSError as error:
        raise _cannot_start(error) from error
    return read(folder.name)


def read(job_id: str) -> Job:
    """The job as it is now. Raises UserError if there is none of this id."""
    folder = _folder(job_id)
    job = _read(folder)
    if job is None:
        raise UserError(
            "There is no job “{id}”.", remedy="`python -m core jobs list` and the Jobs page show all.", id=job_id
        )
    return job


def all_jobs(limit: int | None = None) -> list[Job]:
    """The newest jobs first. Folders that are no jobs are passed over."""
    names = sorted((path.name for path in paths.jobs().iterdir() if ID.fullmatch(path.name)), reverse=True)
    found: list[Job] = []
    for name in names:
        if limit is not None and len(found) >= limit:
            break
        job = _read(paths.jobs() / name)
        if job is not None:
            found.append(job)
    return found


def find(prefix: str) -> Job:
    """The job whose id starts so. Raises UserError if there is none, or several."""
    ids = [path.name for path in paths.jobs().iterdir() if ID.fullmatch(path.name) and path.name.startswith(prefix)]
    if len(ids) > 1:
        raise UserError(
            "“{prefix}” is the start of {count} job ids, {first} and {last} among them.",
            remedy="Give more of the id.",
            prefix=prefix,
            count=len(ids),
            first=min(ids),
            last=max(ids),
        )
    return read(ids[0] if ids else prefix)


def cancel(job_id: str) -> None:
    """Ask a job to stop; returns at once. What has not stopped after ten seconds is killed. No error if it is over."""
    job = read(job_id)
    if job.over:
        return
    files.write(job.folder / files.CANCEL, {"attempt": job.attempt, "time": time.time()})
    if job.state == "running" and not files.is_held(job.folder, files.WORKER_LOCK):
        # Its worker was killed and the operation goes on alone: nobody else would pass the wish on.
        threading.Thread(target=_stop_alone, args=(job,), name=f"cancel {job_id}").start()


def restart(job_id: str) -> Job:
    """Start a job over: same id, same folder, same request; log and metrics go on. Raises UserError while it runs."""
    job = read(job_id)
    if not job.over:
        raise UserError("The job {id} is still running.", remedy="Cancel it, or wait for its end.", id=job_id)
    made, request = requests.read(job.folder)
    _check_resources(made.estimate(request))
    try:
        files.write(job.folder / files.ATTEMPT, {"attempt": job.attempt + 1, "time": time.time()})
        processes.start_worker(job.folder, requests.cwd(job.folder), WORKER)
    except OSError as error:
        raise _cannot_start(error) from error
    return read(job_id)


def remove(job_id: str) -> None:
    """Remove a job's folder: its request, log and result. What its operation wrote elsewhere stays."""
    job = read(job_id)
    if not job.over:
        raise UserError("The job {id} is still running.", remedy="Cancel it, or wait for its end.", id=job_id)
    grave = Path(tempfile.mkdtemp(dir=paths.jobs(), prefix=".removed-"))
    job.folder.replace(grave / job_id)
    shutil.rmtree(grave, ignore_errors=True)


def wait(job_id: str, timeout: float) -> Job:
    """The job when it is over, or as it is after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (job := read(job_id)).over and time.monotonic() < end:
        time.sleep(0.1)
    return job


def log_lines(job_id: str, last: int = 200) -> list[str]:
    """The last lines that the job logged or printed, of all attempts. Cheap however long the log is."""
    return events.log_tail(_folder(job_id) / files.LOG, last)


def metric_series(job_id: str, most: int = 2000) -> events.Series:
    """{metric: [(units done, value)]} of all attempts, thinned to about `most` points each.

    Where the operation counts no units, seconds since the attempt's start stand in for them. Asked
    again, it reads only what is new.
    """
    return events.thinned(_series(_folder(job_id) / files.EVENTS).read(), most)


@lru_cache(maxsize=32)
def _series(path: Path) -> events.SeriesReader:
    return events.SeriesReader(path)


def _folder(job_id: str) -> Path:
    """An id comes from outside and must not lead out of the jobs' folder."""
    return paths.jobs() / (job_id if ID.fullmatch(job_id) else ".none")


def _named(draft: Path) -> Path:
    """Give a draft its id: sorted by time, and free, since a rename onto a folder with files in it fails."""
    while True:
        now = datetime.now(UTC)
        folder = draft.parent / f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}-{secrets.token_hex(3)}"
        try:
            return draft.rename(folder)
        except OSError:
            if not folder.exists():
                raise


def _check_resources(needs: Needs) -> None:
    for shortage in resources.shortages(needs):
        raise shortage


def _cannot_start(error: OSError) -> UserError:
    return UserError(
        "The job could not be started: {error}.",
        remedy="Free some space on the workspace's disk, or memory, then try again.",
        error=error,
    )


def _stop_alone(job: Job) -> None:
    marked = [processes.mark(job.folder, job.attempt)]
    processes.stop(lambda: processes.members(job.folder, marked=marked))


_known: dict[Path, tuple[tuple[int, ...], Job]] = {}
"""Jobs that have a result, by folder, with the stamps of the files that would change if one were started over."""


def _read(folder: Path) -> Job | None:
    stamps = (*_stamp(folder / files.ATTEMPT), *_stamp(folder / files.RESULT))
    known = _known.get(folder)
    if known and known[0] == stamps:
        return known[1]
    job = _read_files(folder)
    if job is not None and job.state in ("done", "failed"):
        _known[folder] = stamps, job
    else:
        _known.pop(folder, None)
    return job


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read_files(folder: Path) -> Job | None:
    asked = files.read(folder / files.REQUEST)
    wanted = files.read(folder / files.ATTEMPT)
    try:
        if asked is None or wanted is None:
            return None
        attempt = int(wanted["attempt"])
        about = _state(folder, attempt, float(wanted["time"]))
        return Job(
            folder.name, folder, asked["operation"], asked["request"], asked["created"], attempt=attempt, **about
        )
    except (KeyError, TypeError, ValueError):
        return None


def _state(folder: Path, attempt: int, since: float) -> dict[str, Any]:
    """What the attempt's files and locks tell.

    In this order: what was begun before the locks were free has ended, and left its result before.
    """
    started = files.of_attempt(folder, files.STARTED, attempt)
    result = files.of_attempt(folder, files.RESULT, attempt)
    running = result is None and files.is_running(folder)
    if result is None and not running:
        result = files.of_attempt(folder, files.RESULT, attempt)
    seen = events.last_seen(folder / files.EVENTS, attempt)
    about: dict[str, Any] = {
        "started": started and started["time"],
        "done": seen.done,
        "total": seen.total,
        "unit": seen.unit,
        "rate": seen.rate,
        "metrics": seen.metrics,
    }
    if result is not None:
        return about | _finished(result)
    cancelled = files.of_attempt(folder, files.CANCEL, attempt)
    if running:
        return about | {"state": "running", "eta": _eta(seen), "cancelling": cancelled is not None}
    ended = files.of_attempt(folder, files.EXIT, attempt)
    if cancelled is not None:
        return about | {"state": "cancelled", "ended": (ended or cancelled)["time"]}
    if started is None and time.time() - since < START_TIME:
        return about | {"state": "starting"}
    error = death.cause(folder, started, ended, seen)
    return about | {"state": "died", "ended": ended["time"] if ended else seen.time, "error": error}


def _finished(result: dict[str, Any]) -> dict[str, Any]:
    error = result.get("error")
    return {
        "state": result["state"],
        "ended": result["time"],
        "result": result.get("result"),
        "summary": result.get("summary", ""),
        "error": UserError.from_dict(error) if error else None,
    }


def _eta(seen: events.Seen) -> float | None:
    if not seen.rate or seen.rate < 0 or not seen.total or seen.time is None:
        return None
    return max(0.0, (seen.total - seen.done) / seen.rate - (time.time() - seen.time))
