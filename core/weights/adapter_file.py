"""An adapter as PEFT saves it: adapter_config.json and adapter_model.safetensors (or .bin)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.weights.checkpoint import inside, read_json
from core.weights.lora import LowRank
from core.weights.pickles import read_torch
from core.weights.tensors import Blob, Stored, read_safetensors

_PREFIX = "base_model.model."
# `weight` is replaced by what the suffix says; `.default` stands in adapters that older versions saved.
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(\.default)?(?P<end>\.weight|\.bias)?"
)
# These change the base itself when training starts, so adding B·A to the published base would be wrong.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class Adapter:
    folder: Path
    config: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Stored]]
    """Module -> part (lora_A …) -> tensor."""
    replaced: Mapping[str, Stored]
    """Whole tensors that it brings (modules_to_save, trained biases)."""
    blob: Blob

    def low_rank(self, module: str, weight: float) -> LowRank:
        found = self.parts[module]
        embedding = "lora_embedding_A" in found
        down, up = (found.get("lora_embedding_" + side if embedding else "lora_" + side) for side in "AB")
        if down is None or up is None or len(down.shape) != 2 or len(up.shape) != 2 or down.shape[0] != up.shape[1]:
            raise UserError(
                "The adapter {folder} holds no matching pair A and B for {module}.",
                remedy="Download or train it again; only adapters of linear layers and embeddings can be merged.",
                folder=self.folder,
                module=module,
            )
        transposed = embedding or bool(self.config.get("fan_in_fan_out"))
        return LowRank(down, up, self.scale(module, down.shape[0]) * weight, transposed)

    def scale(self, module: str, rank: int) -> float:
        alpha = _pattern(self.config.get("alpha_pattern"), module, self.config.get("lora_alpha", 8))
        wanted = _pattern(self.config.get("rank_pattern"), module, self.config.get("r", rank))
        if wanted != rank:
            raise UserError(
                "The adapter {folder} has rank {rank} for {module}, its settings say {wanted}.",
                remedy="Its adapter_config.json and its weights do not belong together: download both again.",
                folder=self.folder,
                rank=rank,
                module=module,
                wanted=wanted,
            )
        return float(alpha) / (sqrt(rank) if self.config.get("use_rslora") else rank)


def open_adapter(folder: Path) -> Adapter:
    """Raises UserError where the folder holds no adapter, or one that can't be merged by adding."""
    if not (folder / "adapter_config.json").exists():
        raise UserError(
            "The folder {folder} holds no adapter.",
            remedy="Choose a folder with adapter_config.json and adapter_model.safetensors.",
            folder=folder,
        )
    config = read_json(inside(folder, "adapter_config.json"))
    _refuse_unmergeable(folder, config)
    if (folder / "adapter_model.safetensors").exists():
        tensors = read_safetensors(inside(folder, "adapter_model.safetensors"))
    else:
        tensors = read_torch(inside(folder, "adapter_model.bin"))
    parts: dict[str, dict[str, Stored]] = {}
    replaced: dict[str, Stored] = {}
    for name, tensor in tensors.items():
        short = name.removeprefix(_PREFIX)
        match = _PART.fullmatch(short)
        if match is None:
            replaced[_plain(folder, short)] = tensor
        elif match["end"] == ".bias":
            raise _unmergeable(folder, "biases of B")
        else:
            parts.setdefault(match["module"], {})[match["part"]] = tensor
    if not parts and not replaced:
        raise _unmergeable(folder, "no weights at all")
    return Adapter(folder.resolve(), config, parts, replaced, next(iter(tensors.values())).blob)


def _refuse_unmergeable(folder: Path, config: Mapping[str, Any]) -> None:
    kind = str(config.get("peft_type", "LORA"))
    if kind != "LORA":
        raise _unmergeable(folder, kind)
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(_CHANGES_BASE):
        raise _unmergeable(folder, f"init_lora_weights={start}")
    for setting in ("trainable_token_indices", "target_parameters", "layer_replication", "alora_invocation_tokens"):
        if config.get(setting):
            raise _unmergeable(folder, setting)


def _plain(folder: Path, name: str) -> str:
    """The base tensor that a whole tensor of the adapter replaces."""
    name = re.sub(r"\.(modules_to_save(\.default)?|base_layer|original_module)\.", ".", name)
    if "lora_" in name or "token_adapter" in name or "vera_" in name:
        raise _unmergeable(folder, name)
    return name


def _pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """PEFT's rule: the first pattern that matches the end of the module's name."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _unmergeable(folder: Path, what: str) -> UserError:
    return UserError(
        "The adapter {folder} uses {what}, which can't be merged by adding.",
        remedy="Convert it to plain LoRA with PEFT first.",
        folder=folder,
        what=what,
    )
