"""What will be written: every tensor, where it comes from, which shard it goes to. Pure; reads headers only."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Annotated

from annotated_types import Gt
from pydantic import Field

from core import resources
from core.errors import UserError
from core.models import Card
from core.operation import Needs
from core.weights.dtypes import TORCH_NAMES, bytes_of
from core.weights.tensors import Blob, make_header
from core.weights.views import View

# What a streamed operation holds at its peak, with the interpreter; measured by benchmarks/recover.py.
STREAM_RAM = 300_000_000
# Bytes read and written a second on an ordinary SSD with two cores; only for the estimate shown.
ORDINARY_SPEED = 500_000_000

ShardGB = Annotated[
    float,
    Gt(0),
    Field(
        description="Largest size of an output file; a killed run loses at most one",
        json_schema_extra={"unit": "GB", "advanced": True},
    ),
]
SHARD_GB = 2.0


@dataclass(frozen=True)
class Planned:
    """One tensor of the output. `replays` is set where subtraction is to be checked by adding again."""

    name: str
    dtype: str
    view: View
    replays: tuple[View, View] | None = None
    """(base, tuned) of a delta."""

    @property
    def bytes(self) -> int:
        return bytes_of(self.dtype, prod(self.view.shape))


@dataclass(frozen=True)
class Shard:
    name: str
    tensors: tuple[Planned, ...]

    @property
    def header(self) -> bytes:
        return make_header((planned.name, planned.dtype, planned.view.shape) for planned in self.tensors)

    @property
    def bytes(self) -> int:
        return sum(planned.bytes for planned in self.tensors)


@dataclass(frozen=True)
class Plan:
    operation: str
    shards: tuple[Shard, ...]
    inputs: tuple[Blob, ...]
    small_files: Mapping[str, Path | bytes] = field(default_factory=dict)
    """File name -> what to copy there."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What else decides the bytes: weights of adapters, say."""
    card: Card = field(default_factory=Card)
    """Written beside the weights, with the files' hashes."""

    @property
    def bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """The same for the same inputs (by name, size and time of change) and the same wishes."""
        parts = {
            "operation": self.operation,
            "inputs": [(blob.path.name, blob.size, blob.modified) for blob in self.inputs],
            "tensors": [
                (shard.name, planned.name, planned.dtype, planned.view.shape, planned.view.origin)
                for shard in self.shards
                for planned in shard.tensors
            ],
            "small_files": [
                (name, hashlib.sha256(content(source)).hexdigest()) for name, source in sorted(self.small_files.items())
            ],
            "settings": dict(self.settings),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def lines(self) -> list[str]:
        """Every tensor with its source and bytes, a line each."""
        tensors = [planned for shard in self.shards for planned in shard.tensors]
        width = max(len(planned.name) for planned in tensors)
        lines = []
        for shard in self.shards:
            lines.append(f"{shard.name}: {resources.size(shard.bytes)}")
            lines += [
                f"  {planned.name:<{width}}  {planned.dtype:<4} {'x'.join(map(str, planned.view.shape)):>13}"
                f"  {planned.bytes:>12,} B  <- {planned.view.origin}"
                for planned in shard.tensors
            ]
        lines += [f"{name}: copied" for name in self.small_files]
        read = sum(blob.size for blob in self.inputs)
        lines.append(f"{len(tensors)} tensors; reads {resources.size(read)}, writes {resources.size(self.bytes)}")
        return lines

    def needs(self, out: Path) -> Needs:
        read = sum(blob.size for blob in self.inputs)
        return Needs(
            ram=STREAM_RAM,
            disk=max(0, self.bytes + 1_000_000 - already_there(out)),
            disk_at=out,
            seconds=1 + (read + self.bytes) / ORDINARY_SPEED,
        )


def already_there(out: Path) -> int:
    """Bytes that an earlier run of the same operation has left in the folder."""
    return sum(path.stat().st_size for path in out.rglob("*.safetensors")) if out.is_dir() else 0


def content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def into_shards(tensors: Iterable[Planned], shard_gb: float) -> tuple[Shard, ...]:
    """Tensors in the given order, cut into files of at most that size (a larger tensor has a file of its own)."""
    groups: list[list[Planned]] = [[]]
    filled = 0
    for planned in tensors:
        if groups[-1] and filled + planned.bytes > shard_gb * 1e9:
            groups.append([])
            filled = 0
        groups[-1].append(planned)
        filled += planned.bytes
    if len(groups) == 1:
        return (Shard("model.safetensors", tuple(groups[0])),)
    count = len(groups)
    return tuple(
        Shard(f"model-{number:05d}-of-{count:05d}.safetensors", tuple(group)) for number, group in enumerate(groups, 1)
    )


def config_bytes(config: Mapping[str, object], planned: Iterable[Planned], **changes: object) -> bytes:
    """config.json with the number format and the vocabulary that the tensors have."""
    made = {key: value for key, value in config.items() if key not in ("torch_dtype", "dtype")}
    tensors = list(planned)
    dtypes = Counter(tensor.dtype for tensor in tensors)
    made["dtype"] = TORCH_NAMES[dtypes.most_common(1)[0][0]]
    for tensor in tensors:
        if tensor.name.endswith("embed_tokens.weight") and "vocab_size" in made:
            made["vocab_size"] = tensor.view.shape[0]
    return json.dumps({**made, **changes}, indent=2, ensure_ascii=False).encode()


def refuse_overlap(out: Path, *inputs: Path) -> None:
    """Inputs are never touched: the output may be neither one of them nor inside one."""
    place = out.absolute().resolve()
    for folder in inputs:
        source = folder.resolve()
        if place == source or place.is_relative_to(source) or (place.is_dir() and source.is_relative_to(place)):
            raise UserError(
                "The output {out} and the input {folder} are the same folder or inside each other.",
                remedy="Choose another output folder.",
                out=out,
                folder=folder,
            )
