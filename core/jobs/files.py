"""A job's folder: which file means what, and how each is read and written. Imports nothing heavy.

    request.json   operation, request, when and where it was asked for; written once
    attempt.json   which attempt is wanted (1, then one more a restart) and since when
    started.json   written by the worker when the attempt begins
    cancel.json    the person asked for the attempt to stop
    exit.json      how the attempt's process ended; written by the worker
    result.json    done, failed or cancelled; goes last: its presence means finished
    events.jsonl   progress and metrics;  log.txt  log lines, stdout and stderr, of all attempts
    worker.lock, run.lock   held for life by the worker and by the process that runs the operation

All but the first, and the two logs, belong to one attempt and name it: what names another attempt
counts as absent. So one rename, of attempt.json, starts a job over, and a late writer spoils nothing.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

REQUEST = "request.json"
ATTEMPT = "attempt.json"
STARTED = "started.json"
CANCEL = "cancel.json"
EXIT = "exit.json"
RESULT = "result.json"
EVENTS = "events.jsonl"
LOG = "log.txt"
WORKER_LOCK = "worker.lock"
RUN_LOCK = "run.lock"


def write(path: Path, content: dict[str, Any]) -> None:
    """Put a small JSON file in place at once and durably: temporary name, fsync, rename, fsync of the folder."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            # ASCII: what a model or a file name holds may not be valid Unicode (lone surrogates).
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: Path) -> dict[str, Any] | None:
    """The JSON object of a file; None if it is missing or is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def attempt(folder: Path) -> int:
    """The attempt that is wanted now; 0 in a folder that is no job's."""
    return int((read(folder / ATTEMPT) or {}).get("attempt", 0))


def of_attempt(folder: Path, name: str, attempt: int) -> dict[str, Any] | None:
    """The content of a file that belongs to this attempt; None if there is none."""
    content = read(folder / name)
    return content if content and content.get("attempt") == attempt else None


def hold(folder: Path, lock: str, patience: float) -> FileLock | None:
    """Take a lock for the rest of this process's life; None if another process keeps it longer than `patience` s.

    Waits, because whoever asks `is_held` takes it too, for a moment.
    """
    taken = FileLock(folder / lock, mode=0o600, thread_local=False)
    try:
        taken.acquire(timeout=patience, poll_interval=0.02)
    except Timeout:
        return None
    return taken


def is_held(folder: Path, lock: str) -> bool:
    """Whether a process holds the lock. Tried a few times: another asker may be trying at the same moment."""
    if not (folder / lock).exists():
        return False
    for _ in range(5):
        try:
            with FileLock(folder / lock, timeout=0, thread_local=False):
                return False
        except Timeout:
            time.sleep(random.uniform(0.0005, 0.003))
    return True


def is_running(folder: Path) -> bool:
    return is_held(folder, WORKER_LOCK) or is_held(folder, RUN_LOCK)
