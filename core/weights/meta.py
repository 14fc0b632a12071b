"""Meta's LLaMA checkpoints under Hugging Face names.

`consolidated.NN.pth` are the pieces of a model that was split over NN processes (tensor
parallelism): some tensors by rows, some by columns, norms held by all. Layout and arithmetic:
github.com/meta-llama/llama; the order of rotary rows: see `views.RotaryRows`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.weights.tensors import Stored
from core.weights.views import RotaryRows, SideBySide, Stacked, View

_TOP = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER = {
    "attention.wq.weight": "self_attn.q_proj.weight",
    "attention.wk.weight": "self_attn.k_proj.weight",
    "attention.wv.weight": "self_attn.v_proj.weight",
    "attention.wo.weight": "self_attn.o_proj.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}
_BY_COLUMNS = ("attention.wo.weight", "feed_forward.w2.weight")
_LAYER_NAME = re.compile(r"layers\.(\d+)\.(.+)")
_COMPUTED = "rope.freqs"


def as_hugging_face(
    folder: Path, params: dict[str, Any], shards: list[dict[str, Stored]]
) -> tuple[dict[str, View], dict[str, Any]]:
    """(tensors under Hugging Face names, config). Raises UserError, naming the tensor, where pieces don't fit."""
    dim, heads, layers = (_count(folder, params, name) for name in ("dim", "n_heads", "n_layers"))
    kv_heads = params.get("n_kv_heads") or heads
    tensors: dict[str, View] = {}
    for name in shards[0]:
        if name == _COMPUTED:
            continue
        pieces = [_piece(folder, shard, name) for shard in shards]
        view = _joined(folder, name, pieces, dim)
        if name.endswith(("attention.wq.weight", "attention.wk.weight")):
            count = heads if name.endswith("wq.weight") else kv_heads
            if view.shape[0] % (2 * count):
                raise _unfit(folder, name)
            view = RotaryRows(view, count, to_halves=True)
        tensors[_renamed(folder, name)] = view
    _check_complete(folder, tensors, layers)
    return tensors, config_of(params, tensors)


def to_meta_name(name: str) -> str:
    """Meta's name for a Hugging Face one."""
    top = {theirs: ours for ours, theirs in _TOP.items()}
    layer = {theirs: ours for ours, theirs in _LAYER.items()}
    if name in top:
        return top[name]
    _, _, number, part = name.split(".", 3)
    return f"layers.{number}.{layer[part]}"


def config_of(params: dict[str, Any], tensors: dict[str, View]) -> dict[str, Any]:
    """config.json of the model. What params.json leaves open is known of each generation."""
    vocabulary, dim = tensors["model.embed_tokens.weight"].shape
    theta = float(params.get("rope_theta", 10_000.0))
    third = vocabulary > 100_000
    scaled = bool(params.get("use_scaled_rope"))
    # LLaMA 1: norm_eps 1e-6 (65B 1e-5) and 2,048 positions; LLaMA 2: 1e-5 and 4,096, its 70B with fewer
    # heads of keys; LLaMA 3: a vocabulary of 128,256.
    second = "n_kv_heads" in params or (params.get("norm_eps", 1e-6) >= 9e-6 and dim < 8192)
    positions = 131_072 if scaled else 8192 if third else 4096 if second else 2048
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": dim,
        "intermediate_size": tensors["model.layers.0.mlp.gate_proj.weight"].shape[0],
        "num_hidden_layers": params["n_layers"],
        "num_attention_heads": params["n_heads"],
        "num_key_value_heads": params.get("n_kv_heads") or params["n_heads"],
        "head_dim": tensors["model.layers.0.self_attn.q_proj.weight"].shape[0] // params["n_heads"],
        "hidden_act": "silu",
        "rms_norm_eps": params.get("norm_eps", 1e-6),
        "rope_theta": theta,
        "max_position_embeddings": params.get("max_seq_len", positions),
        "initializer_range": 0.02,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 128_000 if third else 1,
        "eos_token_id": 128_001 if third else 2,
    }
    if scaled:
        config["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": float(params.get("rope_scaling_factor", 32.0 if dim <= 3072 else 8.0)),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
    return config


def _joined(folder: Path, name: str, pieces: list[Stored], dim: int) -> View:
    if len(pieces) == 1:
        return pieces[0]
    if len({(piece.dtype, len(piece.shape), piece.shape) for piece in pieces}) != 1:
        raise _unfit(folder, name)
    if len(pieces[0].shape) == 1:
        return pieces[0]
    # LLaMA 1 and 2 split the embedding by columns, LLaMA 3 by rows.
    by_columns = name.endswith(_BY_COLUMNS) or (name == "tok_embeddings.weight" and pieces[0].shape[1] != dim)
    view: View = SideBySide(tuple(pieces)) if by_columns else Stacked(tuple(pieces))
    if dim not in view.shape:
        raise _unfit(folder, name)
    return view


def _piece(folder: Path, shard: dict[str, Stored], name: str) -> Stored:
    if name not in shard:
        raise UserError(
            "The tensor {name} is missing from {folder}.",
            remedy="Download the folder again, all of it.",
            name=name,
            folder=folder,
        )
    return shard[name]


def _renamed(folder: Path, name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    match = _LAYER_NAME.fullmatch(name)
    if match is None or match[2] not in _LAYER:
        raise UserError(
            "{folder} holds the tensor {name}, which no LLaMA has.",
            remedy="Choose the folder of a LLaMA 1, 2 or 3 text model.",
            folder=folder,
            name=name,
        )
    return f"model.layers.{match[1]}.{_LAYER[match[2]]}"


def _check_complete(folder: Path, tensors: dict[str, View], layers: int) -> None:
    wanted = [
        *_TOP.values(),
        *(f"model.layers.{number}.{name}" for number in range(layers) for name in _LAYER.values()),
    ]
    for name in wanted:
        if name not in tensors:
            raise UserError(
                "The tensor {name} is missing from {folder}.",
                remedy="Download the folder again, all of it.",
                name=name,
                folder=folder,
            )
    if len(tensors) != len(wanted):
        extra = next(iter(tensors.keys() - set(wanted)))
        raise UserError(
            "{folder} holds the tensor {name}, which no LLaMA has.",
            remedy="Choose the folder of a LLaMA 1, 2 or 3 text model.",
            folder=folder,
            name=extra,
        )


def _count(folder: Path, params: dict[str, Any], name: str) -> int:
    value = params.get(name)
    if type(value) is not int or not 0 < value < 1 << 20:
        raise UserError(
            "params.json in {folder} does not say {name}.", remedy="Download it again.", folder=folder, name=name
        )
    return value


def _unfit(folder: Path, name: str) -> UserError:
    return UserError(
        "The pieces of {name} in {folder} do not fit together.",
        remedy="Check that all consolidated.*.pth files are of the same model, and download them again.",
        name=name,
        folder=folder,
    )
