"""A fine-tuning with nothing left open: base read, machines counted, passes sized. Starts and writes nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.launchers import deepspeed, earlier, gpu, memory, preflight, settle
from core.launchers.hosts import Node
from core.launchers.memory import Shape, Training
from core.launchers.plan import Place, Plan, choose, plan
from core.operation import Needs

if TYPE_CHECKING:
    from core.launchers.finetune import FinetuneRequest

MODULE = "train.finetune"


@dataclass(frozen=True)
class Prepared:
    """A request with nothing left open, and what it was resolved by."""

    request: FinetuneRequest
    place: Place
    model: Shape
    how: Training
    cores: int

    def commands(self) -> Plan:
        request = self.request
        return plan(
            request, MODULE, self.place, out=request.out, precision=request.precision, clip=request.max_grad_norm
        )

    def needs(self) -> Needs:
        tokens = settle.data_tokens(self.request.data, self.request.epochs)
        made = memory.needs(self.model, self.how, self.request.out)
        return settle.with_time(made, self.model, self.how, tokens, self.cores)


def prepared(request: FinetuneRequest, nodes: tuple[Node, ...] | None = None) -> Prepared:
    """Reads headers and what this machine has; writes and starts nothing. Raises UserError: what can't be trained."""
    base = settle.base_folder(request.base)
    request = request.model_copy(
        update={
            "base": str(base),
            "out": request.out.expanduser().absolute(),
            "data": tuple(path.expanduser().absolute() for path in request.data),
            "validation": tuple(path.expanduser().absolute() for path in request.validation),
            "schema_file": request.schema_file and request.schema_file.expanduser().absolute(),
            "adapter": request.adapter and request.adapter.expanduser().absolute(),
            "hosts": request.hosts and request.hosts.expanduser().absolute(),
        }
    )
    request = earlier.kept(request)
    found = settle.here()
    if not (request.dry_run and request.hosts):  # then the machines are others
        gpu.refuse_unusable(request.devices, processes=request.processes, qlora=request.method == "qlora")
    machines = nodes or settle.nodes(request, found)
    model = memory.shape(base)
    settle.refuse_too_long(model, request)
    cuda = found.gpus > 0
    local = machines[0].slots or 1
    how = settle.sized(
        model,
        Training(
            method=request.method,
            precision=settle.precision(request.precision, found, cuda),
            tokens=0,
            checkpointing=False,
            rank=request.rank,
            targets=request.target_modules,
            dropout=request.dropout,
            zero=request.zero,
            offload=request.offload,
            ranks=sum(node.slots or local for node in machines),
            local=local,
            cuda=cuda,
            keep=request.keep,
        ),
        request.max_length,
        request.micro_batch_tokens,
        request.gradient_checkpointing,
        found.vram_free if cuda else found.ram_free,
    )
    place = Place(machines, cuda, sys.executable)
    request = request.model_copy(
        update={
            "precision": how.precision,
            "micro_batch_tokens": how.tokens,
            "gradient_checkpointing": "on" if how.checkpointing else "off",
            "processes": local,
            "launcher": choose(request, place),
            "dry_run": False,
        }
    )
    return Prepared(request, place, model, how, found.cores)


def ready(request: FinetuneRequest) -> Prepared:
    """Prepared, with the other machines asked and a port found. Raises UserError: what is missing anywhere."""
    made = prepared(request)
    if made.request.launcher == "deepspeed" or made.request.zero:
        deepspeed.refuse_if_missing()
    if request.hosts is None:
        port = preflight.free_port(request.port)
        return replace(made, request=made.request.model_copy(update={"port": port}))
    settled = made.request
    others = [path for path in (settled.adapter, settled.schema_file) if path]
    needed = [Path(settled.base), *settled.data, *settled.validation, *others]
    nodes = preflight.check(made.place.nodes, needed, request.port)
    return prepared(request, nodes)
