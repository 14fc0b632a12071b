"""`python -m core train finetune`: LoRA, QLoRA and full fine-tuning, started, followed and stopped as one job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from core.launchers import earlier, follow, gpu, prepare, turn
from core.launchers.request import Machines, Passes
from core.operation import Needs, Progress, Request, Result, operation

DataFormat = Literal["auto", "alpaca", "sharegpt", "messages", "iepile", "instructie", "records", "prompts"]
Method = Literal["lora", "qlora", "full"]
PromptForm = Literal["auto", "raw", "chat", "alpaca"]
TARGETS = (
    "instruction",
    "input",
    "output",
    "system",
    "history",
    "conversations",
    "messages",
    "text",
    "prompt",
    "answer",
)
"""What a row's fields may be called here; `fields` says which column is which."""


class Samples(Request):
    """What is learnt, and by which part of the model."""

    base: str = Field(
        description="Model to train: a name, or a folder in Hugging Face layout", json_schema_extra={"picker": "model"}
    )
    data: tuple[Path, ...] = Field(
        min_length=1,
        description="Files with training rows, or folders of such files",
        json_schema_extra={"picker": "file"},
    )
    validation: tuple[Path, ...] = Field(
        default=(),
        description="Files with validation rows; a share of the data is kept for it if none is given",
        json_schema_extra={"picker": "file"},
    )
    validation_share: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the data kept for validation where no file is given"
    )
    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the training rows to learn from; which ones, the seed decides",
        json_schema_extra={"advanced": True},
    )
    method: Method = Field(
        default="lora",
        description="lora trains a small adapter, qlora the same on a 4-bit base (saves memory, not time), "
        "full all weights",
    )
    format: DataFormat = Field(
        default="auto",
        description="Shape of the rows; auto tells it from each file's first rows",
        json_schema_extra={"advanced": True},
    )
    fields: tuple[str, ...] = Field(
        default=(),
        description="Columns under other names, as “instruction=question”",
        json_schema_extra={"advanced": True},
    )
    schema_file: Path | None = Field(
        default=None,
        description="Schema (.json) of rows that hold records, such as exported reviews; their own types if not given",
        json_schema_extra={"picker": "file", "advanced": True},
    )
    prompt_form: PromptForm = Field(
        default="auto",
        description="How a prompt is put to the model; auto takes the form in which it is asked later",
        json_schema_extra={"advanced": True},
    )
    train_on_prompt: bool = Field(
        default=False, description="Learn the prompts too, not the answers only", json_schema_extra={"advanced": True}
    )
    adapter: Path | None = Field(
        default=None,
        description="Adapter to go on from, made for this base; without it a new one is begun",
        json_schema_extra={"picker": "folder", "advanced": True},
    )
    rank: int = Field(
        default=16, ge=1, le=1024, description="Rank of the adapter: its size", json_schema_extra={"advanced": True}
    )
    alpha: float = Field(
        default=32.0,
        gt=0,
        le=4096,
        description="Weight of the adapter, over its rank",
        json_schema_extra={"advanced": True},
    )
    dropout: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of the adapter's inputs left out by chance",
        json_schema_extra={"advanced": True},
    )
    target_modules: tuple[str, ...] = Field(
        default=(),
        description="Layers that get an adapter, by the end of their names; all linear ones if none is given",
        json_schema_extra={"advanced": True},
    )
    packing: bool = Field(
        default=True,
        description="Put several samples into one pass, without padding and without seeing each other",
        json_schema_extra={"advanced": True},
    )
    share_prefix: bool = Field(
        default=True,
        description="Compute a beginning that packed samples have in common only once",
        json_schema_extra={"advanced": True},
    )


class FinetuneRequest(Machines, Passes, Samples):  # the form's order: pydantic takes the last first
    """Train a model on your own examples: an adapter (LoRA, QLoRA) or all its weights."""

    @model_validator(mode="after")
    def _fits_together(self) -> FinetuneRequest:
        for pair in self.fields:
            name, _, column = pair.partition("=")
            if name not in TARGETS or not column:
                raise ValueError(f"“{pair}” is not NAME=COLUMN; the names are {', '.join(TARGETS)}")
        if self.adapter and self.method == "full":
            raise ValueError("full training has no adapter; merge it into the base first, or choose lora")
        if self.offload and not self.zero:
            raise ValueError("offload needs zero 1, 2 or 3")
        if self.zero == 3 and self.method == "qlora":
            raise ValueError("QLoRA's 4-bit weights can't be shared by ZeRO-3; choose zero 2, or lora")
        if self.launcher == "python" and self.processes > 1:
            raise ValueError("launcher python starts one process; choose torchrun, accelerate or deepspeed")
        return self


class FinetuneResult(Result):
    """`loss` and `eval_loss` are the last measured; None where none was. A dry run has a `plan` and no steps."""

    out: Path
    steps: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    verdict: str = ""
    """Of the validation part, after against before: better, worse or cannot tell."""
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    memory: int = 0
    """Bytes that the first process held at most."""
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
        if self.verdict:
            lines.append(f"on its validation part: {self.verdict}")
        return "\n".join(lines)


def estimate(request: FinetuneRequest) -> Needs:
    """Of this machine. Nothing for a dry run, which may be about others."""
    if request.dry_run:
        return Needs()
    made = prepare.prepared(request)
    return made.needs()


def plan_lines(request: FinetuneRequest) -> list[str]:
    made = prepare.prepared(request)
    how = made.how
    lines = [
        f"train {made.model.parameters / 1e6:.4g} M parameters by {how.method} in {how.precision}, passes of "
        f"{how.tokens} tokens, gradient checkpointing {'on' if how.checkpointing else 'off'}, {how.ranks} processes",
        *made.commands().lines(),
    ]
    note = gpu.unused()
    return [*lines, *([str(note)] if note else [])]


@operation("train", "finetune", estimate=estimate, plan=plan_lines)
def run(request: FinetuneRequest, progress: Progress) -> FinetuneResult:
    if note := gpu.unused():
        progress.log(str(note))
    if request.dry_run:
        made = prepare.prepared(request)
        return FinetuneResult(out=made.request.out, plan=tuple(made.commands().lines()))
    first = prepare.prepared(request).request
    if done := earlier.finished(first):
        progress.log("this training is finished already")
        return _result(first.out, done, follow.Outcome(), stopped=False)
    with turn.taken(progress, at_once=request.at_once):
        if request.unload_host:
            unload(progress)
        made = prepare.ready(request)
        # After the wait, since the training before may have written here, and memory is free again.
        settled, notes = earlier.continued(made.request)
        for line in notes:
            progress.log(line)
        made = replace(made, request=settled)
        settled.out.mkdir(parents=True, exist_ok=True)
        seen = follow.run(made.commands(), settled.out, progress)
    done = earlier.finished(settled)
    return _result(settled.out, done or {}, seen, stopped=done is None)


def unload(progress: Progress) -> None:
    from core.inference import client

    if client.status().state in ("loading", "ready"):
        progress.log("unloading the model that is loaded, for its memory")
        client.unload()


def _result(out: Path, done: dict[str, Any], seen: follow.Outcome, *, stopped: bool) -> FinetuneResult:
    verdict = done.get("verdict") or {}
    return FinetuneResult(
        out=out,
        steps=int(done.get("steps") or seen.step),
        loss=done.get("loss", seen.loss),
        eval_loss=done.get("eval_loss", seen.eval_loss),
        verdict=str(verdict.get("word", "")),
        tokens=int(seen.tokens or done.get("tokens") or 0),
        seconds=round(seen.seconds, 1),
        tokens_per_second=round(seen.tokens / seen.seconds, 1) if seen.seconds else 0.0,
        memory=int(seen.memory or 0),
        stopped=stopped,
    )
