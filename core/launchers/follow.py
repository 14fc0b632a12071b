"""A training's processes on this and other machines: started, followed by their metrics, ended cleanly."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import Cancelled, UserError
from core.launchers import contract, ssh
from core.launchers.plan import Plan, Start
from core.operation import Progress

PATIENCE = 120.0
"""Seconds that a stopped training gets to finish its step and save."""
POLL = 0.2
SHOWN_LINES = 20
KILLED = 9
_TAIL_BYTES = 200_000


@dataclass
class Outcome:
    """What was seen of a training."""

    step: int = 0
    total: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    grad_norm: float | None = None
    memory: float | None = None
    """Bytes that rank 0 held at most."""
    tokens: float = 0.0
    seconds: float = 0.0


@dataclass
class Tail:
    """The whole lines that were added to a file since the last look, or since its byte `place`."""

    file: Path
    place: int = 0
    _rest: bytes = field(default=b"", repr=False)
    _number: int = 0
    """The file's, on its disk: another one means that it was written anew."""
    _known: deque[str] = field(default_factory=deque, repr=False)
    _again: bool = False

    def skip(self) -> None:
        """Pass over what is there now, also if a resumed training writes it again up to its checkpoint."""
        self._known.extend(self.lines())

    def lines(self) -> Iterator[str]:
        try:
            with self.file.open("rb") as handle:
                state = os.fstat(handle.fileno())
                if self._number not in (0, state.st_ino) or state.st_size < self.place:
                    self.place, self._rest, self._again = 0, b"", True
                self._number = state.st_ino
                handle.seek(self.place)
                added = handle.read()
        except FileNotFoundError:
            return
        self.place += len(added)
        *whole, self._rest = (self._rest + added).split(b"\n")
        for line in whole:
            text = line.decode("utf-8", "replace").rstrip("\r")
            if self._again and self._known and self._known[0] == text:
                self._known.popleft()
                continue
            self._again = False
            yield text


def run(plan: Plan, out: Path, progress: Progress, patience: float = PATIENCE) -> Outcome:
    """Start all of the plan's commands, follow the training to its end. Raises UserError if it dies.

    The first node is this machine. On Cancelled the training is asked to stop at its step's end and waited for;
    then it is killed, and the Cancelled goes on.
    """
    (out / contract.STOP).unlink(missing_ok=True)
    for start in plan.starts[1:]:
        for file, text in plan.files.items():
            ssh.write(start.node.name, file, text)
    for file, text in plan.files.items():
        file.write_text(text, encoding="utf-8")
    log = out / contract.OUTPUT
    since = _size(log)
    metrics, printed = Tail(out / contract.METRICS), Tail(log, since)
    metrics.skip()
    seen = Outcome()
    running: list[subprocess.Popen] = []
    try:
        with log.open("ab") as handle:
            for number, start in enumerate(plan.starts):
                running.append(_start(start, number, handle, out))
        while not _over(running):
            time.sleep(POLL)
            _tell(metrics, printed, seen, progress)
        codes = [made.poll() for made in running]  # before those that still run are ended by us
    except (Cancelled, KeyboardInterrupt):
        _stop(plan, running, out, patience)
        raise
    finally:
        _stop(plan, running, out, 0)
        _tell(metrics, printed, seen, progress)
    if not _ended_well(plan, codes, seen, was_stopped=(out / contract.STOP).exists()):
        raise _death(plan, codes, seen, log, since)
    return seen


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _start(start: Start, number: int, log: Any, out: Path) -> subprocess.Popen:
    """A session of its own: a Ctrl-C is for us, who then let the training save; cancelling finds it by its mark."""
    if number == 0:
        environment = {**os.environ, **start.env}
        inherited = os.environ.get("PYTHONPATH")
        if inherited and "PYTHONPATH" in start.env:
            environment["PYTHONPATH"] = os.pathsep.join((start.env["PYTHONPATH"], inherited))
        return subprocess.Popen(
            start.argv, cwd=start.cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_session()
        )
    command = ssh.command(start.node.name, _remembered(start, _pid_file(out, number)))
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_session())


def _session() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _pid_file(out: Path, number: int) -> Path:
    return out / f".machine-{number}.pid"


def _remembered(start: Start, pid: Path) -> str:
    """The start's line for a remote shell, which leaves its number where `_end_remote` finds it."""
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in start.env.items())
    place = shlex.quote(str(start.cwd))
    return f"echo $$ > {shlex.quote(str(pid))}; cd {place} && exec env {given} {shlex.join(start.argv)}"


def _over(running: list[subprocess.Popen]) -> bool:
    """All have ended, or one of them badly: the others would wait for it for ever."""
    codes = [made.poll() for made in running]
    return all(code is not None for code in codes) or any(codes)


def _tell(metrics: Tail, printed: Tail, seen: Outcome, progress: Progress) -> None:
    for line in printed.lines():
        if line.strip() and not line.startswith(contract.USER_ERROR):
            progress.log(line)
    for line in metrics.lines():
        with suppress(ValueError, TypeError, AttributeError):  # a line torn by a kill
            _note(json.loads(line), seen, progress)


def _note(row: dict[str, Any], seen: Outcome, progress: Progress) -> None:
    if "log" in row:
        progress.log(str(row["log"]))
    shown = {name: float(row[name]) for name in contract.SHOWN if name in row}
    shown = {name: value for name, value in shown.items() if math.isfinite(value)}
    if shown:
        progress.metric(**shown)
    for name in ("loss", "eval_loss", "grad_norm", "memory"):
        setattr(seen, name, shown.get(name, getattr(seen, name)))
    if "seconds" in row:
        seen.seconds += float(row["seconds"])
        seen.tokens += float(row["seconds"]) * shown.get("tokens_per_second", 0.0)
    if "step" in row:
        seen.step, seen.total = int(row["step"]), int(row.get("total_steps") or seen.total)
        progress.step(seen.step, seen.total or None, "steps")


def _stop(plan: Plan, running: list[subprocess.Popen], out: Path, patience: float) -> None:
    """End all that still runs: asked to save where there is patience, then killed. A second Ctrl-C kills at once."""
    alive = [(number, made) for number, made in enumerate(running) if made.poll() is None]
    if not alive:
        return
    end = time.monotonic() + patience
    try:
        if patience:
            _ask_to_stop(plan, alive, out)
        while any(made.poll() is None for _, made in alive) and time.monotonic() < end:
            time.sleep(POLL / 2)
    finally:
        for number, made in alive:
            if number and made.poll() is None:
                pid = shlex.quote(str(_pid_file(out, number)))
                ssh.quietly(plan.starts[number].node.name, f"kill -TERM $(cat {pid}); sleep 2; kill -KILL $(cat {pid})")
            _kill(made)
        if patience:
            (out / contract.STOP).unlink(missing_ok=True)


def _ask_to_stop(plan: Plan, alive: list[tuple[int, subprocess.Popen]], out: Path) -> None:
    (out / contract.STOP).touch()
    for number, _ in alive:
        if number:
            ssh.quietly(plan.starts[number].node.name, f"touch {shlex.quote(str(out / contract.STOP))}")
    # torchrun and the like kill their processes half a minute after a TERM, whatever they do: those get the file alone.
    if plan.launcher == "python" and os.name == "posix":
        alive[0][1].terminate()


def _kill(made: subprocess.Popen) -> None:
    """With everything below it: a launcher's processes have sessions of their own."""
    import psutil

    below: list[psutil.Process] = []
    with suppress(psutil.Error):
        below = psutil.Process(made.pid).children(recursive=True)
    if made.poll() is None:
        made.kill()
    for process in below:
        with suppress(psutil.Error):
            process.kill()
    made.wait()


def _ended_well(plan: Plan, codes: list[int | None], seen: Outcome, *, was_stopped: bool) -> bool:
    if any(codes):
        return False
    # DeepSpeed's launcher ends with 0 also where a signal killed its training.
    return plan.launcher != "deepspeed" or was_stopped or 0 < seen.total <= seen.step


def _death(plan: Plan, codes: list[int | None], seen: Outcome, log: Path, since: int) -> UserError:
    lines = tail(log, since)
    said = _said(lines)
    if said is not None:
        return said
    number = next((place for place, code in enumerate(codes) if code), 0)
    code = codes[number]
    # torchrun ends with 1 itself and tells of the signal.
    if code in (-KILLED, 128 + KILLED) or any("Signal 9 (SIGKILL)" in line for line in lines):
        return UserError(
            "The training was killed at step {step}; most likely memory ran out.",
            remedy="Choose smaller passes (--micro-batch-tokens) or --gradient-checkpointing on, and go on with "
            "--resume last.",
            step=seen.step,
        )
    return UserError(
        "The training on {machine} ended at step {step} with code {code}. Its last lines: {lines}",
        remedy="All that it printed stands in {log}. Once the cause is gone, go on with --resume last.",
        machine=plan.starts[number].node.name,
        step=seen.step,
        code=code,
        lines="\n" + "\n".join(lines[-SHOWN_LINES:]) if lines else "–",
        log=log,
    )


def _said(lines: list[str]) -> UserError | None:
    """The last UserError that the training printed, wherever its launcher's own lines put it."""
    for line in reversed(lines):
        _, found, told = line.partition(contract.USER_ERROR)
        if found and told.startswith("{"):
            with suppress(ValueError, KeyError, TypeError):
                return UserError.from_dict(json.loads(told))
    return None


def tail(file: Path, since: int = 0) -> list[str]:
    """The last lines of a log that came after its byte `since`; empty ones left out."""
    try:
        with file.open("rb") as handle:
            handle.seek(max(since, _size(file) - _TAIL_BYTES))
            return [line for line in handle.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
