"""Work that blocks, for callers that don't: in threads, so many at once, each ended when its caller goes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from core.serve.refused import Refused

T = TypeVar("T")
Work = Callable[[threading.Event], Iterator[T]]
"""Yields what it makes as it comes; ends soon after the event is set."""
BEAT = 0.2
MOST_WAITING = 64


class Desk:
    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._waiting = 0
        self._stops: set[threading.Event] = set()

    @property
    def busy(self) -> int:
        return len(self._stops)

    def close(self) -> None:
        """End all work; what came so far is sent. Safe from a signal's handler."""
        for stop in list(self._stops):
            stop.set()

    async def follow(self, work: Work[T], gone: Callable[[], Awaitable[Any]]) -> AsyncGenerator[T | None]:
        """What the work makes, and None every BEAT seconds without anything. Raises what it raises; Refused (503)."""
        if self._waiting >= MOST_WAITING:
            raise Refused(
                "Too many requests wait already.", remedy="Ask again in a while.", http=503, code="busy", retry_after=5
            )
        stop = threading.Event()
        self._stops.add(stop)
        watch = asyncio.ensure_future(_set_when(gone, stop))
        place = asyncio.create_task(self._places.acquire())
        self._waiting += 1
        try:
            try:
                while not (await asyncio.wait({place}, timeout=BEAT))[0]:
                    if stop.is_set():
                        return
                    yield None
            finally:
                self._waiting -= 1
            async with aclosing(_in_thread(work, stop)) as items:
                async for item in items:
                    yield item
        finally:
            stop.set()
            self._stops.discard(stop)
            watch.cancel()
            if place.done() and not place.cancelled():
                self._places.release()
            place.cancel()


async def _set_when(gone: Callable[[], Awaitable[Any]], stop: threading.Event) -> None:
    await gone()
    stop.set()


async def _in_thread(work: Work[T], stop: threading.Event) -> AsyncGenerator[T | None]:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def put(*item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def run() -> None:
        try:
            for item in work(stop):
                put("item", item)
            put("end", None)
        except BaseException as error:  # noqa: BLE001 - raised again on the other side
            put("error", error)

    threading.Thread(target=run, daemon=True, name="serve").start()
    waiting = asyncio.create_task(queue.get())
    try:
        while True:
            if not (await asyncio.wait({waiting}, timeout=BEAT))[0]:
                yield None
                continue
            kind, item = waiting.result()
            if kind == "end":
                return
            if kind == "error":
                raise item
            waiting = asyncio.create_task(queue.get())
            yield item
    finally:
        stop.set()
        waiting.cancel()
