"""The shape of a model that has no weights yet: counted from its config.json, as transformers would make it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.launchers.memory import Shape

NAMES = {
    "hidden_size": ("hidden_size", "n_embd"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer"),
    "num_attention_heads": ("num_attention_heads", "n_head"),
    "context": ("max_position_embeddings", "n_positions"),
}


def config_of(folder: Path) -> dict[str, Any]:
    """Raises UserError where it isn't there or can't be read."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            "{folder} holds no config.json that can be read.",
            remedy="Choose the folder of a Hugging Face model; new weights need its config.json and its tokenizer.",
            folder=folder,
        ) from error
    return found if isinstance(found, dict) else {}


def changed(config: dict[str, Any], settings: dict[str, str]) -> dict[str, Any]:
    """config.json with some of its settings changed, each read as JSON. Raises UserError: no setting of it."""
    made = dict(config)
    for name, value in settings.items():
        if name not in made:
            raise UserError(
                "This model's config.json has no setting “{name}”.",
                remedy="Choose among: {known}.",
                name=name,
                known=", ".join(sorted(key for key, held in made.items() if isinstance(held, int | float | str))),
            )
        try:
            made[name] = json.loads(value)
        except ValueError:
            made[name] = value
    hidden, heads = _number(made, "hidden_size"), _number(made, "num_attention_heads")
    if "head_dim" in made and "head_dim" not in settings and hidden and heads:
        made["head_dim"] = hidden // heads
    layers = _number(made, "num_hidden_layers")
    if isinstance(made.get("layer_types"), list) and len(made["layer_types"]) != layers:
        made["layer_types"] = [made["layer_types"][at % len(made["layer_types"])] for at in range(layers)]
    return made


def shape_of(config: dict[str, Any], vocabulary: int) -> Shape:
    """A decoder with gated layers, as LLaMA's kind have them; others come out near enough to tell what fits."""
    hidden, layers = _number(config, "hidden_size"), _number(config, "num_hidden_layers")
    heads = _number(config, "num_attention_heads") or 1
    head = int(config.get("head_dim") or hidden // heads)
    groups = int(config.get("num_key_value_heads") or heads)
    inner = int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden)
    one = [("q_proj", heads * head, hidden), ("k_proj", groups * head, hidden), ("v_proj", groups * head, hidden)]
    one += [("o_proj", hidden, heads * head), ("up_proj", inner, hidden), ("down_proj", hidden, inner)]
    if "intermediate_size" in config:
        one.append(("gate_proj", inner, hidden))
    linears = tuple((f"layers.{layer}.{name}", out, into) for layer in range(layers) for name, out, into in one)
    embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    count = sum(out * into for _, out, into in linears) + embeddings + (2 * layers + 1) * hidden
    return Shape(count, layers, hidden, vocabulary, linears, _number(config, "context"), 4 * count)


def _number(config: dict[str, Any], name: str) -> int:
    return next((int(config[key]) for key in NAMES[name] if config.get(key)), 0)
