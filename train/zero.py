"""DeepSpeed's parts of a training: on processors without anything compiled, and checkpoints that other numbers of
ranks can go on from."""

from __future__ import annotations

import platform
import re
import shutil
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from core.errors import UserError

_SHARD = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_\d+_optim_states\.pt")
_STAGE_3 = "zero_pp_rank_*_mp_rank_*_model_states.pt"
RANKS = "ranks.txt"
UNIVERSAL = "latest_universal"
"""DeepSpeed's file that names the converted part; it is written last."""


def without_compiled_parts() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives when it starts on processors.

    It waits there for a lock that a killed process leaves behind, for ever, and its ranks wait spinning for one that
    was killed. gloo does the same work.
    """
    import deepspeed.ops

    # it asks this table, and fills it at the first look by trying compilers out
    setattr(deepspeed.ops, "__compatible_ops__", {})  # noqa: B010  # mypy knows no such name


def shards(checkpoint: Path) -> list[Path]:
    """The files of the ranks' parts of the optimiser."""
    found = [file for file in checkpoint.glob("global_step*/*_optim_states.pt") if _SHARD.fullmatch(file.name)]
    return [file for file in found if not file.parent.name.endswith("_universal")]


def ranks_of(checkpoint: Path) -> int:
    """How many ranks wrote a checkpoint; 0 for one without ZeRO. They say so, since not all may have written here."""
    told = checkpoint / RANKS
    if told.is_file() and stage_of(checkpoint):
        return int(told.read_text(encoding="utf-8"))
    return max((int(_SHARD.fullmatch(file.name)[1]) + 1 for file in shards(checkpoint)), default=0)  # type: ignore[index]


def stage_of(checkpoint: Path) -> int:
    """3, 2 (or 1, which writes the same) or 0."""
    if not shards(checkpoint):
        return 0
    return 3 if any(checkpoint.glob(f"global_step*/{_STAGE_3}")) else 2


def fits(checkpoint: Path, *, stage: int, ranks: int) -> bool:
    """Whether it can be loaded as it is. Raises UserError where no conversion helps either."""
    wrote = stage_of(checkpoint)
    if (wrote == 3) != (stage == 3) or bool(wrote) != bool(stage):
        raise UserError(
            "{name} was written with ZeRO {wrote}; it can't be gone on with ZeRO {asked}.",
            remedy="Go on with --zero {wrote}; or begin a new training with its weights as the base.",
            name=checkpoint.name,
            wrote=wrote,
            asked=stage,
        )
    return not wrote or ranks_of(checkpoint) == ranks


def sign(checkpoint: Path, ranks: int) -> None:
    """By each machine that keeps it: how many ranks it is of, and which part is DeepSpeed's (which tells only the
    first rank's disk)."""
    (checkpoint / RANKS).write_text(str(ranks), encoding="utf-8")
    latest = checkpoint / "latest"
    for folder in checkpoint.glob("global_step*"):
        if not latest.exists():
            latest.write_text(folder.name, encoding="utf-8")


def refuse_without_part(checkpoint: Path, rank: int) -> None:
    """Raises UserError where a machine's own disk lacks what its ranks wrote: the machines came in another order."""
    if not any(int(_SHARD.fullmatch(file.name)[1]) == rank for file in shards(checkpoint)):  # type: ignore[index]
        raise UserError(
            "{folder} on {host} lacks the part of rank {rank}.",
            remedy="Start the machines in the order they had, or copy the parts of all of them to each.",
            folder=checkpoint,
            host=platform.node(),
            rank=rank,
        )


def make_universal(checkpoint: Path) -> None:
    """Write the checkpoint once more, in DeepSpeed's form for any number of ranks. Done already: nothing happens."""
    if (checkpoint / UNIVERSAL).is_file():
        return
    found, ranks = shards(checkpoint), ranks_of(checkpoint)
    if len(found) < ranks:
        raise UserError(
            "{folder} holds the parts of {found} ranks of {ranks}; for another number of ranks all are needed.",
            remedy="Copy the folder’s files of all machines together on each of them, then go on.",
            folder=found[0].parent,
            found=len(found),
            ranks=ranks,
        )
    from deepspeed.checkpoint import ds_to_universal

    from train.checkpoints import room_for

    source = found[0].parent
    target = checkpoint / f"{source.name}_universal"
    shutil.rmtree(target, ignore_errors=True)  # of a conversion that was cut short
    with room_for("The converted checkpoint", checkpoint):
        ds_to_universal.main(
            Namespace(
                input_folder=str(source),
                output_folder=str(target),
                num_extract_workers=1,
                num_merge_workers=1,
                keep_temp_folder=False,
                strict=True,
                inject_missing_state=True,  # of what Megatron would tell; stages 1 and 2 ask for it
            )
        )


def give_each_its_step(engine: Any) -> None:
    """A converted checkpoint of ZeRO-3 gives all parts of the optimiser one and the same count of steps, which then
    grows by one for each of them, and so spoils AdamW's corrections. (Their settings all come from the first part,
    too: the trainer puts those right.)"""
    import torch

    for state in engine.optimizer.optimizer.state.values():
        if torch.is_tensor(state.get("step")):
            state["step"] = state["step"].clone()


def wait_until_universal(checkpoint: Path) -> None:
    """For the ranks that don't convert: a collective would give up after half an hour."""
    while not (checkpoint / UNIVERSAL).is_file():
        time.sleep(0.2)
