"""From a training's settings and its machines to the command and the files of every machine. Pure: nothing starts here.

Each machine runs one command: python itself for a single process, else torchrun, accelerate or DeepSpeed, which start
that machine's processes. Machines find each other at the first one's address. Every path is the same on all machines.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core import paths
from core.errors import UserError
from core.launchers import accelerate, contract, deepspeed, torchrun
from core.launchers.hosts import Node
from core.launchers.request import Machines

LOOPBACK = "127.0.0.1"
Chosen = Literal["python", "torchrun", "accelerate", "deepspeed"]


@dataclass(frozen=True)
class Place:
    """Where a training runs. `python` and `project` are the same paths on every node."""

    nodes: tuple[Node, ...]
    cuda: bool
    """Whether the processes compute on GPUs."""
    python: str
    project: Path = paths.PROJECT


@dataclass(frozen=True)
class Start:
    """What one node runs, in `cwd`, with `env` added to its environment."""

    node: Node
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path

    def line(self) -> str:
        """As it would be typed there."""
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.env.items())
        return f"cd {shlex.quote(str(self.cwd))} && {given} {shlex.join(self.argv)}"


@dataclass(frozen=True)
class Plan:
    launcher: Chosen
    starts: tuple[Start, ...]
    files: Mapping[Path, str]
    """{path: text}, to be written on every node before anything starts."""

    @property
    def processes(self) -> int:
        return sum(start.node.slots or 1 for start in self.starts)

    def lines(self) -> list[str]:
        """All of it for a person: commands, then files, node by node."""
        made: list[str] = []
        for number, start in enumerate(self.starts):
            made += [f"# machine {number + 1} of {len(self.starts)}: {start.node.name}", start.line()]
        where = "on this machine" if len(self.starts) == 1 else "on every machine"
        for file, text in self.files.items():
            made += ["", f"# file {where}: {file}", text.rstrip("\n")]
        return made


def plan(
    request: Machines,
    module: str,
    place: Place,
    *,
    out: Path,
    precision: str,
    clip: float = 1.0,
    meeting: tuple[str, int] | None = None,
) -> Plan:
    """How `python -m module --request OUT/request.json` is started by `request`'s launcher on all nodes.

    `clip`: gradients longer than this are shortened. `meeting`: (HOST:PORT, how many machines) where each machine
    starts its own command, which is the same everywhere. Raises UserError where the launcher can't do it.
    """
    nodes = tuple(replace(node, slots=node.slots or 1) for node in place.nodes)
    place = replace(place, nodes=nodes)
    chosen = choose(request, place)
    files = {out / contract.REQUEST: request.model_dump_json(indent=2) + "\n"}
    if request.zero:
        files[out / contract.DEEPSPEED] = deepspeed.config_text(request.zero, request.offload, precision, clip)
    main = LOOPBACK if len(nodes) == 1 else nodes[0].address
    child: tuple[str, ...] = ("--request", str(out / contract.REQUEST))
    if request.zero:
        child = (*child, "--deepspeed-config", str(out / contract.DEEPSPEED))
    commands: list[tuple[str, ...]]
    if meeting:
        slots = nodes[0].slots or 1
        commands = [torchrun.meeting(meeting[1], slots, meeting[0], out.name, module, child)]
    elif chosen == "python":
        commands = [("-m", module, *child)]
    elif chosen == "torchrun":
        commands = [torchrun.command(nodes, rank, main, request.port, module, child) for rank in range(len(nodes))]
    elif chosen == "accelerate":
        settings = out / accelerate.FILE
        files[settings] = accelerate.config_text(nodes, main, request.port, cuda=place.cuda)
        commands = [accelerate.command(settings, rank, module, child) for rank in range(len(nodes))]
    else:
        hostfile = out / deepspeed.HOSTFILE
        files[hostfile] = deepspeed.hostfile_text(nodes, request.devices)
        commands = [
            deepspeed.command(hostfile, nodes, rank, main, request.port, module, child, devices=request.devices)
            for rank in range(len(nodes))
        ]
    starts = [
        Start(node, (place.python, *words), _environment(request, place, node, chosen), place.project)
        for node, words in zip(nodes, commands, strict=True)
    ]
    return Plan(chosen, tuple(starts), files)


def choose(request: Machines, place: Place) -> Chosen:
    """The launcher, `auto` resolved: the simplest that can."""
    several = len(place.nodes) > 1 or (place.nodes[0].slots or 1) > 1
    if request.launcher == "auto":
        if request.zero:
            return "deepspeed"
        return "torchrun" if several else "python"
    if request.launcher == "python" and (several or request.zero):
        raise UserError(
            "The launcher “python” starts a single process without ZeRO.",
            remedy="Choose torchrun, accelerate or deepspeed, or leave it at auto.",
        )
    return request.launcher


def _environment(request: Machines, place: Place, node: Node, chosen: Chosen) -> dict[str, str]:
    made = {
        "PYTHONPATH": str(place.project),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if node.cores:  # a process that takes all cores beside another one makes both crawl
        made["OMP_NUM_THREADS"] = str(max(1, node.cores // (node.slots or 1)))
    if not place.cuda:
        made["CUDA_VISIBLE_DEVICES"] = ""
        if request.zero or chosen == "deepspeed":
            made["DS_ACCELERATOR"] = "cpu"
    elif request.devices and chosen != "deepspeed":  # DeepSpeed sets it itself, from --include
        made["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, request.devices))
    return made
