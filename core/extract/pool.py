"""Threads that put calls to a model. Daemons: a cancelled or failing run ends at once, whatever they wait for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any


class Pool:
    """`work` runs in `size` threads; `done` hands out (item, result or exception) in the order of finishing."""

    def __init__(self, size: int, work: Callable[[Any], Any]) -> None:
        self.size = size
        self.under_way = 0
        self._work = work
        self._asked: queue.SimpleQueue = queue.SimpleQueue()
        self._answered: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(size):
            threading.Thread(target=self._serve, daemon=True, name="extract").start()

    def submit(self, item: Any) -> None:
        self.under_way += 1
        self._asked.put(item)

    def done(self) -> tuple[Any, Any]:
        """The next finished item; waits for it. Interruptible by signals, since it wakes twice a second."""
        while True:
            try:
                pair = self._answered.get(timeout=0.5)
            except queue.Empty:
                continue
            self.under_way -= 1
            return pair

    def close(self) -> None:
        """No thread starts anything new."""
        while True:
            try:
                self._asked.get_nowait()
            except queue.Empty:
                break
        for _ in range(self.size):
            self._asked.put(None)

    def _serve(self) -> None:
        while (item := self._asked.get()) is not None:
            try:
                self._answered.put((item, self._work(item)))
            except Exception as error:  # noqa: BLE001 - judged by whoever takes it
                self._answered.put((item, error))
