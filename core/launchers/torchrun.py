"""torchrun: one command a machine, each naming the first machine as the place to meet, or all the same rendezvous."""

from __future__ import annotations

from collections.abc import Sequence

from core.launchers.hosts import Node


def command(
    nodes: Sequence[Node], rank: int, main: str, port: int, module: str, child: Sequence[str]
) -> tuple[str, ...]:
    """What the machine of that rank gives to python. The rendezvous is static: ranks follow the machines' order."""
    return (
        "-m", "torch.distributed.run",
        f"--nnodes={len(nodes)}",
        f"--nproc-per-node={nodes[rank].slots}",
        f"--node-rank={rank}",
        f"--master-addr={main}",
        f"--master-port={port}",
        "--max-restarts=0",
        "--module", module, *child,
    )  # fmt: skip


def meeting(machines: int, slots: int, place: str, name: str, module: str, child: Sequence[str]) -> tuple[str, ...]:
    """The same command for every machine: whoever comes to `place` (HOST:PORT) first keeps the list of them all."""
    return (
        "-m", "torch.distributed.run",
        f"--nnodes={machines}",
        f"--nproc-per-node={slots}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={place}",
        f"--rdzv-id={name}",
        "--max-restarts=0",
        "--module", module, *child,
    )  # fmt: skip
