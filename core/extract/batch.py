"""A batch: many documents through one model, each finished exactly once, whatever stops it.

Threads ask (as many as the model answers at once), this thread alone reads the input and writes the
store. Schema-major within a window of documents: all of them for one part of the schema, then for the
next, so that calls in a row share their prompt's start. A document is committed when it has all its
parts, so records appear a window at a time.

A host that dies is started again. The calls it had in hand are then tried one at a time, so the one
that kills it twice is known and becomes a failed row; the others aren't blamed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract import calls
from core.extract.calls import Asked, Call, Options, Part
from core.extract.inputs import Unreadable
from core.extract.pool import Pool
from core.extract.schema import Schema, Task
from core.inference import client as inference
from core.inference.client import HostGone
from core.inference.decoding import Decoding
from core.models import Model
from core.operation import Progress
from core.records import Document, Extraction
from core.store import Writer

WINDOW = 100  # rows; more would hold back the first records, fewer would change the shared prompt too often
HOPELESS = 20  # failures one after the other, none between them answered: it isn't the rows


@dataclass(frozen=True)
class Outcome:
    """Of this call: rows asked and finished, rows answered by another's text, and how fast."""

    asked: int
    reused: int
    failed: int
    seconds: float
    tokens: int

    @property
    def rows_per_second(self) -> float:
        return self.asked / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass
class _Unit:
    """A document and the parts it lacks."""

    document: Document
    key: str
    last: bool
    """Whether the document is whole once this is done."""
    waiting: deque[Call]
    left: int
    results: dict[int, list[Extraction]] = field(default_factory=dict)
    error: UserError | None = None
    doubles: list[Document] = field(default_factory=list)
    """Documents with the same text that came while this one was under way."""


Asking = tuple[_Unit, Call]


class Batch:
    def __init__(
        self,
        model: Model,
        schema: Schema,
        tasks: Sequence[Task],
        options: Options,
        documents: Callable[[], Iterable[Document]],
        out: Path,
        *,
        facts: Mapping[str, Any] | None = None,
        connect: Callable[[str], Asked] = inference.connect,
    ) -> None:
        """`documents` is called to count the rows and to read them; `facts` goes into every provenance."""
        self._model, self._options, self._documents, self._out = model, options, documents, out
        self._parts = calls.parts(schema, tasks, options, model)
        self._told = calls.told(model, schema, tasks, options, grammar=options.grammar) | dict(facts or {})
        self._connect = connect
        self._client: Asked | None = None
        self._pool: Pool | None = None
        self._under_way: dict[str, _Unit] = {}
        self._suspects: list[Asking] = []
        self._failing: list[tuple[_Unit, UserError]] = []
        """Failed with nothing answered since; written once something is, or at the end."""
        self._asked = self._reused = self._failed = self._tokens = self._records = 0
        self._units = 0
        self._shown = 0.0

    def run(
        self,
        progress: Progress,
        *,
        settings: Mapping[str, Any],
        limit: int | None = None,
        retry_failed: bool = False,
    ) -> Outcome:
        """Finish every row (of the first `limit`) that isn't. Raises UserError where it can't go on; the done stays."""
        self._progress = progress
        self._total = sum(1 for _ in islice(self._documents(), limit))
        if not self._total:
            raise UserError("The input has no rows.", remedy="Choose a file with at least one text in it.")
        with Writer(self._out, settings) as self._store:
            began = self._began = time.monotonic()
            if retry_failed:
                self._store.forget_failures()
            self._before = self._store.counts()
            try:
                for window in self._windows(islice(self._documents(), limit)):
                    for part in self._parts:
                        self._pass(part, window)
                self._flush_failing()  # with the last rows: it may be their own fault
                self._store.forget_parts()
            finally:
                if self._pool is not None:
                    self._pool.close()
            self._show(force=True)
            return Outcome(self._asked, self._reused, self._failed, time.monotonic() - began, self._tokens)

    def _windows(self, documents: Iterator[Document]) -> Iterator[Iterable[Document]]:
        if len(self._parts) == 1:  # nothing to alternate: no waiting for a window's last answer
            yield documents
            return
        while window := list(islice(documents, WINDOW)):
            yield window

    # One pass over a window's documents

    def _pass(self, part: Part, documents: Iterable[Document]) -> None:
        units = self._units_of(part, documents)
        ready: deque[Asking] = deque()
        more = True
        while True:
            while more and not self._suspects and self._has_room():
                asking = self._next(ready, units)
                if asking is None:
                    more = False
                else:
                    self._submit(asking)
            if self._pool is None or not self._pool.under_way:
                if not self._suspects:
                    return
                self._try_alone()
                more = True
                continue
            self._take(*self._pool.done())

    def _has_room(self) -> bool:
        return self._pool is None or self._pool.under_way < 2 * self._pool.size

    def _next(self, ready: deque[Asking], units: Iterator[_Unit]) -> Asking | None:
        while not ready:
            unit = next(units, None)
            if unit is None:
                return None
            if not unit.waiting:
                self._finish(unit)
            ready.extend((unit, call) for call in unit.waiting)
        return ready.popleft()

    def _units_of(self, part: Part, documents: Iterable[Document]) -> Iterator[_Unit]:
        """What there is to ask in this pass. Rows that need no asking are settled on the way."""
        last = part is self._parts[-1]
        for document in documents:
            unit = self._unit(document, part, last)
            if unit is None:
                self._units += 1
                self._show()
            elif unit.error is not None:
                self._settle(unit)
            else:
                self._under_way[unit.key] = unit
                yield unit

    def _unit(self, document: Document, part: Part, last: bool) -> _Unit | None:
        if self._store.done(document.row):
            return None
        key = calls.key(document.text)
        if isinstance(document, Unreadable):
            return _Unit(document, key, last, deque(), 0, error=document.error)
        same = self._store.same(key)
        if same is not None:
            self._copy(document, key, same)
            return None
        if key in self._under_way:
            other = self._under_way[key]
            # a failing one waits for another's answer, and comes by again with the next part
            if all(document.row != known.row for known in (other.document, *other.doubles)):
                other.doubles.append(document)
                self._units -= 1  # counted when the other one is done
            return None
        have = self._store.parts(key) if len(self._parts) > 1 else {}
        if part.number in have and not last:
            return None
        try:
            wanted = [
                call
                for one in self._parts[: part.number + 1]
                if one.number not in have
                for call in calls.calls(document.text, one, self._options)
            ]
        except UserError as error:
            return _Unit(document, key, last, deque(), 0, error=error)
        unit = _Unit(document, key, last, deque(wanted), len(wanted))
        unit.results = {number: [result] for number, result in have.items()}
        return unit

    def _submit(self, asking: Asking) -> None:
        if self._client is None:
            self._client = self._connect(self._model.ref)
            self._told["grammar"] = calls.uses_grammar(self._client, self._options)
        if self._pool is None:
            self._pool = Pool(max(1, self._client.parallel), self._ask)
        self._pool.submit(asking)

    def _ask(self, asking: Asking) -> Extraction | None:
        unit, call = asking
        if unit.error is not None or self._suspects or self._client is None:
            return None  # the document has failed already, or the host is gone: don't spend time on it
        return calls.ask(self._client, call, self._options)

    # What came back

    def _take(self, asking: Asking, result: Extraction | Exception | None) -> None:
        unit, call = asking
        if isinstance(result, HostGone) or (result is None and unit.error is None):
            self._suspects.append(asking)
            return
        if isinstance(result, Exception) and not isinstance(result, UserError):
            raise result
        unit.left -= 1
        if isinstance(result, UserError):
            unit.error = unit.error or result
        elif result is not None:
            unit.results.setdefault(call.part.number, []).append(result)
            self._tokens += result.provenance["tokens"]
            self._flush_failing()
        if not unit.left:
            self._finish(unit)

    def _finish(self, unit: _Unit) -> None:
        if unit.error is None:
            self._settle(unit)
            return
        self._failing.append((unit, unit.error))
        if len(self._failing) >= HOPELESS:
            raise UserError(
                "The last {count} rows all failed. The last one: {why}",
                remedy="Put that right and start the run again: these rows are then asked again.",
                count=len(self._failing),
                why=unit.error,
            )

    def _flush_failing(self) -> None:
        while self._failing:
            self._settle(self._failing.pop()[0])

    def _settle(self, unit: _Unit) -> None:
        """Commit what the unit came to, and the documents with the same text."""
        if self._under_way.get(unit.key) is unit:
            del self._under_way[unit.key]
        everything = calls.joined(result for results in unit.results.values() for result in results)
        document = unit.document
        if unit.error is not None:
            for one in [document, *unit.doubles]:
                self._failed += 1
                self._store.put(one.row, unit.key, calls.failed(one.id, one.text, unit.error, self._told, one.row))
        elif unit.last:
            done = calls.finished(document.id, document.text, everything, self._told, document.row)
            self._failed += done.error is not None
            self._asked += 1
            self._write(document.row, unit.key, done)
            for double in unit.doubles:
                self._copy(double, unit.key, done)
        else:
            for number, results in unit.results.items():
                self._store.put_part(unit.key, number, calls.joined(results))
        self._units += 1 + len(unit.doubles)
        self._show()

    def _copy(self, document: Document, key: str, same: Extraction) -> None:
        """Another row had the same text: its records are this one's. Nothing was spent on them."""
        spent = dict.fromkeys(("calls", "prompt_tokens", "tokens", "seconds"), 0)
        provenance = {**same.provenance, **spent, "row": document.row, "same_text_as": same.id}
        copied = Extraction.from_dict({**same.to_dict(), "id": document.id, "provenance": provenance})
        self._reused += 1
        self._write(document.row, key, copied)

    def _write(self, row: int, key: str, done: Extraction) -> None:
        self._store.put(row, key, done)
        self._records += len(done.entities) + len(done.relations) + len(done.events)

    # A host that died

    def _try_alone(self) -> None:
        """Start the host again and put the calls it had in hand one by one."""
        suspects, self._suspects = self._suspects, []
        self._reconnect()
        while suspects:
            asking = suspects.pop(0)
            unit = asking[0]
            try:
                result: Any = self._ask(asking) if unit.error is None else None
            except HostGone as gone:
                self._progress.log(f"row {unit.document.row + 1} ended the model's process: {gone}")
                self._reconnect()
                result = _deadly(gone)
            except UserError as error:
                result = error
            self._take(asking, result)

    def _reconnect(self) -> None:
        """Raises UserError where the model can't be brought back, or another one has taken its place."""
        now = inference.status() if self._model.format != "remote" else None
        if now is not None and now.state in ("ready", "loading") and now.model != self._model.ref:
            raise UserError(
                "The model {other} was loaded while {model} was working.",
                remedy="Start the run again when you don't need the other model: it goes on where it stopped.",
                other=now.title or now.model,
                model=self._model.title,
            )
        self._progress.log("the model's process ended; starting it again")
        try:
            self._client = self._connect(self._model.ref)
            self._client.complete("Hello", Decoding(max_tokens=1))
        except UserError as error:
            raise UserError(
                "The model's process ended and could not be started again: {why}",
                remedy="See to that and start the run again: it goes on where it stopped.",
                why=error,
            ) from error

    def _show(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._shown < 0.2:
            return
        self._shown = now
        done = self._units / len(self._parts)
        self._progress.step(done if len(self._parts) > 1 else round(done), self._total, "rows")
        seconds = max(now - self._began, 1e-9)
        self._progress.metric(
            rows_per_second=self._asked / seconds,
            tokens_per_second=self._tokens / seconds,
            failures=self._before.failed + self._failed,
            records=self._before.records + self._records,
        )


def weights_of(model: Model) -> str:
    """Tells one model's weights from another's under the same name, without reading them."""
    known = model.card.files.get(model.path.name) if model.path else None
    return known or f"{model.size} bytes"


def _deadly(gone: HostGone) -> UserError:
    return UserError(
        "The model's process ended twice while it read this text: {why}",
        remedy="Shorten the text, or give the model more memory or a smaller context; then use --retry-failed.",
        why=gone,
    )
