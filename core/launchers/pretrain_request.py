"""What a pretraining is asked: which corpora in which mix, from which weights, and on which machines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.launchers.request import Learning, Machines
from core.operation import Request
from core.weights.plan import SHARD_GB, ShardGB

End = Literal["stop", "refill", "reweight"]
_PAIR = re.compile(r"(.+)=([^=]+)")
_MEETING = re.compile(r"[A-Za-z0-9._-]+:[0-9]{2,5}")


class Corpora(Request):
    """What is read, and what reads it."""

    base: str = Field(
        description="Model to go on with; with new weights, the model whose shape and tokenizer are taken",
        json_schema_extra={"picker": "model"},
    )
    corpus: tuple[Path, ...] = Field(
        min_length=1,
        description="Folders of token stores, as `corpus build` writes them",
        json_schema_extra={"picker": "folder"},
    )
    new_weights: bool = Field(default=False, description="Begin with new random weights instead of the model's own")
    shape: tuple[str, ...] = Field(
        default=(),
        description="With new weights, settings of config.json that are to be others, as “num_hidden_layers=8”",
        json_schema_extra={"advanced": True},
    )
    weights: tuple[str, ...] = Field(
        default=(),
        description="Shares of the sources in every batch, as “wiki=3”; by their sizes if none is given",
    )
    end: End = Field(
        default="stop",
        description="At a source’s end: stop the epoch there, refill it in a new order, or reweight the others",
        json_schema_extra={"advanced": True},
    )
    validation: tuple[Path, ...] = Field(
        default=(),
        description="Folders of token stores for validation; rows of the corpora are kept for it if none is given",
        json_schema_extra={"picker": "folder", "advanced": True},
    )
    validation_rows: int = Field(
        default=64,
        ge=0,
        le=1_000_000,
        description="Rows of each source for validation: at most so many, and at most a tenth of it",
        json_schema_extra={"advanced": True, "unit": "rows"},
    )


class Steps(Learning):
    """An optimiser step, and what is shown and kept along the way."""

    epochs: float = Field(default=1.0, gt=0, le=1000, description="Times that the corpora are read")
    batch: int = Field(
        default=512,
        ge=1,
        le=10_000_000,
        description="Rows that an optimiser step learns from, over all machines",
        json_schema_extra={"unit": "rows"},
    )
    micro_batch: int = Field(
        default=0,
        ge=0,
        le=65_536,
        description="Rows that one pass through the model takes; 0 chooses by the memory found",
        json_schema_extra={"unit": "rows", "advanced": True},
    )
    beta1: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="How slowly AdamW's mean of the gradients changes",
        json_schema_extra={"advanced": True},
    )
    beta2: float = Field(
        default=0.95,
        ge=0,
        lt=1,
        description="How slowly AdamW's mean of the squared gradients changes",
        json_schema_extra={"advanced": True},
    )
    weight_decay: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Decay of the weights a step, as AdamW has it",
        json_schema_extra={"advanced": True},
    )
    keep_every: int = Field(
        default=0,
        ge=0,
        description="Checkpoints of every so many steps are kept for good; 0 keeps the newest only",
        json_schema_extra={"advanced": True, "unit": "steps"},
    )
    sample_every: int = Field(
        default=200,
        ge=0,
        description="Steps between texts that the model is let write; 0 lets it write none",
        json_schema_extra={"advanced": True, "unit": "steps"},
    )
    sample_prompts: tuple[str, ...] = Field(
        default=(),
        max_length=16,
        description="Beginnings that it goes on from; beginnings of validation rows if none is given",
        json_schema_extra={"advanced": True},
    )
    sample_tokens: int = Field(
        default=48,
        ge=1,
        le=1024,
        description="How much it writes each time",
        json_schema_extra={"advanced": True, "unit": "tokens"},
    )
    delta: bool = Field(
        default=False,
        description="Also write the finished model as its difference to the base, into a folder beside it",
        json_schema_extra={"advanced": True},
    )
    shard_gb: ShardGB = SHARD_GB


class Cluster(Machines):
    """Machines without a shared disk, or started one by one."""

    every_node: bool = Field(
        default=False,
        description="Every machine keeps its checkpoints on its own disk: for machines that share none",
        json_schema_extra={"advanced": True},
    )
    rendezvous: str = Field(
        default="",
        description="Instead of a hostfile: HOST:PORT where machines meet, each starting this same command by itself",
        json_schema_extra={"advanced": True},
    )
    machines: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="How many machines meet at the rendezvous",
        json_schema_extra={"advanced": True},
    )
    network: float = Field(
        default=10.0,
        gt=0,
        le=10_000,
        description="Speed of the network between the machines, for the time that is estimated",
        json_schema_extra={"advanced": True, "unit": "Gbit/s"},
    )


class PretrainRequest(Cluster, Steps, Corpora):
    """Pretrain a model on a corpus of tokens: new weights, or going on with a model's own."""

    @model_validator(mode="after")
    def _fits_together(self) -> PretrainRequest:
        for pair in (*self.shape, *self.weights):
            if not _PAIR.fullmatch(pair):
                raise ValueError(f"“{pair}” is not NAME=VALUE")
        for name, share in pairs(self.weights).items():
            if not share.replace(".", "", 1).isdigit() or not float(share):
                raise ValueError(f"the share of “{name}” is no number above 0")
        if self.shape and not self.new_weights:
            raise ValueError("another shape needs new weights")
        if self.delta and self.new_weights:
            raise ValueError("new weights have no base that they could be told as a difference to")
        if self.offload and not self.zero:
            raise ValueError("offload needs zero 1, 2 or 3")
        if self.launcher == "python" and self.processes > 1:
            raise ValueError("launcher python starts one process; choose torchrun, accelerate or deepspeed")
        if self.micro_batch > self.batch:
            raise ValueError("a pass can't take more rows than a step")
        self._meets()
        return self

    def _meets(self) -> None:
        if not self.rendezvous:
            if self.machines > 1:
                raise ValueError("several machines need a rendezvous, or a hostfile instead")
            return
        if not _MEETING.fullmatch(self.rendezvous):
            raise ValueError(f"“{self.rendezvous}” is not HOST:PORT")
        if self.hosts is not None:
            raise ValueError("give a hostfile or a rendezvous, not both")
        if self.launcher not in ("auto", "torchrun"):
            raise ValueError("only torchrun meets at a rendezvous")


def pairs(told: tuple[str, ...]) -> dict[str, str]:
    """{name: value} of NAME=VALUE."""
    return {name.strip(): value.strip() for name, _, value in (pair.rpartition("=") for pair in told)}
