"""Operations that behave well and badly, for the tests of jobs, and a worker that knows them.

The program itself finds operations only in core and train. `python -m tests.core.job_operations FOLDER` is the
real worker with these added; it starts itself again for the attempt, so they are known there too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.errors import UserError
from core.jobs import worker
from core.operation import Needs, Operation, Progress, Request, Result, _operations


class CountRequest(Request):
    """Count to a number, keeping each one in a file; goes on where an earlier attempt was stopped."""

    to: int
    out: Path
    pause: float = 0.0
    memory: int = 0


class CountResult(Result):
    counted: int

    def summary(self) -> str:
        return f"Counted {self.counted}."


class MisbehaveRequest(Request):
    """Do what an operation should not do."""

    how: str


def count(request: CountRequest, progress: Progress) -> CountResult:
    before = len(request.out.read_text().splitlines()) if request.out.exists() else 0
    with request.out.open("a") as file:
        for number in range(before, request.to):
            file.write(f"{number}\n")
            file.flush()
            progress.step(number + 1, request.to, "numbers")
            progress.metric(square=number**2)
            progress.log(f"counted {number}")
            time.sleep(request.pause)
    return CountResult(counted=request.to - before)


def misbehave(request: MisbehaveRequest, progress: Progress) -> Result:
    progress.log(f"about to {request.how}")
    print("printed", file=sys.stderr)
    globals()[request.how](progress)
    return Result()


def refuse(progress: Progress) -> None:
    raise UserError("The file {name} is empty.", remedy="Choose another.", name="x.csv")


def stumble(progress: Progress) -> None:
    raise ValueError("seven is not eight")


def leave(progress: Progress) -> None:
    os._exit(7)


def exit_quietly(progress: Progress) -> None:
    sys.exit(0)


def crash(progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def ignore_term(progress: Progress) -> None:
    """Ignores TERM, and has a child that does too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(15, 1); print('deaf', flush=True); time.sleep(600)"]
    )
    progress.log(f"child {child.pid}")
    time.sleep(600)


def leave_children(progress: Progress) -> None:
    """Waits, with one child in a session of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    progress.log(f"child {child.pid}")
    time.sleep(600)


def eat_errors(progress: Progress) -> None:
    """Swallows every Exception, as careless code does."""
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.05)
            raise UserError("Eaten.", remedy="None.")


def stay_after_the_end(progress: Progress) -> None:
    import threading

    threading.Thread(target=time.sleep, args=(600,)).start()


def flood(progress: Progress) -> None:
    for number in range(200_000):
        progress.step(number + 1, 200_000, "drops")
        progress.metric(level=number)
    print("x" * 100_000)


def estimate(request: CountRequest) -> Needs:
    return Needs(ram=request.memory)


OPERATIONS = {
    made.key: made
    for made in (
        Operation("test", "count", CountRequest, count, estimate),
        Operation("test", "misbehave", MisbehaveRequest, misbehave, lambda request: Needs()),
    )
}

if __name__ == "__main__":
    _operations.update(OPERATIONS)
    sys.exit(worker.main(sys.argv[1:]))
