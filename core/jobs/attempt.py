"""One attempt at a job's operation, in its own process: runs it and writes result.json, whatever comes.

    result.json   {"attempt", "state": "done" | "failed" | "cancelled", "time", "result", "summary", "error"}

An attempt that was ended from outside without a wish to cancel writes no result: it died.
"""

from __future__ import annotations

import _thread
import errno
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from core.errors import Cancelled, UserError
from core.jobs import files, requests
from core.jobs.events import Recorder

PATIENCE = 10.0
"""Seconds to wait for the lock, which an asker may hold for a moment."""


def main(folder: Path) -> int:
    faulthandler.enable()
    lock = files.hold(folder, files.RUN_LOCK, PATIENCE)
    if lock is None:
        print("another process runs this job already", file=sys.stderr)
        return 3
    number = files.attempt(folder)
    print(f"--- attempt {number}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}", flush=True)
    outcome = _outcome(folder, number)
    if outcome is None:
        return _end_as_terminated()
    files.write(folder / files.RESULT, {"attempt": number, "time": time.time(), **outcome})
    return 0 if outcome["state"] == "done" else 1


def _outcome(folder: Path, number: int) -> dict[str, Any] | None:
    stop = Stop()
    recorder = Recorder(folder / files.EVENTS, number)
    # Started before the operation: it also brings the wish to cancel where there is no TERM.
    threading.Thread(target=_beat, args=(folder, number, recorder, stop), daemon=True, name="heartbeat").start()
    try:
        with recorder:
            operation, request = requests.read(folder)
            result = operation.run(request, recorder)
            stop.too_late = True
        return {"state": "done", "result": result.model_dump(mode="json"), "summary": result.summary()}
    except (Cancelled, KeyboardInterrupt):
        stop.too_late = True
        return {"state": "cancelled"} if _is_cancelled(folder, number) else None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any error at all must end as a result that is read
        stop.too_late = True
        if not isinstance(error, UserError):
            traceback.print_exc()
        if _is_cancelled(folder, number):
            return {"state": "cancelled"}
        return {"state": "failed", "error": explain(error, folder / files.LOG).to_dict()}


def explain(error: BaseException, log: Path) -> UserError:
    """The error as a person should read it; an unexpected one names the log that holds its traceback."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError):
        return UserError(
            "Memory ran out.",
            remedy="Close other programs, or choose a smaller model or smaller batches; then restart the job.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            "The disk is full: {error}.", remedy="Free some space, then restart the job: it goes on.", error=error
        )
    return UserError(
        "The operation stopped on an unexpected error: {kind}: {error}",
        remedy="Restart the job. If this happens again, report it with the traceback at the end of {log}.",
        kind=type(error).__name__,
        error=str(error)[:500],
        log=log,
    )


class Stop:
    """Raises Cancelled in the main thread, once, on TERM; not any more when it is `too_late`."""

    def __init__(self) -> None:
        self.too_late = False
        self._process = os.getpid()
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        if os.getpid() != self._process:
            os._exit(128 + signal.SIGTERM)  # a forked child (a pool's) has this handler too, and nothing to tidy up
        if not self.too_late:
            # A second TERM must not break into the tidying up that the first one set off.
            self.too_late = True
            raise Cancelled

    def ask(self) -> None:
        if not self.too_late:
            _thread.interrupt_main(signal.SIGTERM)


def _beat(folder: Path, number: int, recorder: Recorder, stop: Stop) -> None:
    asked = False
    while True:
        time.sleep(1)
        recorder.beat()
        if not asked and os.name != "posix" and _is_cancelled(folder, number):
            asked = True
            stop.ask()


def _is_cancelled(folder: Path, number: int) -> bool:
    return files.of_attempt(folder, files.CANCEL, number) is not None


def _end_as_terminated() -> int:
    """Die of TERM, as whoever sent it expects."""
    if os.name == "posix":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    return 128 + signal.SIGTERM
