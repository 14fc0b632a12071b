"""accelerate launch: the same on every machine but for the machine's rank, from a settings file of our own.

Without that file the person's default one (`accelerate config`) would have a say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from core.launchers.hosts import Node

FILE = "accelerate.yaml"


def config_text(nodes: Sequence[Node], main: str, port: int, *, cuda: bool) -> str:
    """Precision and ZeRO are the training's own matter (its request.json), so they stand at none here."""
    slots = {node.slots or 1 for node in nodes}
    if len(slots) > 1:
        raise UserError(
            "accelerate wants the same number of processes on every machine; the hostfile names {numbers}.",
            remedy="Give each machine the same slots, or choose the launcher torchrun or deepspeed.",
            numbers=", ".join(str(node.slots) for node in nodes),
        )
    processes = len(nodes) * slots.pop()
    # MULTI_GPU is accelerate's word for "through torchrun"; on processors too, where MULTI_CPU would ask for MPI.
    return "\n".join(
        (
            "compute_environment: LOCAL_MACHINE",
            f"distributed_type: {'MULTI_GPU' if processes > 1 else 'NO'}",
            "mixed_precision: 'no'",
            "debug: false",
            f"num_machines: {len(nodes)}",
            f"num_processes: {processes}",
            f"main_process_ip: {main}",
            f"main_process_port: {port}",
            "same_network: true",
            "rdzv_backend: static",
            f"use_cpu: {'false' if cuda else 'true'}",
            "",
        )
    )


def command(settings: Path, rank: int, module: str, child: Sequence[str]) -> tuple[str, ...]:
    return (
        "-m", "accelerate.commands.launch",
        "--config_file", str(settings),
        "--machine_rank", str(rank),
        "--module", module, *child,
    )  # fmt: skip
