"""One training at a time on a machine: the second waits for its turn, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from core import paths
from core.operation import Progress


@contextmanager
def taken(progress: Progress, *, at_once: bool) -> Iterator[None]:
    """Hold the workspace's turn to train; with `at_once`, go beside whoever holds it. A kill frees it."""
    lock = FileLock(paths.workspace() / "training.lock")
    waited = False
    while not at_once:
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            if not waited:
                progress.log("Another training runs on this machine; this one starts when that one has ended.")
            waited = True
    try:
        yield
    finally:
        lock.release()
