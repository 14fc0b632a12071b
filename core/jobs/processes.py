"""The processes of a job: started in a session of their own, found again, stopped.

A job's processes are those that carry its mark in their environment, or are in the worker's
session. The mark also finds those that were left behind by a dead parent, and those in a session of
their own (torchrun's). A process that is meant to outlive the job, such as the model host, is started
in its own session and without the mark (`core.paths.JOB_VARIABLE`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from core.jobs import files
from core.paths import JOB_VARIABLE, PROJECT

GRACE = 10.0
"""Seconds between asking a process to stop and killing it."""


def start_worker(folder: Path, cwd: Path, module: str) -> None:
    """Start `python -m module folder`, which outlives this process. Its output goes to the job's log."""
    python_path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, JOB_VARIABLE: mark(folder, files.attempt(folder)), "PYTHONPATH": python_path}
    with (folder / files.LOG).open("ab") as log:
        process = subprocess.Popen(
            # -P: the person's current folder may hold a `core` of its own.
            [sys.executable, "-P", "-m", module, str(folder)],
            cwd=cwd if cwd.is_dir() else PROJECT,
            env={**environment, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **own_session(),
        )
    # Somebody must collect the exit status, or a dead worker stays a zombie of a long-lived server.
    threading.Thread(target=process.wait, daemon=True, name=f"job {folder.name}").start()


def own_session() -> dict:
    """What Popen needs so that a Ctrl-C or the end of the parent's terminal does not reach the child."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def mark(folder: Path, attempt: int) -> str:
    return f"{folder}#{attempt}"


def members(folder: Path, *, session: int | None = None, marked: Iterable[str] | None = None) -> list:
    """The job's processes (psutil's), but this one: any attempt's, or only those with one of the given marks."""
    import psutil

    wanted = None if marked is None else set(marked)
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            of = process.environ().get(JOB_VARIABLE, "")
            of_job = of.rpartition("#")[0] == str(folder) if wanted is None else of in wanted
            if of_job or (session is not None and _session(process.pid) == session):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def stop(find: Callable[[], list], grace: float = GRACE) -> None:
    """TERM to all that `find()` finds, then KILL to all that it still finds after `grace` seconds.

    Windows knows no TERM: there an attempt looks for the mark of a cancelled job. Nobody's exit status is taken.
    """
    found = find()
    if os.name == "posix":
        _each(found, "terminate")
    end = time.monotonic() + grace
    while any(map(_is_alive, found)) and time.monotonic() < end:
        time.sleep(0.05)
    kill(find())


def kill(processes: list) -> None:
    _each(processes, "kill")


def _each(processes: list, what: str) -> None:
    import psutil

    for process in processes:
        try:
            getattr(process, what)()
        except psutil.Error:
            continue


def _is_alive(process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _session(pid: int) -> int | None:
    return os.getsid(pid) if hasattr(os, "getsid") else None


def current_session() -> int | None:
    return os.getsid(0) if hasattr(os, "getsid") else None
