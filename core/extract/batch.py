"""A batch: many documents through one model, each finished exactly once, whatever stops it and whoever helps.

Threads ask (as many as the model answers at once), this thread alone reads the input and writes the
store. Schema-major within a window of documents: all of them for one part of the schema, then for the
next, so that calls in a row share their prompt's start. Every answer is kept as it comes; a document is
finished when it has all of them, so records appear a window at a time.

Several runners may share a folder: each claims a few texts at a time, passes over what others have claimed, and
comes back to it at the end, should they have died.

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
from core.extract import calls, confidence, cost, keys, regroup
from core.extract.calls import Asked, Call, Options, Part
from core.extract.cost import Prices
from core.extract.directions import marked
from core.extract.inputs import Unreadable
from core.extract.keys import weights_of
from core.extract.passes import TEMPERATURE, spread
from core.extract.pool import Pool
from core.extract.retry import Retry, ask
from core.extract.schema import Schema, Task
from core.inference import client as inference
from core.inference.client import HostGone
from core.inference.decoding import Decoding
from core.models import Model
from core.operation import Progress
from core.records import Document, Extraction
from core.store import Writer

__all__ = ["Batch", "Manner", "Outcome", "weights_of"]

WINDOW = 100  # rows; more would hold back the first records, fewer would change the shared prompt too often
CLAIM = 32  # rows claimed at once where there is no window: as many wait for one runner at the end of a batch
HOPELESS = 20  # failures one after the other, none between them answered: it isn't the rows
WAIT_SECONDS = 0.3
MAY_CHANGE = ("schema", "task", "types-per-call", "passes", "pass-temperature", "votes")
"""Settings under which a run goes on in its folder: what is asked. Whose answers to which rows stays."""


@dataclass(frozen=True)
class Manner:
    """How a batch goes about it, beside what is asked."""

    passes: int = 1
    temperature: float = TEMPERATURE
    votes: int = 0
    """Passes that must say a record for it to be kept; 0: half of them."""
    retry: Retry = field(default_factory=Retry)
    prices: Prices | None = None
    runners: int = 1
    """How many share the model's places; each takes its part of them."""

    def settings(self) -> dict[str, Any]:
        """What of it changes the records; of one pass, nothing: stores of earlier runs hold none of it."""
        if self.passes == 1:
            return {}
        return {"passes": self.passes, "pass-temperature": self.temperature, "votes": self.votes}


@dataclass(frozen=True)
class Outcome:
    """Of this call: rows asked and finished, rows finished without asking, and how fast.

    Nothing is asked for a text that another row had, nor where all answers are kept from an earlier call.
    """

    asked: int
    reused: int
    failed: int
    seconds: float
    tokens: int
    prompt_tokens: int = 0
    calls: int = 0
    times: float = 1.0
    """What all runners finished meanwhile, as a multiple of what this one did."""

    @property
    def rows_per_second(self) -> float:
        return self._rate(self.asked)

    @property
    def tokens_per_second(self) -> float:
        return self._rate(self.tokens)

    @property
    def calls_per_second(self) -> float:
        return self._rate(self.calls)

    def _rate(self, count: int) -> float:
        """Of all runners together."""
        return self.times * count / self.seconds if self.seconds else 0.0


@dataclass
class _Unit:
    """A document and the answers it lacks."""

    document: Document
    key: str
    last: bool
    """Whether the document is whole once this is done."""
    wanted: list[tuple[bytes, Call]] = field(default_factory=list)
    have: dict[bytes, Extraction] = field(default_factory=dict)
    waiting: deque[tuple[bytes, Call]] = field(default_factory=deque)
    left: int = 0
    fresh: list[tuple[bytes, Extraction]] = field(default_factory=list)
    """Answers that are not in the store yet."""
    error: UserError | None = None
    doubles: list[Document] = field(default_factory=list)
    """Documents with the same text that came while this one was under way."""


Asking = tuple[_Unit, bytes, Call]


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
        connect: Callable[[str], Asked] = inference.connect_for_many,
        manner: Manner | None = None,
        rows: int | None = None,
    ) -> None:
        """`documents` is called to read the rows, and to count them where `rows` doesn't tell; `facts` goes into
        every provenance."""
        self._model, self._schema, self._options, self._out = model, schema, options, out
        self._documents, self._rows = documents, rows
        self._manner = manner or Manner()
        self._parts = calls.parts(schema, tasks, options, model)
        self._names: list[bytes] = []
        self._told = calls.told(model, schema, tasks, options, grammar=options.grammar) | dict(facts or {})
        self._connect = connect
        self._client: Asked | None = None
        self._pool: Pool | None = None
        self._under_way: dict[str, _Unit] = {}
        self._suspects: list[Asking] = []
        self._failing: list[tuple[_Unit, UserError]] = []
        """Failed with nothing answered since; written once something is, or at the end."""
        self._asked = self._reused = self._failed = self._tokens = self._prompt_tokens = self._calls = 0
        self._records = self._units = 0
        self._touched: set[str] = set()
        """Texts that something was asked of, until they are finished."""
        self._done = bytearray()
        self._passed_over = bytearray()
        """A byte a row: 1 where another runner had claimed the text when this one came by."""
        self._shared = False
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
        if next(iter(self._documents()), None) is None:
            raise UserError("The input has no rows.", remedy="Choose a file with at least one text in it.")
        whole = {**settings, **self._manner.settings()}
        with Writer(self._out, whole, may_change=MAY_CHANGE) as self._store:
            began = self._began = time.monotonic()
            self._prepare(whole)
            if retry_failed:
                self._store.forget_failures()
            self._total = self._count(limit, cached="input" in settings)
            self._before = self._store.counts()
            try:
                self._work(limit)
            finally:
                if self._pool is not None:
                    self._pool.close()
            self._show(force=True)
            return self._outcome(time.monotonic() - began)

    def _outcome(self, seconds: float) -> Outcome:
        finished = self._store.rows() - self._before.rows
        made = Outcome(
            asked=self._asked,
            reused=self._reused,
            failed=self._failed,
            seconds=seconds,
            tokens=self._tokens,
            prompt_tokens=self._prompt_tokens,
            calls=self._calls,
            times=max(1.0, finished / self._asked) if self._shared and self._asked else 1.0,
        )
        if made.calls >= cost.ENOUGH:
            self._store.note("rate", {"calls_per_second": made.calls_per_second})
        return made

    def _prepare(self, settings: Mapping[str, Any]) -> None:
        """Settle what is asked together, as before in this folder, and name it."""
        if self._store.changed:
            self._progress.log("changed since the last run here: " + ", ".join(self._store.changed))
        known = self._store.noted("groups") or {}
        size = settings.get("types-per-call")
        if known and known.get("types-per-call") == size:
            self._parts = regroup.regrouped(self._parts, self._schema, known["groups"])
        self._store.note("groups", {"types-per-call": size, "groups": regroup.groups(self._parts)})
        self._parts = spread(self._parts, self._manner.passes, self._manner.temperature)
        self._names = [keys.part_name(part, self._model, self._options) for part in self._parts]

    def _count(self, limit: int | None, *, cached: bool) -> int:
        """Rows of the input; read once for a run."""
        known = self._store.noted("total") if cached else None
        if known is None:
            known = self._rows if self._rows is not None else sum(1 for _ in self._documents())
            self._store.note("total", known)
        return known if limit is None else min(limit, known)

    def _work(self, limit: int | None) -> None:
        self._sweep(limit, again=None)
        while any(self._passed_over):
            self._flush_failing()  # others may wait for these
            self._wait_for_others()
            again, self._passed_over = self._passed_over, bytearray()
            self._sweep(limit, again=again)
        self._flush_failing()  # with the last rows: it may be their own fault

    def _sweep(self, limit: int | None, again: bytearray | None) -> None:
        """Once through the input; `again`: only these rows."""
        self._done = self._store.done_rows()
        documents = self._free(self._open_rows(islice(self._documents(), limit), again))
        if len(self._parts) == 1:  # nothing to alternate: no waiting for a window's last answer
            self._pass(self._parts[0], documents)
            return
        while window := list(islice(documents, WINDOW)):
            for part in self._parts:
                self._pass(part, window)

    def _open_rows(self, documents: Iterable[Document], again: bytearray | None) -> Iterator[Document]:
        for document in documents:
            row = document.row
            if again is not None and not (row < len(again) and again[row]):
                continue
            if row < len(self._done) and self._done[row]:
                self._units += len(self._parts)
                self._show()
            else:
                yield document

    def _free(self, documents: Iterator[Document]) -> Iterator[tuple[Document, str]]:
        """Those that this runner has claimed, with their texts' keys. A few at a time, so that others find some too."""
        while group := list(islice(documents, CLAIM)):
            keyed = {document.row: _key(document) for document in group}
            mine = self._store.claim({key: row for row, key in reversed(keyed.items())})
            done = self._store.done_among(list(keyed))  # by another runner, before the claim
            needed = {key for row, key in keyed.items() if row not in done} | self._under_way.keys()
            self._store.release({keyed[row] for row in done} & mine - needed)
            for document in group:
                key = keyed[document.row]
                if document.row in done:
                    self._units += len(self._parts)
                elif key in mine:
                    yield document, key
                else:
                    self._pass_over(document.row)

    def _pass_over(self, row: int) -> None:
        self._shared = True
        if row >= len(self._passed_over):
            self._passed_over.extend(bytes(row + 1 - len(self._passed_over)))
        self._passed_over[row] = 1

    def _wait_for_others(self) -> None:
        time.sleep(WAIT_SECONDS)
        while self._store.claimed_by_others(before=len(self._passed_over)):
            self._show()
            time.sleep(WAIT_SECONDS)

    # One pass over a window's documents

    def _pass(self, part: Part, documents: Iterable[tuple[Document, str]]) -> None:
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
            ready.extend((unit, *one) for one in unit.waiting)
        return ready.popleft()

    def _units_of(self, part: Part, documents: Iterable[tuple[Document, str]]) -> Iterator[_Unit]:
        """What there is to ask in this pass. Rows that need no asking are settled on the way."""
        last = part is self._parts[-1]
        for document, key in documents:
            unit = self._unit(document, key, part, last)
            if unit is None:
                self._units += 1
                self._show()
            elif unit.error is not None:
                self._settle(unit)
            else:
                self._under_way[unit.key] = unit
                yield unit

    def _unit(self, document: Document, key: str, part: Part, last: bool) -> _Unit | None:
        if len(self._parts) > 1 and self._store.done(document.row):  # since an earlier part
            return None
        if isinstance(document, Unreadable):
            return _Unit(document, key, last, error=document.error)
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
        try:
            wanted = self._wanted(document, key, self._parts if last else [part])
        except UserError as error:
            return _Unit(document, key, last, error=error)
        have = self._store.answers([name for name, _ in wanted])
        waiting = deque(pair for pair in wanted if pair[0] not in have)
        if not waiting and not last:
            return None
        return _Unit(document, key, last, wanted, have, waiting, len(waiting))

    def _wanted(self, document: Document, key: str, parts: Sequence[Part]) -> list[tuple[bytes, Call]]:
        made = []
        for part in parts:
            name = self._names[part.number]
            for call in calls.calls(document.text, part, self._options):
                made.append((keys.call_name(name, key, call), call))
        return made

    def _submit(self, asking: Asking) -> None:
        if self._client is None:
            self._client = self._connect(self._model.ref)
            self._told["grammar"] = calls.uses_grammar(self._client, self._options)
        if self._pool is None:
            self._pool = Pool(max(1, self._client.parallel // self._manner.runners), self._ask)
        self._pool.submit(asking)

    def _ask(self, asking: Asking) -> Extraction | None:
        unit, _, call = asking
        if unit.error is not None or self._suspects or self._client is None:
            return None  # the document has failed already, or the host is gone: don't spend time on it
        return ask(self._client, call, self._options, self._manner.retry, lambda: bool(self._suspects))

    # What came back

    def _take(self, asking: Asking, result: Extraction | Exception | None) -> None:
        unit, name, _ = asking
        if isinstance(result, HostGone) or (result is None and unit.error is None):
            self._suspects.append(asking)
            return
        if isinstance(result, Exception) and not isinstance(result, UserError):
            raise result
        unit.left -= 1
        if isinstance(result, UserError):
            unit.error = unit.error or result
        elif result is not None:
            self._answered(unit, name, result)
        if not unit.left:
            self._finish(unit)

    def _answered(self, unit: _Unit, name: bytes, result: Extraction) -> None:
        unit.have[name] = result
        unit.fresh.append((name, result))
        if unit.left or not unit.last or unit.error is not None:  # else it is written with the document
            self._store.put_answers(unit.fresh)
            unit.fresh.clear()
        self._tokens += result.provenance["tokens"]
        self._prompt_tokens += result.provenance["prompt_tokens"]
        self._calls += 1
        self._touched.add(unit.key)
        self._flush_failing()

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
        document = unit.document
        if unit.error is not None:
            for one in [document, *unit.doubles]:
                self._failed += 1
                told = self._told_of(one)
                self._store.put(one.row, unit.key, calls.failed(one.id, one.text, unit.error, told, one.row))
        elif unit.last:
            done = self._whole(unit)
            self._failed += done.error is not None
            self._asked += unit.key in self._touched
            self._reused += unit.key not in self._touched
            self._touched.discard(unit.key)
            self._write(document.row, unit.key, done, unit.fresh)
            for double in unit.doubles:
                self._copy(double, unit.key, done)
        self._units += 1 + len(unit.doubles)
        self._show()

    def _whole(self, unit: _Unit) -> Extraction:
        """The document's row, from all its answers: joined within each pass, then voted."""
        turns: dict[int, list[Extraction]] = {}
        for name, call in unit.wanted:
            turns.setdefault(call.part.turn.number, []).append(unit.have[name])
        joined = [calls.joined(results) for results in turns.values()] or [calls.joined([])]
        result = joined[0] if len(joined) == 1 else confidence.voted(joined, self._manner.votes)
        document = unit.document
        done = calls.finished(document.id, document.text, result, self._told_of(document), document.row)
        return confidence.judged(marked(done, self._schema))

    def _told_of(self, document: Document) -> dict[str, Any]:
        """What is known of every row, and of this one: where it stood, what must be known before believing it."""
        if not document.about:
            return self._told
        warnings = [*self._told.get("warnings", ()), *document.about.get("warnings", ())]
        return {**self._told, **document.about, "warnings": warnings}

    def _copy(self, document: Document, key: str, same: Extraction) -> None:
        """Another row had the same text: its records are this one's. Nothing was spent on them."""
        spent = dict.fromkeys(("calls", "prompt_tokens", "tokens", "seconds"), 0)
        provenance = {**same.provenance, **spent, **document.about, "row": document.row, "same_text_as": same.id}
        copied = Extraction.from_dict({**same.to_dict(), "id": document.id, "provenance": provenance})
        self._reused += 1
        self._write(document.row, key, copied)

    def _write(self, row: int, key: str, done: Extraction, answers: Sequence[tuple[bytes, Extraction]] = ()) -> None:
        self._store.put(row, key, done, answers)
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
        if not force and now - self._shown < (1.0 if self._shared else 0.2):
            return
        self._shown = now
        done: float = self._store.rows() if self._shared else self._units / len(self._parts)
        self._progress.step(min(done, self._total) if len(self._parts) > 1 else round(done), self._total, "rows")
        seconds = max(now - self._began, 1e-9)
        spent = {}
        if self._manner.prices is not None:
            spent = {"cost": self._manner.prices.of(self._prompt_tokens, self._tokens)}
        if self._shared:
            spent["runners"] = 1 + self._store.others()
        self._progress.metric(
            rows_per_second=self._asked / seconds,
            tokens_per_second=self._tokens / seconds,
            failures=self._before.failed + self._failed,
            records=self._before.records + self._records,
            **spent,
        )


def _key(document: Document) -> str:
    """What is claimed: the text, so that it is asked once; of a row that yields none, the row."""
    return f"row {document.row}" if isinstance(document, Unreadable) else calls.key(document.text)


def _deadly(gone: HostGone) -> UserError:
    return UserError(
        "The model's process ended twice while it read this text: {why}",
        remedy="Shorten the text, or give the model more memory or a smaller context; then use --retry-failed.",
        why=gone,
    )
