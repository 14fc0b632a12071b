"""A small family of weights on which recovery can be walked through whole, made locally.

Of a model S (the starter; a random one where it is not there) it makes what ZhiXi's publishers made of
LLaMA: `base` in Meta's layout (two consolidated.*.pth), `delta` to the pretrained model, and an
adapter `lora`. base + delta + lora = S again, so that the end of the walk answers as S does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np
from pydantic import Field

from core import paths, resources
from core.errors import UserError
from core.models import STARTER, Card, card_of
from core.operation import Needs, Progress, Request, Result, Silent, operation
from core.weights import durable, stream
from core.weights.checkpoint import TOKENIZER_FILES, Checkpoint, open_checkpoint, small_files
from core.weights.dtypes import Floats
from core.weights.lora import Adapted, LowRank
from core.weights.meta import to_meta_name
from core.weights.plan import STREAM_RAM, Plan, Planned, Shard, config_bytes, content, into_shards, refuse_overlap
from core.weights.tensors import Blob
from core.weights.torch_file import write_torch
from core.weights.views import Columns, RotaryRows, Rows, Sum, View

RANK, ALPHA = 8, 16
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SHARDS = 2


class SampleFamilyRequest(Request):
    """Make a small base, weight difference and adapter, to try recovery on."""

    out: Path = Field(description="Folder for the three parts", json_schema_extra={"picker": "folder"})
    source: Path | None = Field(
        default=None,
        description="Model to make it from, a LLaMA folder; empty: the starter, or random weights without it",
        json_schema_extra={"picker": "folder", "advanced": True},
    )


class SampleFamilyResult(Result):
    base: Path
    delta: Path
    lora: Path
    bytes: int
    made_from: str

    def summary(self) -> str:
        parts = "\n".join(f"{name}: {getattr(self, name)}" for name in ("base", "delta", "lora"))
        return f"{parts}\nmade from {self.made_from}, {resources.size(self.bytes)}"


@dataclass(frozen=True)
class Noise:
    """Normal numbers that depend on the name only; any piece can be made on its own."""

    name: str
    shape: tuple[int, ...]
    scale: float
    dtype: str = "F32"
    grain: int = 1
    origin: str = "noise"

    def fill(self, start: int, out: Floats) -> None:
        pattern = _pattern()
        # the pattern's length is prime, so rows do not repeat under each other
        at = (start + crc32(self.name.encode())) % pattern.size
        done = 0
        while done < out.size:
            piece = pattern[at : at + out.size - done]
            np.multiply(piece, np.float32(self.scale), out=out[done : done + piece.size])
            done, at = done + piece.size, 0

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        return ()


@cache
def _pattern() -> Floats:
    return np.random.default_rng(0).standard_normal(65_537, dtype=np.float32)


def estimate(request: SampleFamilyRequest) -> Needs:
    source, _, _ = _source(request)
    size = sum(prod(view.shape) for view in source.values()) * 2
    return Needs(ram=STREAM_RAM, disk=int(2.1 * size), disk_at=request.out, seconds=2 + size / 5e7)


@operation("weights", "sample-family", estimate=estimate)
def run(request: SampleFamilyRequest, progress: Progress) -> SampleFamilyResult:
    source, config, folder = _source(request)
    if folder is not None:
        refuse_overlap(request.out, folder)
    base, delta, lora = (request.out / name for name in ("base", "delta", "lora"))
    adapters = {name: _low_rank(name, view, -1) for name, view in source.items() if name.split(".")[-2] in TARGETS}
    tuned = {name: Adapted(view, (adapters[name],)) if name in adapters else view for name, view in source.items()}
    noise = {name: Noise(name, view.shape, 0.02) for name, view in source.items()}
    card = card_of(folder) if folder else Card()
    card = card.model_copy(update={"title": "Sample family", "files": {}})
    progress.log("writing the base in Meta's layout")
    originals = {name: Sum(view, noise[name], -1) for name, view in tuned.items()}
    with stream.disk_may_fill(request.out), stream.locked(request.out / stream.WORK):
        write_base(base, originals, config)
        for name, source_of in _tokenizer(folder).items():
            durable.write_text(base / name, content(source_of).decode())
    progress.log("writing the difference and the adapter")
    planned = [Planned(name, "F16", view) for name, view in noise.items()]
    files = {"config.json": config_bytes(config, planned), **_tokenizer(folder)}
    stream.write(Plan("sample delta", into_shards(planned, 1.0), (), files, card=card), delta, progress)
    stream.write(_adapter_plan(adapters, base, card), lora, Silent())
    size = sum(path.stat().st_size for path in request.out.rglob("*") if path.is_file())
    made_from = str(folder) if folder else "random weights"
    return SampleFamilyResult(base=base, delta=delta, lora=lora, bytes=size, made_from=made_from)


def _source(request: SampleFamilyRequest) -> tuple[dict[str, View], dict, Path | None]:
    """(tensors with an output of their own, config, folder): of the request, else the starter, else random."""
    folder = request.source or paths.models() / STARTER / "hf"
    if request.source is None and not (folder / "config.json").exists():
        return *_random(), None
    model: Checkpoint = open_checkpoint(folder)
    tensors = dict(model.tensors)
    # Meta's layout always has an output of its own
    tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    return tensors, {**model.config, "tie_word_embeddings": False}, folder


def _random() -> tuple[dict[str, View], dict]:
    words, dim, inner, layers, heads = 512, 128, 256, 4, 4
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": words, "hidden_size": dim,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048,
        "bos_token_id": 256, "eos_token_id": 257, "tie_word_embeddings": False,
    }  # fmt: skip
    shapes = {"model.embed_tokens.weight": (words, dim), "lm_head.weight": (words, dim), "model.norm.weight": (dim,)}
    for number in range(layers):
        layer = f"model.layers.{number}."
        shapes |= {f"{layer}self_attn.{name}_proj.weight": (dim, dim) for name in "qkvo"}
        shapes |= {f"{layer}mlp.{name}_proj.weight": (inner, dim) for name in ("gate", "up")}
        shapes |= {f"{layer}mlp.down_proj.weight": (dim, inner)}
        shapes |= {f"{layer}{name}_layernorm.weight": (dim,) for name in ("input", "post_attention")}
    # norms lie around one
    make: Callable[[str, tuple[int, ...]], View] = lambda name, shape: (  # noqa: E731
        Sum(Noise(name + "!", shape, 0.02), Ones(shape)) if len(shape) == 1 else Noise(name + "!", shape, 0.08)
    )
    return {name: make(name, shape) for name, shape in shapes.items()}, config


@dataclass(frozen=True)
class Ones:
    shape: tuple[int, ...]
    dtype: str = "F32"
    grain: int = 1
    origin: str = "ones"

    def fill(self, start: int, out: Floats) -> None:
        out[:] = 1

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        return ()


def _tokenizer(folder: Path | None) -> dict[str, Path | bytes]:
    """The model's own; for random weights one that knows the 256 bytes and three marks."""
    if folder is not None:
        return {**small_files(folder, TOKENIZER_FILES)}
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate(letters)}
    words["Ġt"] = 256 + 3
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[("Ġ", "t")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = json.loads(tokenizer.to_str())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    marks = ("<s>", "</s>", "<unk>")
    made["added_tokens"] = [{"id": 256 + place, "content": mark, **plain} for place, mark in enumerate(marks)]
    made["model"]["vocab"] |= {mark: 256 + place for place, mark in enumerate(marks)}
    settings = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    return {"tokenizer.json": json.dumps(made).encode(), "tokenizer_config.json": json.dumps(settings).encode()}


def _low_rank(name: str, view: View, sign: int) -> LowRank:
    down = Noise(name + ".A", (RANK, view.shape[1]), 0.05)
    up = Noise(name + ".B", (view.shape[0], RANK), 0.05)
    return LowRank(down, up, sign * ALPHA / RANK)


def _adapter_plan(adapters: Mapping[str, LowRank], base: Path, card: Card) -> Plan:
    planned = []
    for name, part in adapters.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        planned.append(Planned(f"{module}.lora_A.weight", "F32", part.down))
        planned.append(Planned(f"{module}.lora_B.weight", "F32", part.up))
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0,
        "bias": "none", "fan_in_fan_out": False, "target_modules": list(TARGETS), "base_model_name_or_path": base.name,
    }  # fmt: skip
    shard = Shard("adapter_model.safetensors", tuple(planned))
    files: dict[str, Path | bytes] = {"adapter_config.json": json.dumps(config, indent=2).encode()}
    return Plan("sample adapter", (shard,), (), files, card=card)


def write_base(folder: Path, tensors: Mapping[str, View], config: Mapping) -> None:
    """Write tensors under Hugging Face names as a checkpoint in Meta's layout, cut in two."""
    folder.mkdir(parents=True, exist_ok=True)
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    params = {
        "dim": config["hidden_size"], "n_layers": config["num_hidden_layers"], "n_heads": heads,
        "n_kv_heads": config.get("num_key_value_heads", heads), "norm_eps": config["rms_norm_eps"],
        "vocab_size": config["vocab_size"], "rope_theta": rope.get("rope_theta", config.get("rope_theta", 10_000.0)),
    }  # fmt: skip
    durable.write_text(folder / "params.json", json.dumps(params))
    with stream.workers() as pool:
        for number in range(SHARDS):
            path = folder / f"consolidated.{number:02d}.pth"
            if not path.exists():  # it has its name only once it is whole
                pieces = [_piece(name, view, params, number) for name, view in tensors.items()]
                write_torch(path, pieces, stream.computed(pieces, pool))


def _piece(name: str, view: View, params: Mapping, number: int) -> Planned:
    """One process's part of a tensor, as Meta's model-parallel layers hold it."""
    meta_name = to_meta_name(name)
    if meta_name.endswith(("wq.weight", "wk.weight")):
        count = params["n_heads" if meta_name.endswith("wq.weight") else "n_kv_heads"]
        view = RotaryRows(view, count, to_halves=False)
    if len(view.shape) > 1:
        by_columns = meta_name.endswith(("wo.weight", "w2.weight")) or meta_name.startswith("tok_embeddings")
        length, left = divmod(view.shape[1 if by_columns else 0], SHARDS)
        if left:
            raise UserError(
                "{name} can't be cut into {count} equal pieces.",
                remedy="Choose another model to make the family from, or none.",
                name=name,
                count=SHARDS,
            )
        view = (Columns if by_columns else Rows)(view, number * length, (number + 1) * length)
    return Planned(meta_name, "F16", view)
