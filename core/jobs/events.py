"""events.jsonl: what a running operation tells, written sparingly and read from its end.

    {"attempt", "time", "kind": "progress", "done", "total", "unit", "rate", "metrics", "memory_free"}
    {"attempt", "time", "kind": "metric", "at", "values": {name: value}}

`metrics` are the last values of each, `memory_free` is a share of all memory (0 to 1), `at` are units done
(seconds since the start where none are counted).

A progress event holds all that a glance needs, so a page reads only the last kilobytes. Log lines go
to log.txt, in order with what the process prints.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FASTEST = 0.2
"""Seconds between two events of a kind in the first minutes."""
SLOWEST = {"progress": 2.0, "metric": 5.0}
"""The same after hours. Intervals grow with age, so that a week of training stays tens of megabytes."""
RATE_WINDOW = 30.0
TAIL = 8_192
LONGEST_LINE = 4_000


class Recorder:
    """The Progress of a job. Any thread may call it; it never raises for want of disk."""

    def __init__(self, path: Path, attempt: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        self._attempt = attempt
        self._lock = threading.RLock()
        self._started = time.monotonic()
        self._written = {"progress": float("-inf"), "metric": float("-inf")}
        self._points: deque[tuple[float, float]] = deque()
        self._first: tuple[float, float] | None = None
        self._step: tuple[float, float | None, str] | None = None
        self._metrics: dict[str, float] = {}
        self._news: dict[str, float] = {}
        self._stale = False
        self._closed = False
        self._since_progress = 0
        self._memory = _memory_free()
        self._append(b"\n")  # ends a line that a killed attempt left half written

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        with self._lock:
            if self._news:
                self._write_metrics(now)
            self._write_progress(now, self._rate_since(self._first, now))
            self._closed = True

    def step(self, done: float, total: float | None = None, unit: str = "") -> None:
        now = time.monotonic()
        with self._lock:
            self._first = self._first or (now, done)
            if not self._points or now - self._points[-1][0] >= FASTEST:
                self._points.append((now, done))
            self._step = (done, total, unit)
            self._stale = True
            if self._is_due("progress", now):
                self._write_progress(now)

    def metric(self, **values: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._news.update({name: float(value) for name, value in values.items()})
            self._metrics.update(self._news)
            self._stale = True
            if self._is_due("metric", now):
                self._write_metrics(now)

    def log(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

    def beat(self) -> None:
        """Called each second: brings out what came too soon after the last event, and notes the free memory."""
        now = time.monotonic()
        free = _memory_free()
        with self._lock:
            if self._closed:
                return
            self._stale = self._stale or abs(free - self._memory) > 0.02
            self._memory = free
            if self._news and self._is_due("metric", now):
                self._write_metrics(now)
            if self._stale and self._is_due("progress", now):
                self._write_progress(now)

    def _is_due(self, kind: str, now: float) -> bool:
        return now - self._written[kind] >= min(max(FASTEST, (now - self._started) / 3000), SLOWEST[kind])

    def _write_progress(self, now: float, rate: float | None = None) -> None:
        self._written["progress"] = now
        self._stale = False
        self._since_progress = 0
        done, total, unit = self._step or (0, None, "")
        about = {"done": done, "total": total, "unit": unit, "rate": rate or self._rate(now), "metrics": self._metrics}
        self._write("progress", **about, memory_free=round(self._memory, 4))

    def _write_metrics(self, now: float) -> None:
        self._written["metric"] = now
        at = self._step[0] if self._step else now - self._started
        self._write("metric", at=at, values=self._news)
        self._news = {}
        # Whoever reads the last kilobytes must find a progress event there.
        if self._since_progress > TAIL // 2:
            self._write_progress(now)

    def _rate(self, now: float) -> float | None:
        """Units a second over the last half minute."""
        while len(self._points) > 2 and now - self._points[1][0] > RATE_WINDOW:
            self._points.popleft()
        return self._rate_since(self._points[0] if self._points else None, now)

    def _rate_since(self, point: tuple[float, float] | None, now: float) -> float | None:
        if point is None or self._step is None or now - point[0] < FASTEST:
            return None
        return (self._step[0] - point[1]) / (now - point[0])

    def _write(self, kind: str, **content: Any) -> None:
        event = {"attempt": self._attempt, "time": round(time.time(), 3), "kind": kind, **content}
        self._append(json.dumps(event).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        self._since_progress += len(line)
        try:
            os.write(self._file, line)
        except OSError:
            # A full disk: the operation's own writes say so; its progress is not worth an error.
            return


@dataclass(frozen=True)
class Seen:
    """What the end of events.jsonl tells of an attempt."""

    time: float | None = None
    done: float = 0.0
    total: float | None = None
    unit: str = ""
    rate: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    memory_free: float | None = None


def last_seen(path: Path, attempt: int) -> Seen:
    """The attempt's last progress event; reads the last kilobytes only."""
    for size in (TAIL, 16 * TAIL):
        for line in reversed(_tail(path, size)):
            event = _event(line) or {}
            if event.get("kind") == "progress" and event.get("attempt") == attempt:
                return Seen(**{name.name: event[name.name] for name in fields(Seen) if name.name in event})
        if _size(path) <= size:
            break
    return Seen()


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _tail(path: Path, size: int) -> list[bytes]:
    """The whole lines among the last `size` bytes."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - size)
            file.seek(start)
            lines = file.read().split(b"\n")
    except OSError:
        return []
    return lines[1:] if start else lines


def log_tail(path: Path, last: int) -> list[str]:
    """The last lines of a log, without reading the rest. A line that was rewritten in place shows its last state."""
    size = 200 * max(last, 1)
    while True:
        lines = _tail(path, size)
        if len(lines) > last or size > min(_size(path), 20_000_000):
            break
        size *= 4
    texts = (line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "backslashreplace") for line in lines)
    return [text[:LONGEST_LINE] for text in texts if text.strip()][-last:] if last > 0 else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


Series = dict[str, list[tuple[float, float]]]


class SeriesReader:
    """The metrics of an events file, read on from where the last call stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lock = threading.Lock()
        self._series: Series = {}

    def read(self) -> Series:
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    for line in file:
                        if not line.endswith(b"\n"):
                            break
                        self._offset += len(line)
                        if b'"kind": "metric"' in line:
                            self._add(_event(line) or {})
            except OSError:
                return {}
            return {name: list(points) for name, points in self._series.items()}

    def _add(self, event: dict[str, Any]) -> None:
        for name, value in event.get("values", {}).items():
            self._series.setdefault(name, []).append((float(event["at"]), float(value)))


def thinned(series: Series, most: int) -> Series:
    """At most about `most` points of each, evenly taken, the last always kept."""
    thin = {}
    for name, points in series.items():
        pace = -(-len(points) // most)
        thin[name] = points if pace <= 1 else [*points[:-1:pace], points[-1]]
    return thin


def _memory_free() -> float:
    from core import resources

    total, free = resources.ram()
    return free / total
