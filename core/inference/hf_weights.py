"""A Hugging Face folder's weights on their way into memory: which devices, how many bits, and what came of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from core import models, resources
from core.errors import UserError
from core.inference.devices import Placement
from core.inference.engine import Fact
from core.models import Model


def of(model: Model) -> Path | None:
    """The folder of the base's weights; None for a GGUF file."""
    if model.format == "adapter":
        return models.base_weights(model)
    return None if model.format == "gguf" else model.path


def cards() -> list[resources.Card]:
    """The GPUs in torch's own order, which CUDA_VISIBLE_DEVICES changes and nvidia-smi doesn't know."""
    import torch

    if not torch.cuda.is_available():
        return []
    free = [torch.cuda.mem_get_info(number) for number in range(torch.cuda.device_count())]
    return [
        resources.Card(torch.cuda.get_device_name(number), total, left) for number, (left, total) in enumerate(free)
    ]


def _config(weights: Path | None) -> dict[str, Any]:
    """config.json, as far as it can be read: whether it is sound is for the library to say."""
    try:
        told = json.loads((weights / "config.json").read_text(encoding="utf-8")) if weights else {}
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def dtype_of(weights: Path | None) -> str:
    told = _config(weights)
    return str(told.get("dtype") or told.get("torch_dtype") or "")


def quantized(weights: Path | None) -> bool:
    return bool(_config(weights).get("quantization_config"))


def how_to_place(placed: Placement, *, packed: bool) -> dict[str, Any]:
    """What `from_pretrained` is told; nothing for a plain model on the processor."""
    if placed.device == "auto":
        return {"device_map": "auto", "max_memory": placed.limits}
    return {"device_map": {"": placed.device}} if packed or placed.device != "cpu" else {}


def how_to_shrink(bits: int, weights: Path | None) -> dict[str, Any]:
    if not bits:
        return {}
    if quantized(weights):
        raise UserError("{path} is quantized already.", remedy="Load it as it is, without choosing bits.", path=weights)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "The package bitsandbytes is not installed.",
            remedy="Install it with `pip install bitsandbytes`, or export the model to GGUF with Q8_0 or Q4_0.",
        )
    import torch
    from transformers import BitsAndBytesConfig

    four: dict[str, Any] = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": torch.bfloat16,
    }
    return {"quantization_config": BitsAndBytesConfig(**(four if bits == 4 else {"load_in_8bit": True}))}


def bits_told(bits: int, model: Any, weights: Path | None) -> tuple[Fact, ...]:
    if not bits or weights is None:
        return ()
    values = {
        "bits": str(bits),
        "held": resources.size(model.get_memory_footprint()),
        "full": resources.size(models.size_of(weights)),
    }
    why = "Its layers are held in {bits} bits, as was asked: {held} instead of the {full} on disk."
    return (Fact(why, values),)


def device_told(model: Any) -> str:
    """The devices that hold a part of it: cpu, cuda:0, cuda:1."""
    used = dict.fromkeys(getattr(model, "hf_device_map", {}).values())
    return ", ".join(f"cuda:{one}" if isinstance(one, int) else str(one) for one in used) or str(model.device)


def is_offloaded(model: Any) -> bool:
    used = set(getattr(model, "hf_device_map", {}).values())
    return len(used) > 1 and bool(used & {"cpu", "disk"})
