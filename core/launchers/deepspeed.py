"""DeepSpeed: its launcher's command for a machine, its hostfile, and the ZeRO configuration of a training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

from core import paths
from core.errors import UserError
from core.launchers.hosts import Node

HOSTFILE = "hostfile"
CONFIGS = paths.PROJECT / "train" / "configs"


def config_text(zero: int, offload: bool, precision: str, clip: float) -> str:
    """deepspeed.json: a file of train/configs with what the request decides; "auto" is filled in by transformers."""
    if zero < 3:
        made: dict[str, Any] = _read(f"zero{zero}.json")
        if offload:
            made["zero_optimization"]["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    else:
        made = _read("zero3_offload.json" if offload else "zero3.json")
    made["bf16"] = {"enabled": precision == "bf16"}
    made["fp16"] = {"enabled": precision == "fp16"}
    made["gradient_clipping"] = clip
    return json.dumps(made, indent=2) + "\n"


def _read(name: str) -> dict[str, Any]:
    return json.loads((CONFIGS / name).read_text(encoding="utf-8"))


def hostfile_text(nodes: Sequence[Node], devices: Sequence[int]) -> str:
    """DeepSpeed counts GPUs from 0, so a machine of which some are used has as many slots as the last one asks."""
    name = "localhost" if len(nodes) == 1 else ""
    return "".join(f"{name or node.name} slots={max([(node.slots or 1) - 1, *devices]) + 1}\n" for node in nodes)


def command(
    hostfile: Path,
    nodes: Sequence[Node],
    rank: int,
    main: str,
    port: int,
    module: str,
    child: Sequence[str],
    *,
    devices: Sequence[int] = (),
) -> tuple[str, ...]:
    """--no_ssh: each machine is started by us, as with the other launchers, so none needs pdsh."""
    chosen = ("--include", "localhost:" + ",".join(map(str, devices))) if devices else ()
    return (
        "-m", "deepspeed.launcher.runner",
        "--hostfile", str(hostfile),
        *chosen,
        "--no_ssh",
        "--node_rank", str(rank),
        "--master_addr", main,
        "--master_port", str(port),
        "--no_local_rank",
        "--module", module, *child,
    )  # fmt: skip


def refuse_if_missing() -> None:
    if util.find_spec("deepspeed") is None:
        raise UserError(
            "DeepSpeed is not installed.",
            remedy="Install it with `pip install -r requirements-train.txt`, or train without ZeRO and with torchrun.",
        )
