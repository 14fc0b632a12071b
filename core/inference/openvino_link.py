"""The engine's side of the pipeline's process: start it, ask, hear, cancel, and start it again when it has died."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from core import models, paths

Event = tuple[str, Any]
"""("tokens", ids), ("ended", how) or ("gone", why)."""
PATIENCE = 10
"""Seconds to end by itself before it is killed."""


class Gone(Exception):
    """The process could not load the model, or died; says why."""


@dataclass
class _Life:
    """One process, and who waits to hear from it."""

    process: subprocess.Popen[bytes]
    loaded: SimpleQueue[dict[str, Any]] = field(default_factory=SimpleQueue)
    heard: dict[int, SimpleQueue[Event]] = field(default_factory=dict)
    over: str = ""
    """Why it has ended."""


class Link:
    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._life: _Life | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._starting = threading.Lock()
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """The process that computes; 0 while there is none."""
        return self._life.process.pid if self._life is not None else 0

    def begin(self) -> None:
        """Start the process; it loads while the caller does something else. `ready` waits for it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "core.inference.openvino_child"],
            cwd=paths.PROJECT,
            env=os.environ | models.OFFLINE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._life = _Life(process)
        threading.Thread(target=self._watch, args=(self._life,), daemon=True).start()
        self._send(self._life, self._given)

    def ready(self) -> dict[str, Any]:
        """What the process tells once it has loaded the model. Raises Gone."""
        if self._life is None:
            raise Gone("it was not started")
        told = self._life.loaded.get()
        if "failed" in told:
            self.close()
            raise Gone(told["failed"])
        ready: dict[str, Any] = told["ready"]
        return ready

    def ask(self, **asked: Any) -> tuple[int, SimpleQueue[Event]]:
        """Put a request to the process, which is started again if it has died. Raises Gone."""
        with self._starting:
            if self._life is None or self._life.over or self._life.process.poll() is not None:
                self.begin()
                self.ready()
            life = self._life
        if life is None:
            raise Gone("it was unloaded")
        number, events = next(self._numbers), SimpleQueue[Event]()
        with self._lock:
            if life.over:
                raise Gone(life.over)
            life.heard[number] = events
        self._send(life, {"add": number, **asked})
        return number, events

    def cancel(self, number: int) -> None:
        """Its events go on until ("ended", "cancelled")."""
        if self._life is not None:
            self._send(self._life, {"cancel": number})

    def close(self) -> None:
        life, self._life = self._life, None
        if life is None:
            return
        if life.process.stdin is not None:
            with contextlib.suppress(OSError):
                life.process.stdin.close()  # it ends when its input does
        try:
            life.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            life.process.kill()
            life.process.wait()

    def _send(self, life: _Life, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        # a process that has died is told of by `_watch`
        with self._writing, contextlib.suppress(OSError, ValueError):
            if life.process.stdin is not None:
                life.process.stdin.write(line)
                life.process.stdin.flush()

    def _watch(self, life: _Life) -> None:
        """Wait for the process's end, and tell it to everybody who waits for an answer."""
        listening = threading.Thread(target=self._listen, args=(life,), daemon=True)
        listening.start()
        code = life.process.wait()
        if os.name != "nt":
            # a copy that some library made of the process would hold the pipes open
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(life.process.pid, signal.SIGKILL)
        listening.join(PATIENCE)
        why = f"its process ended with signal {-code}" if code < 0 else f"its process ended with code {code}"
        life.loaded.put({"failed": why})
        with self._lock:
            life.over = why
            waiting, life.heard = life.heard, {}
        for events in waiting.values():
            events.put(("gone", why))

    def _listen(self, life: _Life) -> None:
        for line in life.process.stdout or ():
            told = json.loads(line)
            if "tokens" not in told:
                life.loaded.put(told)
                continue
            for number, ids in told["tokens"]:
                self._tell(life, number, ("tokens", ids))
            for number, how in told["ended"]:
                self._tell(life, number, ("ended", how), last=True)

    def _tell(self, life: _Life, number: int, event: Event, *, last: bool = False) -> None:
        with self._lock:
            events = life.heard.pop(number, None) if last else life.heard.get(number)
        if events is not None:
            events.put(event)
