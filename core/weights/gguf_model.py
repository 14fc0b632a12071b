"""A Hugging Face model as GGUF's keys and tensors: which families, under which names, in which types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import UserError
from core.weights.checkpoint import Checkpoint, without_derived
from core.weights.dtypes import FLOATS, PACKED, Floats
from core.weights.plan import Planned
from core.weights.tensors import Blob
from core.weights.views import RotaryRows, View

# model_type -> llama.cpp's architecture. Those of "llama" rotate neighbouring rows, so q and k are reordered.
FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LAYER_NAME = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "BF16": 32}


@dataclass(frozen=True)
class Given:
    """A small tensor that is computed here."""

    values: Floats
    origin: str
    dtype: str = "F32"
    grain: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def fill(self, start: int, out: Floats) -> None:
        out[:] = self.values[start : start + out.size]

    def extents(self, start: int, stop: int) -> list[tuple[Blob, int, int]]:
        return []


@dataclass(frozen=True)
class Rope:
    theta: float
    kind: str
    settings: Mapping[str, Any]


def family(checkpoint: Checkpoint) -> str:
    """llama.cpp's architecture. Raises UserError, naming it, for a family that is not exported."""
    config = checkpoint.config
    kind = str(config.get("model_type", "unknown"))
    if kind not in FAMILIES:
        raise UserError(
            "Models of the family “{family}” can't be exported to GGUF here.",
            remedy="LLaMA, Mistral, Qwen2 and Qwen3 can; use llama.cpp's own converter for others.",
            family=kind,
        )
    if config.get("use_sliding_window") or config.get("mlp_bias") or (kind == "llama" and config.get("attention_bias")):
        raise UserError(
            "The model in {folder} has biases or a sliding window that this export does not know.",
            remedy="Use llama.cpp's own converter for it.",
            folder=checkpoint.folder,
        )
    return FAMILIES[kind]


def planned_tensors(checkpoint: Checkpoint, quant: str) -> list[Planned]:
    """In the order of the source; vectors stay F32, as llama.cpp wants them."""
    arch, config = family(checkpoint), checkpoint.config
    heads = config["num_attention_heads"]
    counts = {"attn_q": heads, "attn_k": config.get("num_key_value_heads") or heads}
    tied = "lm_head.weight" not in checkpoint.tensors
    planned = []
    for name, view in without_derived(checkpoint.tensors).items():
        new = _renamed(checkpoint, name)
        part = new.split(".")[-2]
        if arch == "llama" and part in counts:
            view = RotaryRows(view, counts[part], to_halves=False)
        planned.append(Planned(new, _type_of(new, view, quant, tied), view))
    rope = rope_of(config)
    if rope.kind == "llama3":
        planned.append(Planned("rope_freqs.weight", "F32", Given(_llama3_factors(config, rope), "config.json")))
    return planned


def keys(checkpoint: Checkpoint, quant: str) -> list[tuple[Callable, str, Any]]:
    """(GGUFWriter's method, …): the model's own numbers."""
    from gguf import GGUFWriter, RopeScalingType

    config, rope = checkpoint.config, rope_of(checkpoint.config)
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or hidden // heads
    context = config.get("max_position_embeddings", 2048)
    # llama.cpp's llama has no sliding window: within it both are the same
    context = min(context, config.get("sliding_window") or context) if config["model_type"] == "mistral" else context
    made: list[tuple[Callable, str, Any]] = [
        (GGUFWriter.add_context_length, "context", context),
        (GGUFWriter.add_embedding_length, "embedding", hidden),
        (GGUFWriter.add_block_count, "blocks", config["num_hidden_layers"]),
        (GGUFWriter.add_feed_forward_length, "inner", config["intermediate_size"]),
        (GGUFWriter.add_head_count, "heads", heads),
        (GGUFWriter.add_head_count_kv, "kv heads", config.get("num_key_value_heads") or heads),
        (GGUFWriter.add_key_length, "key", head_dim),
        (GGUFWriter.add_value_length, "value", head_dim),
        (GGUFWriter.add_rope_dimension_count, "rope", head_dim),
        (GGUFWriter.add_rope_freq_base, "theta", rope.theta),
        (GGUFWriter.add_layer_norm_rms_eps, "epsilon", config.get("rms_norm_eps", 1e-6)),
        (GGUFWriter.add_vocab_size, "vocabulary", checkpoint.tensors["model.embed_tokens.weight"].shape[0]),
        (GGUFWriter.add_file_type, "file type", FILE_TYPES[quant]),
        (GGUFWriter.add_quantization_version, "quantization", 2),
    ]
    if rope.kind in ("linear", "yarn"):
        kind = RopeScalingType.LINEAR if rope.kind == "linear" else RopeScalingType.YARN
        made.append((GGUFWriter.add_rope_scaling_type, "scaling", kind))
        made.append((GGUFWriter.add_rope_scaling_factor, "factor", float(rope.settings["factor"])))
        if rope.kind == "yarn":
            original = rope.settings.get("original_max_position_embeddings", context)
            made.append((GGUFWriter.add_rope_scaling_orig_ctx_len, "original", original))
    return made


def rope_of(config: Mapping[str, Any]) -> Rope:
    """From `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before)."""
    settings = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    kind = str(settings.get("rope_type") or settings.get("type") or "default")
    if kind not in ("default", "linear", "llama3", "yarn"):
        raise UserError(
            "The rotary scaling “{kind}” can't be exported to GGUF here.",
            remedy="Use llama.cpp's own converter for this model.",
            kind=kind,
        )
    return Rope(float(settings.get("rope_theta", config.get("rope_theta", 10_000.0))), kind, settings)


def _renamed(checkpoint: Checkpoint, name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    match = _LAYER_NAME.fullmatch(name)
    if match is None or match[2] not in _LAYER:
        raise UserError(
            "The tensor {name} in {folder} is unknown to this export.",
            remedy="Use llama.cpp's own converter for this model.",
            name=name,
            folder=checkpoint.folder,
        )
    return f"blk.{match[1]}.{_LAYER[match[2]]}.{match[3]}"


def _type_of(name: str, view: View, quant: str, tied: bool) -> str:
    if view.dtype not in FLOATS:
        raise UserError(
            "Numbers of type {dtype} can't be computed with.",
            remedy="Use a checkpoint in F32, F16 or BF16, not a quantized one.",
            dtype=view.dtype,
        )
    if len(view.shape) == 1:
        return "F32"
    if quant not in PACKED:
        return quant
    if view.shape[1] % PACKED[quant][0]:
        return "F16"
    # the last matrix decides which token comes: llama.cpp's own quantizer spares it too
    is_output = name == "output.weight" or (tied and name == "token_embd.weight")
    return "Q8_0" if is_output else quant


def _llama3_factors(config: Mapping[str, Any], rope: Rope) -> Floats:
    """What each rotary frequency is divided by (LLaMA 3.1's scaling, as transformers computes it)."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    factor, low = float(rope.settings.get("factor", 8)), float(rope.settings.get("low_freq_factor", 1))
    high = float(rope.settings.get("high_freq_factor", 4))
    original = float(rope.settings.get("original_max_position_embeddings", 8192))
    wavelengths = 2 * math.pi * rope.theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((original / wavelengths - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
