"""A library that calls back, turned into an iterator that can be stopped and closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from core.inference.engine import Piece

Put = Callable[[Piece], None]
Stopped = Callable[[], bool]


def pump(work: Callable[[Put, Stopped], None], stop: threading.Event) -> Iterator[Piece]:
    """Run `work(put, stopped)` in a thread and yield what it puts; what it raises is raised here.

    `stopped()` turns true when `stop` is set or the iterator is closed; closing waits for the thread,
    so that nothing computes on after it.
    """
    pieces: SimpleQueue[Piece | BaseException | None] = SimpleQueue()
    closed = threading.Event()

    def run() -> None:
        try:
            work(pieces.put, lambda: stop.is_set() or closed.is_set())
        except BaseException as error:  # noqa: BLE001 - raised again on the other side
            pieces.put(error)
        pieces.put(None)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        closed.set()
        thread.join()
