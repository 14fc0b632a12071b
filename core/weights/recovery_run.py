"""`weights recovery NAME`: the steps that remain, one after the other, in one job.

Every step is an operation that finds what an earlier call has finished, so a killed or cancelled
call is simply made again.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from tyro.conf import Positional

from core import paths, resources
from core.errors import UserError
from core.models import read_card, write_card
from core.operation import Needs, Progress, Request, Result, operation
from core.operation import of as operation_of
from core.weights import catalog, recovery, recovery_steps
from core.weights.plan import ORDINARY_SPEED, STREAM_RAM
from core.weights.recovery import Key, Recovery

MEGA = 1_000_000


class RecoveryRequest(Request):
    """Recover a model: run the steps that remain, one after the other."""

    name: Positional[str] = Field(description="Name of the recovery, as the Recover page lists it")
    step: Literal["all", "base", "delta", "recover", "merge", "export", "verify"] = Field(
        default="all", description="Only this step; all: every one that remains"
    )


class StepReceipt(BaseModel):
    """`seconds` it took, bytes it left, and the most memory held until its end."""

    model_config = ConfigDict(frozen=True)

    step: Key
    seconds: float
    bytes: int
    memory: int


class RecoveryResult(Result):
    name: str
    steps: tuple[StepReceipt, ...]
    seconds: float
    memory: int

    def summary(self) -> str:
        lines = [
            f"{one.step}: {one.seconds:.1f} s, {resources.size(one.bytes)}, "
            f"{resources.size(one.memory)} of memory at most"
            for one in self.steps
        ]
        return "\n".join([*lines, f"{self.name}: {self.seconds:.1f} s, {resources.size(self.memory)} of memory"])


def todo(request: RecoveryRequest) -> tuple[Recovery, list[Key]]:
    """Raises UserError where a choice is missing, or the step asked for can't be done yet."""
    chosen = recovery.read(request.name)
    left = recovery_steps.remaining(chosen)
    wanted = left if request.step == "all" else [key for key in recovery.keys(chosen) if key == request.step]
    for key in recovery_steps.not_chosen(chosen):
        if key in wanted:
            raise UserError(
                "The step “{step}” has neither a folder nor a repository yet.",
                remedy="Choose one on the Recover page.",
                step=key,
            )
    for step in recovery_steps.steps(chosen):
        if step.key in wanted and step.error is not None:
            raise step.error
        if step.key in wanted and request.step != "all" and step.state == "waiting":
            raise UserError(
                "The step “{step}” needs what the steps before it make.",
                remedy="Run those first, or all that remain at once.",
                step=step.key,
            )
    return chosen, wanted


def needs(chosen: Recovery, key: Key) -> Needs:
    """Of one step: as its operations tell where its inputs are here, else reckoned from the model's size."""
    reckoned = _reckoned(chosen, key)
    told = []
    try:
        for request in recovery_steps.requests(chosen, key):
            told.append(operation_of(request).estimate(request))
    except UserError:
        return reckoned
    disks = [need.disk for need in told if need.disk is not None]
    times = [need.seconds for need in told if need.seconds is not None]
    return Needs(
        ram=max((need.ram for need in told if need.ram is not None), default=None),
        disk=sum(disks) if disks else reckoned.disk,
        disk_at=recovery.out_of(chosen, key),
        seconds=sum(times) if times else reckoned.seconds,
    )


def needs_of(chosen: Recovery, keys: list[Key]) -> Needs:
    """Of several steps in one go: the memory of the hungriest, the disk of all."""
    every = [needs(chosen, key) for key in _without_double(chosen, keys)]
    return Needs(
        ram=max((need.ram for need in every if need.ram is not None), default=None),
        disk=sum(need.disk for need in every if need.disk is not None) or None,
        disk_at=recovery.workplace(chosen),
        seconds=sum(need.seconds for need in every if need.seconds is not None) or None,
    )


def to_download(chosen: Recovery, keys: list[Key]) -> int:
    """Bytes that these steps fetch, where that is known. How long that takes nobody knows beforehand."""
    wanted = [request for key in keys for request in recovery_steps.downloads(chosen, key)]
    return sum(entry.bytes for request in wanted for entry in catalog.of_repository(request.repo)[:1])


def estimate(request: RecoveryRequest) -> Needs:
    return needs_of(*todo(request))


def plan(request: RecoveryRequest) -> list[str]:
    chosen, keys = todo(request)
    lines = []
    for key in _without_double(chosen, keys):
        lines.append(f"{key} -> {recovery.out_of(chosen, key)}")
        lines += [f"  {line}" for line in resources.describe(needs(chosen, key))]
    return lines


@operation("weights", "recovery", estimate=estimate, plan=plan)
def run(request: RecoveryRequest, progress: Progress) -> RecoveryResult:
    started = monotonic()
    chosen, keys = todo(request)
    keys = _without_double(chosen, keys)
    sizes = {key: work_bytes(chosen, key) for key in keys}
    receipts: list[StepReceipt] = []
    for place, key in enumerate(keys):
        before, after = sum(sizes[one] for one in keys[:place]), sum(sizes[one] for one in keys[place + 1 :])
        progress.log(f"step {key}")
        begun = monotonic()
        staged = Staged(progress, before / MEGA, sizes[key] / MEGA, after / MEGA)
        _name_model(chosen, key)
        for part in recovery_steps.requests(chosen, key):
            _refuse_shortages(operation_of(part).estimate(part))
            operation_of(part).run(part, staged)
        size = sum(step.size for step in recovery_steps.steps(chosen, deep=False) if step.key == key)
        receipts.append(StepReceipt(step=key, seconds=monotonic() - begun, bytes=size, memory=peak_memory()))
    return RecoveryResult(name=chosen.name, steps=tuple(receipts), seconds=monotonic() - started, memory=peak_memory())


class Staged:
    """One step's progress as a stretch of the whole: megabytes, those of other steps reckoned."""

    def __init__(self, progress: Progress, before: float, own: float, after: float) -> None:
        self._progress, self._before, self._own, self._after = progress, before, own, after

    def step(self, done: float, total: float | None = None, unit: str = "") -> None:
        if unit == "MB" and total:
            # the operation's own total is only part of the step's where the step has several operations
            share = min(1.0, done / total) * self._own
            whole = self._before + self._own + self._after
            self._progress.step(round(self._before + share, 1), round(whole, 1), "MB")

    def metric(self, **values: float) -> None:
        self._progress.metric(**values)

    def log(self, line: str) -> None:
        self._progress.log(line)


def work_bytes(chosen: Recovery, key: Key) -> int:
    """About what a step moves: what it writes, or reads when it writes nothing. At least a megabyte."""
    if key == "verify":
        full = recovery.full_precision(chosen)
        there = sum(path.stat().st_size for path in full.rglob("*.safetensors")) if full.is_dir() else 0
        return max(MEGA, there + (_reckoned(chosen, "export").disk or 0))
    return max(MEGA, needs(chosen, key).disk or 0)


def peak_memory() -> int:
    """The most bytes that this process has held resident so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _without_double(chosen: Recovery, keys: list[Key]) -> list[Key]:
    """The sample family is made whole by its first step."""
    if chosen.family == "sample" and "base" in keys:
        return [key for key in keys if key != "delta"]
    return keys


def _refuse_shortages(wanted: Needs) -> None:
    for shortage in resources.shortages(wanted):
        raise shortage


def _name_model(chosen: Recovery, key: Key) -> None:
    """Before the file that is run is made, its folder says what it is."""
    folder = paths.models() / chosen.name
    if key == "export" and not read_card(folder).title:
        folder.mkdir(exist_ok=True)
        write_card(folder, recovery_steps.final_card(chosen))


def _reckoned(chosen: Recovery, key: Key) -> Needs:
    """From the number of elements alone; unknown where that is."""
    count, place = recovery.elements(chosen), recovery.out_of(chosen, key)
    if key in ("base", "delta"):
        part = chosen.base if key == "base" else chosen.delta
        if part.folder and chosen.family != "sample":
            return Needs()
        known = catalog.of_repository(part.repo) if part.repo else []
        return Needs(disk=known[0].bytes if known else None, disk_at=place)
    if count is None:
        return Needs(ram=STREAM_RAM)
    width = recovery.weight_width(chosen)
    if key == "export":
        made = round(count * recovery.gguf_width(recovery.quant(chosen)))
        return Needs(STREAM_RAM, disk=made, disk_at=place, seconds=1 + (count * width + made) / ORDINARY_SPEED)
    if key == "verify":
        return Needs(seconds=1 + count * width / ORDINARY_SPEED)
    seconds = 1 + count * width * (3 if key == "recover" else 2) / ORDINARY_SPEED
    fetched = sum(
        entry.bytes
        for request in recovery_steps.downloads(chosen, key)
        for entry in catalog.of_repository(request.repo)[:1]
    )
    return Needs(STREAM_RAM, disk=round(count * width) + fetched, disk_at=place, seconds=seconds)
