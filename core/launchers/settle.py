"""From what was asked to what will be done: every `auto` and 0 resolved by the base, the data and this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core import models, resources
from core.errors import UserError
from core.launchers import gpu, hosts, memory
from core.launchers.hosts import Node
from core.launchers.memory import Shape, Training
from core.launchers.request import Machines, Passes
from core.operation import Needs

MOST_TOKENS = {"cuda": 16_384, "cpu": 2048}
"""A pass larger than this is no faster."""
SPARE = 0.85
"""Share of the free memory that a pass is sized for."""


@dataclass(frozen=True)
class Here:
    """This machine, as far as a training cares."""

    gpus: int
    cores: int
    ram_free: int
    vram_free: int
    """Of the fullest of the GPUs."""
    gpu_bf16: bool
    cpu_bf16: bool


def here() -> Here:
    count = gpu.usable()
    free = min((card.free for card in resources.gpus()), default=0) if count else 0
    return Here(
        count, resources.cores(), resources.ram()[1], free, bool(count) and gpu.has_bf16(), gpu.processor_has_bf16()
    )


def nodes(request: Machines, found: Here) -> tuple[Node, ...]:
    """The machines, slots filled in where the request or this machine tells them."""
    own = request.processes or len(request.devices) or found.gpus or 1
    if request.hosts is None:
        return (Node("localhost", own, found.cores),)
    named = hosts.read(request.hosts)
    return (replace(named[0], slots=named[0].slots or own, cores=found.cores), *named[1:])


def base_folder(ref: str) -> Path:
    """The folder of Hugging Face weights that a model reference means. Raises UserError where it means none."""
    model = models.resolve(ref)
    folder = models.weights_folder(model)
    if folder is None:
        raise UserError(
            "{model} can't be trained: it is not a folder of Hugging Face weights.",
            remedy="Choose the folder with config.json and .safetensors that it was made from.",
            model=ref,
        )
    return folder


def precision(asked: str, found: Here, cuda: bool) -> str:
    if asked == "auto":
        return ("bf16" if found.gpu_bf16 else "fp16") if cuda else ("bf16" if found.cpu_bf16 else "fp32")
    if asked == "fp16" and not cuda:
        raise UserError("Processors don't train in fp16.", remedy="Choose bf16 or fp32.")
    return asked


def sized(model: Shape, how: Training, longest: int, asked_tokens: int, checkpointing: str, free: int) -> Training:
    """`how` with the tokens of a pass and checkpointing chosen, as far as they were left open, to fit `free` bytes."""
    most = MOST_TOKENS["cuda" if how.cuda else "cpu"]
    room = int(SPARE * free)

    def at(on: bool) -> Training:
        made = replace(how, checkpointing=on)
        tokens = asked_tokens or memory.fitting_tokens(model, made, room, longest, most)
        return replace(made, tokens=max(tokens, longest))

    if checkpointing != "auto":
        return at(checkpointing == "on")
    # Recomputing costs a third more time: only where without it a pass would not fit, or be too small to be fast.
    plain = at(False)
    fits = memory.peak(memory.needs(model, plain), plain) <= room
    return plain if fits and plain.tokens >= min(most, 2048, asked_tokens or most) else at(True)


def refuse_too_long(model: Shape, request: Passes) -> None:
    if model.context and request.max_length > model.context:
        raise UserError(
            "A length of {wanted} tokens is more than this model's context of {context}.",
            remedy="Lower the maximum length to {context}.",
            wanted=request.max_length,
            context=model.context,
        )


def data_tokens(data: Sequence[Path], epochs: float) -> float:
    """About how many tokens all epochs have, from the files' sizes."""
    size = 0
    for path in data:
        try:
            size += sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))
        except OSError:  # said properly when the data are read
            continue
    return size / memory.BYTES_A_TOKEN * epochs


def with_time(needed: Needs, model: Shape, how: Training, tokens: float, cores: int) -> Needs:
    return replace(needed, seconds=memory.seconds(model, how, tokens, cores))
