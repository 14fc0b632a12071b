"""How much memory, disk and time a training takes, from the weights' headers alone. Pure, but for reading those.

P parameters, T trained ones, b bytes a number (2 in bf16 and fp16, 4 in fp32), t tokens a pass, r ranks:

    weights       full: 4 P, since they are trained in fp32 (autocast makes b-byte copies a layer at a time: + b P)
                  lora: b P     qlora: 0.52 of the layers' (NF4, its doubly quantized scales), 4 of the rest
    training      16 T: the adapters in fp32, their gradients, AdamW's two moments (full: 12 T, weights counted above)
    activations   b t S, S = sum over all linear layers of inputs + outputs: what the backward pass reads again
                  (+ inputs once more where dropout copies them); Korthikanti et al. 2022 count the same per layer
                  with checkpointing: b t (layers x hidden) and one layer's share of the above
    logits        12 t V: fp32 logits, their softmax and its gradient, if every token of a pass were an answer
    ZeRO          1 divides the moments by r (8 of 16 bytes), 2 gradients too (12), 3 all but activations; offload
                  moves to RAM what is divided
    kept          on a processor 0.45 of activations and logits once more
    besides       0.9 GB of libraries in RAM, on a GPU 0.8 GB of context and kernels there

Time is 2 P t FLOPs a pass forward and twice that backward (adapters: once, as no weight gradients are needed;
checkpointing: one forward more), over what such machines were seen to reach, and a start's quarter of a minute. The
number of tokens is guessed from the files' sizes. It tells minutes from days and no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from core.operation import Needs
from core.weights.checkpoint import open_checkpoint

ITEM = {"bf16": 2, "fp16": 2, "fp32": 4}
LIBRARIES, CONTEXT = 900_000_000, 800_000_000
KEPT = 0.45
"""Of a pass's numbers, on a processor: blocks of earlier passes' sizes that malloc keeps (train.callbacks)."""
BYTES_A_TOKEN = 3.5
"""Of the files, markup included. English prose has 4.2, Chinese 3, JSON's keys and quotes are learnt by no one."""
START = 15.0
SPEED = {"cpu bf16": 1.0e11, "cpu fp32": 5.5e10, "gpu": 6.0e13}
"""FLOP/s seen in training: one core with bf16 units, one core, one recent GPU."""
_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory: from config.json and the headers of its weights."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    linears: tuple[tuple[str, int, int], ...]
    """(name without `.weight`, outputs, inputs) of the linear layers within the stack."""
    context: int
    """Longest input, 0 where config.json doesn't say."""
    file_bytes: int

    @property
    def traffic(self) -> int:
        """Inputs + outputs of all linear layers, numbers a token."""
        return sum(outputs + inputs for _, outputs, inputs in self.linears)

    def adapter(self, rank: int, targets: tuple[str, ...]) -> tuple[int, int]:
        """(trained parameters, inputs that dropout copies a token) of adapters on the target layers."""
        chosen = [
            (outputs, inputs)
            for name, outputs, inputs in self.linears
            if not targets or any(name == end or name.endswith("." + end) for end in targets)
        ]
        return sum(rank * (outputs + inputs) for outputs, inputs in chosen), sum(inputs for _, inputs in chosen)


@dataclass(frozen=True)
class Training:
    """The settings that decide memory; everything resolved."""

    method: str
    precision: str
    tokens: int
    """A pass takes at most."""
    checkpointing: bool
    rank: int
    targets: tuple[str, ...]
    dropout: float
    zero: int
    offload: bool
    ranks: int
    """All processes of all machines."""
    local: int
    """Processes on this machine."""
    cuda: bool
    keep: int


def shape(base: Path) -> Shape:
    """Reads headers only. Raises UserError where the folder holds no sound weights."""
    made = open_checkpoint(base)
    config = {**made.config, **made.config.get("text_config", {})}
    linears, layers = [], set()
    for name, view in made.tensors.items():
        place = _LAYER.search(name)
        if place and len(view.shape) == 2 and name.endswith(".weight"):
            linears.append((name.removesuffix(".weight"), view.shape[0], view.shape[1]))
            layers.add(place[1])
    embedding = next((view.shape for name, view in made.tensors.items() if _is_embedding(name)), (0, 0))
    return Shape(
        parameters=sum(prod(view.shape) for view in made.tensors.values()),
        layers=len(layers),
        hidden=int(config.get("hidden_size") or embedding[1]),
        vocabulary=int(config.get("vocab_size") or embedding[0]),
        linears=tuple(linears),
        context=int(config.get("max_position_embeddings") or config.get("n_positions") or 0),
        file_bytes=sum(blob.size for blob in made.files),
    )


def _is_embedding(name: str) -> bool:
    return name.endswith(("embed_tokens.weight", "wte.weight", "word_embeddings.weight"))


def needs(model: Shape, how: Training, out: Path | None = None) -> Needs:
    """At the peak, without the time: RAM of this machine, memory of one GPU, disk of the result and its checkpoints."""
    item = ITEM[how.precision]
    trained, copied = _trained(model, how)
    moments = 12 * trained  # gradients and AdamW's two
    if how.method == "full":
        weights, copies = 4 * trained, 0 if item == 4 else item * trained
    elif how.method == "qlora":
        held = sum(outputs * inputs for _, outputs, inputs in model.linears)
        weights, copies = int(0.52 * held) + 4 * (model.parameters - held + trained), 0
    else:
        weights, copies = item * model.parameters + 4 * trained, 0
    shared = how.ranks if how.zero else 1
    if how.zero:
        moments = 4 * trained + 8 * trained // shared if how.zero == 1 else moments // shared
    if how.zero == 3:
        weights //= shared
        copies //= max(1, model.layers)
    moved = 0
    if how.offload:
        moved, moments = moments, 0
        if how.zero == 3:
            moved, weights = moved + weights, 0
    dropped = copied if how.method != "full" and how.dropout else 0
    passing = item * how.tokens * activations(model, how.checkpointing, dropped) + 12 * how.tokens * model.vocabulary
    work = weights + copies + moments + passing
    disk = _disk(model, how, trained)
    if how.cuda:
        # One process reads the weights into RAM and hands them on, tensor by tensor.
        ram = how.local * (LIBRARIES + moved) + max(1_500_000_000, model.file_bytes // 4)
        return Needs(ram=ram, vram=work + CONTEXT, disk=disk, disk_at=out)
    return Needs(ram=how.local * (LIBRARIES + work + int(KEPT * passing) + moved), disk=disk, disk_at=out)


def activations(model: Shape, checkpointing: bool, dropped: int) -> int:
    """Numbers kept a token for the backward pass."""
    all_layers = model.traffic + dropped
    if not checkpointing:
        return all_layers
    return model.layers * model.hidden + all_layers // max(1, model.layers)


def _trained(model: Shape, how: Training) -> tuple[int, int]:
    return (model.parameters, 0) if how.method == "full" else model.adapter(how.rank, how.targets)


def _disk(model: Shape, how: Training, trained: int) -> int:
    """A checkpoint holds the trained weights and two moments in fp32; one more than `keep` stands while saving."""
    return (how.keep + 1) * 12 * trained + 4 * trained + 50_000_000


def fitting_tokens(model: Shape, how: Training, free: int, longest: int, most: int) -> int:
    """The largest pass that fits `free` bytes: `longest` tokens doubled, up to `most`; `longest` if none fits."""
    best = longest
    tokens = longest
    while tokens <= max(most, longest):
        made = replace(how, tokens=tokens)
        if peak(needs(model, made), made) > free:
            break
        best, tokens = tokens, 2 * tokens
    return best


def peak(needed: Needs, how: Training) -> int:
    """Bytes where the computing happens."""
    return (needed.vram if how.cuda else needed.ram) or 0


def seconds(model: Shape, how: Training, tokens: float, cores: int) -> float:
    """Of training on so many tokens in all."""
    passes = 3.0 if how.method == "full" else 2.0
    flops = 2.0 * model.parameters * tokens * (passes + (1.0 if how.checkpointing else 0.0))
    if how.cuda:
        return START + flops / (SPEED["gpu"] * how.ranks)
    machines = max(1, how.ranks // max(1, how.local))
    return START + flops / (SPEED["cpu bf16" if how.precision == "bf16" else "cpu fp32"] * cores * machines)


def network_seconds(model: Shape, how: Training, steps: float, passes: int, gbits: float) -> float:
    """What all machines together send through one machine's network card, if nothing of it hid behind computing.

    A ring passes every byte once to reduce and once to gather: 2 b P a step; ZeRO-2 reduces after each pass, ZeRO-3
    also gathers the weights for each pass forward and back: 3 b P a pass.
    """
    machines = how.ranks // max(1, how.local)
    if machines < 2:
        return 0.0
    sent = {3: 3.0 * passes, 2: passes + 1.0}.get(how.zero, 2.0) * ITEM[how.precision] * model.parameters
    return steps * sent * (machines - 1) / machines / (gbits * 1e9 / 8)
