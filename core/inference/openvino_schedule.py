"""Who is answered now and who waits, for one pipeline: what prompts begin with is computed once for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

BLOCK = 32
"""Tokens a block of the library's cache on a processor."""
EXPECTED = 256
"""Tokens of an answer that room is kept for; where many are longer, the library recomputes some."""


@dataclass
class Job:
    number: int
    ids: list[int]
    settings: dict[str, Any]
    grammar: str | None
    blocks: int
    chain: list[int]
    """A hash for each full block of the prompt and all before it."""
    handle: Any = None
    told: int = 0
    skip: int = 0
    """Tokens told already, before the pipeline was built anew."""
    fresh: list[int] = field(default_factory=list)
    """Of the chain, what it is the first to compute."""


class Steps(Protocol):
    """What is needed of a pipeline."""

    def build(self) -> None: ...

    def start(self, job: Job) -> Any: ...

    def step(self) -> None: ...

    def clear(self) -> None: ...


class Scheduler:
    """What waits, what runs, and what of the prompts has been computed."""

    def __init__(self, pipeline: Steps, given: dict[str, Any]) -> None:
        self._pipeline = pipeline
        self._parallel, self._blocks = given["parallel"], given["blocks"]
        self.waiting: dict[int, Job] = {}
        self.running: dict[int, Job] = {}
        self._reading: Counter[int] = Counter()
        self._known: dict[int, None] = {}

    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def add(self, asked: dict[str, Any]) -> None:
        ids = asked["ids"]
        blocks = -(-(len(ids) + min(asked["settings"]["max_new_tokens"], EXPECTED)) // BLOCK)
        job = Job(asked["add"], ids, asked["settings"], asked.get("grammar"), blocks, _chain(ids))
        self.waiting[job.number] = job

    def cancel(self, numbers: list[int]) -> dict[int, str]:
        for number in numbers:
            self.waiting.pop(number, None)
            if number in self.running:
                self.running[number].handle.cancel()
                self._forget(self.running[number])
        if not self.running:
            self._pipeline.clear()
        return dict.fromkeys(numbers, "cancelled")

    def admit(self) -> dict[int, str]:
        """Start, in order, what there is room for; answers what could not be started."""
        failed: dict[int, str] = {}
        for job in list(self.waiting.values()):
            taken = sum(other.blocks for other in self.running.values())
            if self.running and (len(self.running) >= self._parallel or taken + job.blocks > self._blocks):
                break
            if self._is_being_read(job):
                continue
            del self.waiting[job.number]
            try:
                self._start(job)
            except Exception as error:  # noqa: BLE001 - one request's fault is not the others'
                failed[job.number] = f"failed: {first_line(error)}"
        return failed

    def step(self) -> tuple[dict[int, list[int]], dict[int, str]]:
        """({number: new tokens}, {number: how it ended})."""
        try:
            self._pipeline.step()
        except Exception as error:  # noqa: BLE001 - whatever it was, the pipeline is of no use any more
            return {}, self._anew(first_line(error))
        tokens, ended = {}, {}
        for job in list(self.running.values()):
            new = list(_read(job.handle))
            if new and job.fresh:
                self._has_read(job)
            if new:
                job.told += len(new)
                tokens[job.number] = new[max(0, len(new) - max(0, job.told - job.skip)) :]
            status = job.handle.get_status().name
            if status != "RUNNING":
                ended[job.number] = {"FINISHED": "done", "IGNORED": "memory"}.get(status, "cancelled")
                self._forget(job)
        return tokens, ended

    def _is_being_read(self, job: Job) -> bool:
        """Whether another one computes half of what it needs at least: then it waits, and finds that in the cache."""
        missing = [block for block in job.chain if block not in self._known]
        shared = sum(block in self._reading for block in missing)
        return shared > 0 and shared * 2 >= len(missing)

    def _start(self, job: Job) -> None:
        job.handle = self._pipeline.start(job)
        job.fresh = [block for block in job.chain if block not in self._known]
        self._reading.update(job.fresh)
        self.running[job.number] = job

    def _has_read(self, job: Job) -> None:
        self._reading -= Counter(job.fresh)
        self._known.update(dict.fromkeys(job.fresh))
        job.fresh = []
        while len(self._known) > self._blocks:  # the library forgets the oldest too
            del self._known[next(iter(self._known))]

    def _forget(self, job: Job) -> None:
        self._reading -= Counter(job.fresh)
        del self.running[job.number]

    def _anew(self, why: str) -> dict[int, str]:
        """Build the pipeline again. Grammars that were new in this step get the blame; all else starts over."""
        jobs = list(self.running.values())
        blamed = [job for job in jobs if job.grammar is not None and not job.told] or jobs
        self.running.clear()
        self._reading.clear()
        self._known.clear()
        for job in jobs:
            job.handle = None
        self._pipeline.build()
        reason = "grammar" if blamed is not jobs else "failed"
        for job in jobs:
            job.skip, job.told = max(job.skip, job.told), 0
        again = {job.number: job for job in jobs if job not in blamed}
        self.waiting = again | self.waiting
        return {job.number: f"{reason}: {why}" for job in blamed}


def _read(handle: Any) -> Iterator[int]:
    while handle.can_read():
        for output in handle.read().values():
            yield from output.generated_ids


def _chain(ids: list[int]) -> list[int]:
    made, before = [], 0
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        before = hash((before, tuple(ids[start : start + BLOCK])))
        made.append(before)
    return made


def first_line(error: BaseException) -> str:
    """What a library's exception says, without the place in its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling or lines or [type(error).__name__])[0][:300]
