"""The settings that every training shares: how it learns, what it keeps, and on which machines it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, field_validator

from core.operation import Request

Precision = Literal["auto", "bf16", "fp16", "fp32"]
Schedule = Literal["cosine", "linear", "constant"]
Launcher = Literal["auto", "python", "torchrun", "accelerate", "deepspeed"]
AutoSwitch = Literal["auto", "on", "off"]
DEFAULT_PORT = 29500


class Learning(Request):
    """Steps, rates and checkpoints."""

    out: Path = Field(
        description="Folder for the result, its checkpoints and its metrics", json_schema_extra={"picker": "folder"}
    )
    epochs: float = Field(default=3.0, gt=0, le=1000, description="Times that all the data are seen")
    max_steps: int = Field(
        default=0,
        ge=0,
        description="Stop after this many optimiser steps; 0 leaves it to the epochs",
        json_schema_extra={"unit": "steps"},
    )
    batch: int = Field(
        default=128,
        ge=1,
        le=1_000_000,
        description="Samples that an optimiser step learns from, over all machines",
        json_schema_extra={"unit": "samples"},
    )
    learning_rate: float = Field(default=3e-4, gt=0, le=1, description="Learning rate at its peak")
    resume: str = Field(
        default="",
        description="Go on from a checkpoint of the same folder: its name, or “last”; empty starts anew",
        json_schema_extra={"bare": "last"},
    )
    schedule: Schedule = Field(
        default="cosine",
        description="How the learning rate falls after the warm-up",
        json_schema_extra={"advanced": True},
    )
    warmup: float = Field(
        default=0.03,
        ge=0,
        description="Steps in which the learning rate rises: a share of all below 1, a number of steps from 1 on",
        json_schema_extra={"advanced": True},
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Decay of the weights a step, as AdamW has it",
        json_schema_extra={"advanced": True},
    )
    max_grad_norm: float = Field(
        default=1.0,
        ge=0,
        description="Gradients longer than this are shortened; 0 leaves them",
        json_schema_extra={"advanced": True},
    )
    precision: Precision = Field(
        default="auto",
        description="Number format of the computation; auto takes what the processor is fast in",
        json_schema_extra={"advanced": True},
    )
    gradient_checkpointing: AutoSwitch = Field(
        default="auto",
        description="Compute activations twice instead of keeping them: less memory, about a third more time",
        json_schema_extra={"advanced": True},
    )
    compile: AutoSwitch = Field(
        default="auto",
        description="Compile the layers first: half a minute that longer trainings win back; needs a C++ compiler",
        json_schema_extra={"advanced": True},
    )
    seed: int = Field(
        default=42,
        ge=0,
        le=2**31 - 1,
        description="Seed of the order, of dropout and of new weights",
        json_schema_extra={"advanced": True},
    )
    save_every: int = Field(
        default=100,
        ge=1,
        description="Steps between checkpoints",
        json_schema_extra={"advanced": True, "unit": "steps"},
    )
    eval_every: int = Field(
        default=100,
        ge=0,
        description="Steps between measurements on the validation part; 0 measures at the end only",
        json_schema_extra={"advanced": True, "unit": "steps"},
    )
    keep: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Checkpoints kept; older ones are removed",
        json_schema_extra={"advanced": True},
    )


class Passes(Learning):
    """Of rows with a prompt and an answer, packed anew for every step."""

    max_length: int = Field(
        default=512,
        ge=16,
        le=1_048_576,
        description="Longest sample; a row whose answer does not fit is refused, later turns that do not are left out",
        json_schema_extra={"unit": "tokens"},
    )
    micro_batch_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens that one pass through the model takes, packed; 0 chooses by the memory found",
        json_schema_extra={"advanced": True, "unit": "tokens"},
    )


class Machines(Request):
    """Where a training runs, and what starts its processes."""

    devices: tuple[int, ...] = Field(
        default=(), description="Numbers of the GPUs to use, as nvidia-smi counts them; all if none is given"
    )
    hosts: Path | None = Field(
        default=None,
        description="File with the machines to train on, “name slots=GPUs” a line, the first being this one",
        json_schema_extra={"picker": "file", "advanced": True},
    )
    processes: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Processes on this machine; 0 starts one a GPU, or one on the processor",
        json_schema_extra={"advanced": True},
    )
    launcher: Launcher = Field(
        default="auto",
        description="What starts the processes; auto takes the simplest that can",
        json_schema_extra={"advanced": True},
    )
    zero: Literal[0, 1, 2, 3] = Field(
        default=0,
        description="DeepSpeed ZeRO: 1 shares the optimiser among processes, 2 gradients too, 3 the weights too; "
        "0 is without",
        json_schema_extra={"advanced": True},
    )
    offload: bool = Field(
        default=False,
        description="With ZeRO, keep what is shared in main memory instead of on the GPU",
        json_schema_extra={"advanced": True},
    )
    port: int = Field(
        default=DEFAULT_PORT,
        ge=1024,
        le=65535,
        description="Port at which the processes meet",
        json_schema_extra={"advanced": True},
    )
    unload_host: bool = Field(
        default=True, description="Unload the model that is loaded for chat and extraction first, for its memory"
    )
    at_once: bool = Field(
        default=False,
        description="Start beside another training instead of waiting for it",
        json_schema_extra={"advanced": True},
    )
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        default=False,
        description="Show the command and the files of every machine; start nothing",
        json_schema_extra={"advanced": True},
    )

    @field_validator("devices")
    @classmethod
    def _each_once(cls, devices: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(devices)) < len(devices) or any(number < 0 for number in devices):
            raise ValueError("name each GPU once, counting from 0")
        return devices
