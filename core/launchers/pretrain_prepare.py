"""A pretraining with nothing left open: model and corpora looked at, machines counted, passes sized. Starts nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import UserError
from core.launchers import corpora, deepspeed, earlier, gpu, memory, preflight, settle, shapes
from core.launchers.corpora import Corpora
from core.launchers.hosts import Node
from core.launchers.memory import Shape, Training
from core.launchers.plan import Place, Plan, choose, plan
from core.launchers.pretrain_request import PretrainRequest, pairs
from core.operation import Needs

MODULE = "train.pretrain"
MOST_ROWS = {"cuda": 64, "cpu": 8}
"""A pass of more is no faster."""
INITIAL = "initial"
"""The folder of the new weights, in that of the training."""


@dataclass(frozen=True)
class Prepared:
    """A request with nothing left open, and what it was resolved by."""

    request: PretrainRequest
    place: Place
    model: Shape
    how: Training
    data: Corpora
    cores: int

    @property
    def passes(self) -> int:
        """A step and process."""
        return -(-self.request.batch // (self.request.micro_batch * self.how.ranks))

    @property
    def steps(self) -> int:
        rows = self.request.epochs * self.data.all_rows
        return self.request.max_steps or max(1, round(rows / self.request.batch))

    @property
    def tokens(self) -> float:
        """That are trained on in all."""
        a_row = sum(self.data.tokens.values()) / max(1, self.data.all_rows)
        return float(self.steps) * self.request.batch * a_row

    def commands(self) -> Plan:
        request = self.request
        meeting = (request.rendezvous, request.machines) if request.rendezvous else None
        return plan(
            request,
            MODULE,
            self.place,
            out=request.out,
            precision=request.precision,
            clip=request.max_grad_norm,
            meeting=meeting,
        )

    def needs(self) -> Needs:
        made = memory.needs(self.model, self.how, self.request.out)
        more = 4 * self.model.parameters * (self.request.new_weights + self.request.delta)
        seconds = memory.seconds(self.model, self.how, self.tokens, self.cores)
        sending = memory.network_seconds(self.model, self.how, self.steps, self.passes, self.request.network)
        # what is sent mostly hides behind what is computed, until there is more of it
        return replace(made, disk=(made.disk or 0) + more, seconds=max(seconds, sending))


def prepared(request: PretrainRequest, nodes: tuple[Node, ...] | None = None) -> Prepared:
    """Reads headers and what this machine has; writes and starts nothing. Raises UserError: what can't be trained."""
    base = base_folder(request)
    request = request.model_copy(
        update={
            "base": str(base),
            "out": request.out.expanduser().absolute(),
            "corpus": _absolute(request.corpus),
            "validation": _absolute(request.validation),
            "hosts": request.hosts and request.hosts.expanduser().absolute(),
        }
    )
    request = earlier.kept(request)
    found = settle.here()
    if not (request.dry_run and request.hosts):  # then the machines are others
        gpu.refuse_unusable(request.devices, processes=request.processes)
    machines = nodes or settle.nodes(request, found)
    data = corpora.looked_at((*request.corpus, *request.validation))
    if request.validation:
        data = corpora.looked_at(request.corpus)
    model = model_of(request, base, data)
    refuse_unfit(request, model, data)
    cuda = found.gpus > 0
    local = machines[0].slots or 1
    ranks = sum(node.slots or local for node in machines) * request.machines
    how = Training(
        method="full",
        precision=settle.precision(request.precision, found, cuda),
        tokens=0,
        checkpointing=False,
        rank=0,
        targets=(),
        dropout=0.0,
        zero=request.zero,
        offload=request.offload,
        ranks=ranks,
        local=local,
        cuda=cuda,
        keep=request.keep,
    )
    most = -(-request.batch // ranks)
    rows, how = sized(model, how, request, data.length, most, found.vram_free if cuda else found.ram_free)
    place = Place(machines, cuda, sys.executable)
    launcher = "torchrun" if request.rendezvous else choose(request, place)
    request = request.model_copy(
        update={
            "precision": how.precision,
            "micro_batch": rows,
            "gradient_checkpointing": "on" if how.checkpointing else "off",
            "processes": local,
            "launcher": launcher,
            "dry_run": False,
        }
    )
    return Prepared(request, place, model, how, data, found.cores)


def sized(
    model: Shape, how: Training, request: PretrainRequest, length: int, most: int, free: int
) -> tuple[int, Training]:
    """(rows a pass, `how` with its tokens and checkpointing): as many rows as fit, unless their number was asked."""
    if request.micro_batch:
        tokens = request.micro_batch * length
        made = settle.sized(model, how, tokens, tokens, request.gradient_checkpointing, free)
        return request.micro_batch, made
    most = max(1, min(most, MOST_ROWS["cuda" if how.cuda else "cpu"]))
    made = settle.sized(model, how, length, 0, request.gradient_checkpointing, free)
    rows = max(1, min(most, made.tokens // length))
    return rows, replace(made, tokens=rows * length)


def base_folder(request: PretrainRequest) -> Path:
    """New weights need only a config.json and a tokenizer."""
    place = Path(request.base).expanduser()
    if request.new_weights and (place / "config.json").is_file():
        return place.absolute()
    return settle.base_folder(request.base)


def model_of(request: PretrainRequest, base: Path, data: Corpora) -> Shape:
    if not request.new_weights:
        return memory.shape(base)
    config = shapes.changed(shapes.config_of(base), pairs(request.shape))
    return shapes.shape_of(config, data.vocabulary)


def refuse_unfit(request: PretrainRequest, model: Shape, data: Corpora) -> None:
    if model.context and data.length > model.context:
        raise UserError(
            "The corpus has rows of {length} tokens, more than this model's context of {context}.",
            remedy="Build the corpus with a length of at most {context}, or choose another model.",
            length=data.length,
            context=model.context,
        )
    if not request.new_weights and data.vocabulary > model.vocabulary:
        raise UserError(
            "The corpus was made with a vocabulary of {size} tokens, more than the model's {own}.",
            remedy="Build it again with this model's tokenizer, or begin with new weights.",
            size=data.vocabulary,
            own=model.vocabulary,
        )
    unknown = [name for name in pairs(request.weights) if name not in data.rows]
    if unknown:
        raise UserError(
            "The corpus has no source “{name}”.",
            remedy="Its sources are: {known}.",
            name=unknown[0],
            known=", ".join(data.rows),
        )


def ready(request: PretrainRequest) -> Prepared:
    """Prepared, with the other machines asked and a port found. Raises UserError: what is missing anywhere."""
    made = prepared(request)
    if made.request.launcher == "deepspeed" or made.request.zero:
        deepspeed.refuse_if_missing()
    if request.hosts is None:
        port = preflight.free_port(request.port)
        return replace(made, request=made.request.model_copy(update={"port": port}))
    settled = made.request
    nodes = preflight.check(made.place.nodes, [Path(settled.base), *settled.corpus, *settled.validation], request.port)
    return prepared(request, nodes)


def _absolute(folders: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(folder.expanduser().absolute() for folder in folders)
