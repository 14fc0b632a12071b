"""`python -m core.jobs.worker FOLDER`: the process that stands over one attempt at a job and sees how it ends.

It starts itself again as the process that runs the operation (attempt.py), passes a wish to cancel
on, kills what does not stop, and writes down the exit code. It is small and never runs the
operation's code, so what kills the operation rarely kills it. If it is killed itself, the operation goes on and
finishes; only how that ended is then not known.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from core.jobs import death, files, processes

PATIENCE = 30.0
"""Seconds to wait for the lock: an earlier attempt's worker may be tidying up, an asker may be looking."""
LINGER = 5.0
"""Seconds that a finished operation's process may take to end."""


def main(argv: list[str]) -> int:
    if argv[0] == "--attempt":
        from core.jobs import attempt

        return attempt.main(Path(argv[1]))
    folder = Path(argv[0])
    lock = files.hold(folder, files.WORKER_LOCK, PATIENCE)
    number = files.attempt(folder)
    # Two callers may have asked for the same attempt: the one that comes second finds it begun.
    begun = any(files.of_attempt(folder, name, number) for name in (files.STARTED, files.CANCEL, files.RESULT))
    if lock is None or begun:
        return 0
    processes.kill(_left_behind(folder, number))
    watch(folder, number)
    lock.release()
    return 0


def watch(folder: Path, number: int) -> None:
    """Run the attempt in a process of its own until it has ended, and every process of it with it."""
    told_to_stop = _on_terminate()
    kills = death.oom_kills()
    files.write(folder / files.STARTED, {"attempt": number, "time": time.time(), "oom_kills": kills})
    child = subprocess.Popen([sys.executable, "-P", "-m", _own_module(), "--attempt", str(folder)])
    _wait(folder, number, child, told_to_stop)
    ended = {"attempt": number, "time": time.time(), "code": child.returncode, "oom_kills": death.oom_kills()}
    files.write(folder / files.EXIT, ended)
    processes.stop(lambda: _members(folder, number), grace=1)


def _wait(folder: Path, number: int, child: subprocess.Popen, told_to_stop: list[bool]) -> None:
    stopped = False
    finished: float | None = None
    while child.poll() is None:
        time.sleep(0.1)
        if not stopped and (told_to_stop or files.of_attempt(folder, files.CANCEL, number)):
            stopped = True
            processes.stop(lambda: _members(folder, number))
        if finished is None and files.of_attempt(folder, files.RESULT, number):
            finished = time.monotonic()
        # The result is in; a thread or a hook that does not end must not keep memory or a GPU.
        if finished is not None and time.monotonic() - finished > LINGER:
            processes.kill(_members(folder, number))


def _members(folder: Path, number: int) -> list[Any]:
    marked = [processes.mark(folder, number)]
    return processes.members(folder, session=processes.current_session(), marked=marked)


def _left_behind(folder: Path, number: int) -> list[Any]:
    """Processes of earlier attempts whose parents were killed."""
    return processes.members(folder, marked=[processes.mark(folder, earlier) for earlier in range(1, number)])


def _on_terminate() -> list[bool]:
    """A list that is not empty once somebody has sent TERM (a logout, a shutdown)."""
    told: list[bool] = []
    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    return told


def _own_module() -> str:
    return sys.modules["__main__"].__spec__.name  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
