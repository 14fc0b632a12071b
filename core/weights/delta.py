"""Weight differences: `tuned = base + delta` (recover) and `delta = tuned - base` (make-delta).

Both add in fp32 and round once. The base may be in Meta's own layout: its tensors are read as
Hugging Face ones, no converted copy is made. Floating-point subtraction does not always undo
itself, so make-delta adds again and counts, a tensor, the elements that would not come back.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from core import resources
from core.models import Card, card_of
from core.operation import Needs, Progress, Request, Result, operation
from core.weights import published, stream
from core.weights.check import refuse_swapped, refuse_unlike
from core.weights.checkpoint import (
    CONFIG_FILES,
    TOKENIZER_FILES,
    Checkpoint,
    open_checkpoint,
    refuse_quantized,
    small_files,
    without_derived,
)
from core.weights.dtypes import DtypeChoice, chosen
from core.weights.plan import SHARD_GB, Plan, Planned, ShardGB, config_bytes, into_shards, refuse_overlap
from core.weights.views import Rows, Stacked, Sum, View, Zeros, width


class RecoverRequest(Request):
    """Recover a model from its base and its published weight difference."""

    base: Path = Field(
        description="Folder of the original model: Hugging Face, or Meta's consolidated.*.pth",
        json_schema_extra={"picker": "folder"},
    )
    delta: Path = Field(description="Folder of the weight difference", json_schema_extra={"picker": "folder"})
    out: Path = Field(description="Folder for the recovered model", json_schema_extra={"picker": "folder"})
    dtype: DtypeChoice = Field(
        default="same", description="Number format of the recovered weights; same: that of the difference"
    )
    shard_gb: ShardGB = SHARD_GB


class MakeDeltaRequest(Request):
    """Publish a tuned model as its difference to the base, and check that it can be recovered."""

    base: Path = Field(
        description="Folder of the original model: Hugging Face, or Meta's consolidated.*.pth",
        json_schema_extra={"picker": "folder"},
    )
    tuned: Path = Field(description="Folder of the tuned model", json_schema_extra={"picker": "folder"})
    out: Path = Field(description="Folder for the difference", json_schema_extra={"picker": "folder"})
    dtype: DtypeChoice = Field(
        default="same",
        description="Number format of the difference; same: that of the tuned model, float32 loses least",
    )
    shard_gb: ShardGB = SHARD_GB


class WeightsResult(Result):
    """What every streamed operation hands back."""

    out: Path
    tensors: int
    bytes: int
    element_sum: float
    seconds: float
    reused_files: int
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        speed = f"{resources.size(self.bytes / max(self.seconds, 1e-3))}/s"
        lines = [f"{self.out}: {self.tensors} tensors, {resources.size(self.bytes)}, {self.seconds:.1f} s ({speed})"]
        lines.append(f"sum of all elements: {self.element_sum:.4f}")
        if self.reused_files:
            lines.append(f"files kept from an earlier run: {self.reused_files}")
        return "\n".join([*lines, *self.notes])


class MakeDeltaResult(WeightsResult):
    unequal: int
    """Elements that base + delta does not give back exactly."""


def plan_recover(request: RecoverRequest) -> Plan:
    refuse_overlap(request.out, request.base, request.delta)
    base, delta = open_checkpoint(request.base), open_checkpoint(request.delta)
    refuse_quantized(base)
    refuse_quantized(delta)
    base_tensors, delta_tensors = without_derived(base.tensors), without_derived(delta.tensors)
    refuse_unlike(base, delta, base_tensors, delta_tensors)
    refuse_swapped(base, delta)
    planned = [
        Planned(name, chosen(request.dtype, view.dtype), _with_new_rows(base_tensors[name], view, 1))
        for name, view in delta_tensors.items()
    ]
    card = card_of(delta.folder)
    return Plan(
        operation="weights recover",
        shards=into_shards(planned, request.shard_gb),
        inputs=(*base.files, *delta.files),
        small_files=_small_files(base, delta, planned),
        card=card.model_copy(update={"files": {}}),
    )


def plan_make_delta(request: MakeDeltaRequest) -> Plan:
    refuse_overlap(request.out, request.base, request.tuned)
    base, tuned = open_checkpoint(request.base), open_checkpoint(request.tuned)
    refuse_quantized(base)
    refuse_quantized(tuned)
    base_tensors, tuned_tensors = without_derived(base.tensors), without_derived(tuned.tensors)
    refuse_unlike(base, tuned, base_tensors, tuned_tensors)
    planned = []
    for name, view in tuned_tensors.items():
        before = _extended(base_tensors[name], view)
        difference = _with_new_rows(base_tensors[name], view, -1)
        planned.append(Planned(name, chosen(request.dtype, view.dtype), difference, replays=(before, view)))
    return Plan(
        operation="weights make-delta",
        shards=into_shards(planned, request.shard_gb),
        inputs=(*base.files, *tuned.files),
        small_files=_small_files(base, tuned, planned),
        card=Card(license=card_of(tuned.folder).license),
    )


def estimate_recover(request: RecoverRequest) -> Needs:
    return plan_recover(request).needs(request.out)


def lines_recover(request: RecoverRequest) -> list[str]:
    return plan_recover(request).lines()


def estimate_make_delta(request: MakeDeltaRequest) -> Needs:
    return plan_make_delta(request).needs(request.out)


def lines_make_delta(request: MakeDeltaRequest) -> list[str]:
    return plan_make_delta(request).lines()


@operation("weights", "recover", estimate=estimate_recover, plan=lines_recover)
def recover(request: RecoverRequest, progress: Progress) -> WeightsResult:
    plan = plan_recover(request)
    written = stream.write(plan, request.out, progress)
    note = published_check(request.delta, written.element_sum)
    return WeightsResult(**receipt(plan, request.out, written), notes=(note,) if note else ())


@operation("weights", "make-delta", estimate=estimate_make_delta, plan=lines_make_delta)
def make_delta(request: MakeDeltaRequest, progress: Progress) -> MakeDeltaResult:
    plan = plan_make_delta(request)
    written = stream.write(plan, request.out, progress)
    note = f"elements that adding does not give back exactly: {written.unequal:,} (a tensor: {stream.MANIFEST})"
    return MakeDeltaResult(**receipt(plan, request.out, written), unequal=written.unequal, notes=(note,))


def receipt(plan: Plan, out: Path, written: stream.Written) -> dict:
    """The fields of a WeightsResult."""
    return {
        "out": out,
        "tensors": sum(len(shard.tensors) for shard in plan.shards),
        "bytes": plan.bytes,
        "element_sum": written.element_sum,
        "seconds": written.seconds,
        "reused_files": written.reused,
    }


def published_check(delta: Path, element_sum: float) -> str | None:
    """How the sum compares with the published one; None where none is published for this difference."""
    found = published.compare(published.repository_of(delta), element_sum)
    if found is None:
        return None
    verdict = "which agrees" if found.agrees else "which is another model: check base and difference"
    return (
        f"published sum of {found.repository}: {found.published:,.4f}, added in fp32; "
        f"ours, counted as they did: {found.ours:,.4f}, {verdict} (within {published.ROUNDING:g})"
    )


def _small_files(base: Checkpoint, tuned: Checkpoint, planned: list[Planned]) -> dict[str, Path | bytes]:
    """Tokenizer and config come from the tuned side; a config that it lacks from the base."""
    files: dict[str, Path | bytes] = {
        **small_files(base.folder, CONFIG_FILES),
        **small_files(tuned.folder, CONFIG_FILES),
    }
    config = tuned.config or base.config
    if config:
        files["config.json"] = config_bytes(config, planned)
    return {**files, **small_files(tuned.folder, TOKENIZER_FILES)}


def _with_new_rows(base: View, other: View, sign: int) -> View:
    """`other + base`, or `other - base`, with the rows that only `other` has as they are."""
    rows = base.shape[0] if base.shape else 0
    if other.shape == base.shape:
        return Sum(other, base, sign)
    return Stacked((Sum(Rows(other, 0, rows), base, sign), Rows(other, rows, other.shape[0])))


def _extended(base: View, other: View) -> View:
    """The base with zeros for the rows that only `other` has: what adding starts from."""
    return base if other.shape == base.shape else Stacked((base, Zeros(other.shape[0] - base.shape[0], width(base))))
