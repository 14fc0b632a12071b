"""Further runners of a batch, each a process of its own: `python -m core.extract.runners`, told what to do on stdin.

Worth it where one process can't ask fast enough: a server that answers many at once. They share the folder by its
claims (core/store.py), end by themselves, and with whoever started them: then their stdin ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from core import paths
from core.errors import UserError

if TYPE_CHECKING:
    from core.extract.run import RunRequest

PATIENCE = 20.0
"""Seconds for a helper to end by itself once all rows are done."""


@contextmanager
def helpers(request: RunRequest, count: int, log: Callable[[str], None]) -> Iterator[None]:
    """So many further runners, as long as the batch goes on; what ended one early is logged."""
    with tempfile.TemporaryFile() as errors:
        started = [_start(request, errors) for _ in range(count)]
        done = False
        try:
            yield
            done = True
        finally:
            for process in started:
                _end(process, patiently=done)
            if failed := sum(process.returncode not in (0, None) for process in started if done):
                errors.seek(0)
                told = errors.read().decode("utf-8", "replace").strip().splitlines()
                log(f"{failed} of {count} further runners ended early: {told[-1] if told else 'no reason given'}")


def _start(request: RunRequest, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "core.extract.runners"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(paths.PROJECT), os.environ.get("PYTHONPATH")))),
        },
    )
    assert process.stdin is not None  # noqa: S101 for mypy
    with suppress(BrokenPipeError):
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    return process


def _search_path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def _end(process: subprocess.Popen[bytes], *, patiently: bool) -> None:
    if patiently:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    from core.extract.prepared import prepare
    from core.extract.run import RunRequest
    from core.operation import Silent

    request = RunRequest.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    made = prepare(request)
    try:
        made.batch(made.facts()).run(Silent(), settings=made.settings(), limit=request.limit)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
