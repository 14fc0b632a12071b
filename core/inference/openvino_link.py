"""The engine's side of the pipeline's process: start it, ask, hear, cancel, and start it again when it has died."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import Any

from core import models, paths

Event = tuple[str, Any]
"""("tokens", ids), ("ended", how) or ("gone", why)."""
PATIENCE = 10
"""Seconds to end by itself before it is killed."""


class Gone(Exception):
    """The process could not load the model, or died; says why."""


class Link:
    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._numbers = itertools.count(1)
        self._heard: dict[int, SimpleQueue[Event]] = {}

    @property
    def pid(self) -> int:
        """The process that computes; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def begin(self) -> None:
        """Start the process; it loads while the caller does something else. `ready` waits for it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "core.inference.openvino_child"],
            cwd=paths.PROJECT,
            env=os.environ | models.OFFLINE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._send(self._given)

    def ready(self) -> dict[str, Any]:
        """What the process tells once it has loaded the model. Raises Gone."""
        process = self._process
        if process is None or process.stdout is None:
            raise Gone("it was not started")
        line = process.stdout.readline()
        told: dict[str, Any] = json.loads(line) if line else {"failed": _death(process)}
        if "failed" in told:
            self.close()
            raise Gone(told["failed"])
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        ready: dict[str, Any] = told["ready"]
        return ready

    def ask(self, **asked: Any) -> tuple[int, SimpleQueue[Event]]:
        """Put a request to the process, which is started again if it has died. Raises Gone."""
        with self._starting:
            if self._process is None or self._process.poll() is not None:
                self.begin()
                self.ready()
        number, events = next(self._numbers), SimpleQueue[Event]()
        with self._lock:
            self._heard[number] = events
        self._send({"add": number, **asked})
        return number, events

    def cancel(self, number: int) -> None:
        """Its events go on until ("ended", "cancelled")."""
        self._send({"cancel": number})

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # it ends when its input does
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        line = json.dumps(message).encode() + b"\n"
        try:
            with self._lock:
                process.stdin.write(line)
                process.stdin.flush()
        except (OSError, ValueError):  # it has died: whoever waits hears it from `_listen`
            pass

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            told = json.loads(line)
            for number, ids in told["tokens"]:
                self._tell(number, ("tokens", ids))
            for number, how in told["ended"]:
                self._tell(number, ("ended", how), last=True)
        why = _death(process)
        with self._lock:
            waiting, self._heard = self._heard, {}
        for events in waiting.values():
            events.put(("gone", why))

    def _tell(self, number: int, event: Event, *, last: bool = False) -> None:
        with self._lock:
            events = self._heard.pop(number, None) if last else self._heard.get(number)
        if events is not None:
            events.put(event)


def _death(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"its process ended with signal {-code}" if code < 0 else f"its process ended with code {code}"
