"""`python -m core train pretrain`: a model trained on a corpus of tokens; started, followed and stopped as one job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from core.launchers import contract, earlier, follow, gpu, pretrain_prepare, turn
from core.launchers.finetune import unload
from core.launchers.pretrain_request import PretrainRequest
from core.operation import Needs, Progress, Result, operation
from core.weights import delta

DELTA = "-delta"
"""After the name of the training's folder: that of the difference, beside it."""


class PretrainResult(Result):
    """`loss` and `eval_loss` are the last measured; None where none was. A dry run has a `plan` and no steps."""

    out: Path
    steps: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    perplexity: dict[str, float] = Field(default_factory=dict)
    """Of each source's validation rows."""
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    memory: int = 0
    """Bytes that the first process held at most."""
    delta: Path | None = None
    stopped: bool = False
    """Asked to stop before its last step: it can be gone on with."""
    plan: tuple[str, ...] = ()

    def summary(self) -> str:
        if self.plan:
            return "\n".join(self.plan)
        steps = f"stopped after {self.steps} steps" if self.stopped else f"{self.steps} steps"
        losses = [
            f"{name} {value:.4f}"
            for name, value in (("loss", self.loss), ("validation loss", self.eval_loss))
            if value is not None
        ]
        lines = [
            f"{self.out}: {', '.join([steps, *losses])}",
            f"{self.tokens} tokens in {self.seconds:.0f} s, {self.tokens_per_second:.0f} tokens/s",
        ]
        if self.perplexity:
            told = ", ".join(f"{name} {value:.2f}" for name, value in self.perplexity.items())
            lines.append(f"perplexity: {told}")
        if self.delta:
            lines.append(f"its difference to the base: {self.delta}")
        return "\n".join(lines)


def estimate(request: PretrainRequest) -> Needs:
    """Of this machine. Nothing for a dry run, which may be about others."""
    return Needs() if request.dry_run else pretrain_prepare.prepared(request).needs()


def plan_lines(request: PretrainRequest) -> list[str]:
    made = pretrain_prepare.prepared(request)
    how, needs = made.how, made.needs()
    shares = ", ".join(f"{name} {rows} rows" for name, rows in made.data.rows.items())
    hours = (needs.seconds or 0) / 3600
    lines = [
        f"train {made.model.parameters / 1e6:.4g} M parameters in {how.precision}, gradient checkpointing "
        f"{'on' if how.checkpointing else 'off'}, ZeRO {how.zero}, {how.ranks} processes",
        f"{made.steps} steps of {made.request.batch} rows ({shares}): {made.passes} passes of "
        f"{made.request.micro_batch} rows each; {made.tokens / 1e6:.4g} M tokens, about {hours:.1f} h",
        *made.commands().lines(),
    ]
    note = gpu.unused()
    return [*lines, *([str(note)] if note else [])]


@operation("train", "pretrain", estimate=estimate, plan=plan_lines)
def run(request: PretrainRequest, progress: Progress) -> PretrainResult:
    if note := gpu.unused():
        progress.log(str(note))
    first = pretrain_prepare.prepared(request)
    if request.dry_run:
        return PretrainResult(out=first.request.out, plan=tuple(plan_lines(request)))
    if done := earlier.finished(first.request):
        progress.log("this training is finished already")
        return _result(first.request, done, follow.Outcome(), progress)
    with turn.taken(progress, at_once=request.at_once):
        if request.unload_host:
            unload(progress)
        made = pretrain_prepare.ready(request)
        # After the wait, since the training before may have written here, and memory is free again.
        settled, notes = earlier.continued(made.request)
        for line in notes:
            progress.log(line)
        made = replace(made, request=settled)
        settled.out.mkdir(parents=True, exist_ok=True)
        seen = follow.run(made.commands(), settled.out, progress)
    return _result(settled, earlier.finished(settled), seen, progress)


def _result(
    request: PretrainRequest, done: dict[str, Any] | None, seen: follow.Outcome, progress: Progress
) -> PretrainResult:
    told = done or {}
    return PretrainResult(
        out=request.out,
        steps=int(told.get("steps") or seen.step),
        loss=told.get("loss", seen.loss),
        eval_loss=told.get("eval_loss", seen.eval_loss),
        perplexity=told.get("perplexity") or {},
        tokens=int(told.get("tokens") or seen.tokens),
        seconds=round(seen.seconds, 1),
        tokens_per_second=round(seen.tokens / seen.seconds, 1) if seen.seconds else 0.0,
        memory=int(seen.memory or 0),
        delta=_as_difference(request, progress) if done and request.delta else None,
        # where the others of a rendezvous keep the result, this machine has none of its own
        stopped=done is None and not (request.rendezvous and not (request.out / contract.STOP).exists()),
    )


def _as_difference(request: PretrainRequest, progress: Progress) -> Path:
    """The finished model as its difference to the base; one that is there already is checked and kept."""
    out = request.out.with_name(request.out.name + DELTA)
    progress.log(f"writing the difference to {request.base} into {out}")
    delta.make_delta(delta.MakeDeltaRequest(base=Path(request.base), tuned=request.out, out=out), progress)
    return out
