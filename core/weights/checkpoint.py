"""A folder of weights, whatever its layout: safetensors, torch .bin, or Meta's consolidated.*.pth.

`open_checkpoint` reads headers only. Names, shapes and places are checked there; the bytes are
read later, piece by piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from core.errors import UserError
from core.weights import meta
from core.weights.dtypes import ITEM_BYTES
from core.weights.pickles import read_torch
from core.weights.tensors import Blob, Stored, read_safetensors
from core.weights.views import View

MAX_JSON = 50_000_000
TOKENIZER_FILES = (
    "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip
CONFIG_FILES = ("config.json", "generation_config.json")
# Buffers that old checkpoints carry and every current model computes for itself.
DERIVED = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    layout: str
    """safetensors, bin or meta."""
    tensors: Mapping[str, View]
    """In the order in which they lie on the disk."""
    files: tuple[Blob, ...]
    config: dict = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(size_of(view) for view in self.tensors.values())


def size_of(view: View) -> int:
    return prod(view.shape) * ITEM_BYTES[view.dtype]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Raises UserError where the folder holds no whole and sound set of weights."""
    if not folder.is_dir():
        raise UserError(
            "There is no folder {folder}.", remedy="Choose the folder that holds the weights.", folder=folder
        )
    folder = folder.resolve()
    if list(folder.glob("consolidated.*.pth")):
        return _open_meta(folder)
    for layout, stem, ending, reader in (
        ("safetensors", "model.safetensors", "*.safetensors", read_safetensors),
        ("bin", "pytorch_model.bin", "pytorch_model*.bin", read_torch),
    ):
        names = _weight_files(folder, stem, ending)
        if names is not None:
            found = [reader(inside(folder, name)) for name in names]
            return Checkpoint(folder, layout, _one_map(folder, stem, found), _blobs(found), read_config(folder))
    raise UserError(
        "The folder {folder} holds no weights.",
        remedy="Choose a folder with .safetensors, pytorch_model*.bin or consolidated.*.pth files.",
        folder=folder,
    )


def inside(folder: Path, name: str) -> Path:
    """The file of that name in the folder. Raises UserError for a path, and for a link that leaves the folder.

    The cache of huggingface_hub (`models--X/snapshots/REV/file -> ../../blobs/HASH`) may link within itself.
    """
    path = folder / name
    if Path(name).name != name or "\\" in name or name in ("", ".", ".."):
        raise UserError(
            "{folder} names the file “{name}”, which is not in it.",
            remedy="Get the weights from a source that you trust.",
            folder=folder,
            name=name[:100],
        )
    if not path.exists():
        raise UserError(
            "The file {name} is missing from {folder}.",
            remedy="Download it again: `python -m core models verify` names what is broken.",
            name=name,
            folder=folder,
        )
    root = folder.resolve()
    is_cache = root.parent.name == "snapshots" and root.parents[1].name.startswith("models--")
    if not path.resolve().is_relative_to(root.parents[1] if is_cache else root):
        raise UserError(
            "{name} in {folder} is a link to a file outside.",
            remedy="Put the file itself there.",
            name=name,
            folder=folder,
        )
    return path


def read_json(path: Path) -> dict:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError("too large")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError("{file} can't be read as JSON.", remedy="Download it again.", file=path) from error
    if not isinstance(found, dict):
        raise UserError("{file} can't be read as JSON.", remedy="Download it again.", file=path)
    return found


def read_config(folder: Path) -> dict:
    return read_json(inside(folder, "config.json")) if (folder / "config.json").exists() else {}


def small_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Those of the named files that the folder has."""
    return {name: inside(folder, name) for name in names if (folder / name).exists()}


def without_derived(tensors: Mapping[str, View]) -> dict[str, View]:
    return {name: view for name, view in tensors.items() if not name.endswith(DERIVED)}


def refuse_quantized(checkpoint: Checkpoint) -> None:
    if "quantization_config" in checkpoint.config:
        raise UserError(
            "The weights in {folder} are quantized.",
            remedy="Use the full-precision weights; quantize the result.",
            folder=checkpoint.folder,
        )


def _open_meta(folder: Path) -> Checkpoint:
    params = read_json(inside(folder, "params.json"))
    names = sorted(path.name for path in folder.glob("consolidated.*.pth"))
    shards = [read_torch(inside(folder, name)) for name in names]
    tensors, config = meta.as_hugging_face(folder, params, shards)
    return Checkpoint(folder, "meta", tensors, _blobs(shards), config)


def _weight_files(folder: Path, stem: str, ending: str) -> list[str] | None:
    """The files that the index names, else the one file, else all that end so; None where there is none."""
    index = folder / f"{stem}.index.json"
    if index.exists():
        weight_map = read_json(inside(folder, index.name)).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise UserError("{file} can't be read as JSON.", remedy="Download it again.", file=index)
        return sorted(set(weight_map.values()))
    if (folder / stem).exists():
        return [stem]
    return sorted(path.name for path in folder.glob(ending) if not path.name.startswith("adapter_")) or None


def _one_map(folder: Path, stem: str, found: list[dict[str, Stored]]) -> dict[str, View]:
    tensors: dict[str, View] = {}
    for file in found:
        for name, tensor in file.items():
            if name in tensors:
                raise UserError(
                    "The tensor {name} is in two files of {folder}.",
                    remedy="Remove the files that do not belong to the model.",
                    name=name,
                    folder=folder,
                )
            tensors[name] = tensor
    index = folder / f"{stem}.index.json"
    named = read_json(index)["weight_map"] if index.exists() else {}
    for name in named:
        if name not in tensors:
            raise UserError(
                "The tensor {name} is missing from {folder}.",
                remedy="Download the folder again, all of it.",
                name=name,
                folder=folder,
            )
    return tensors


def _blobs(found: list[dict[str, Stored]]) -> tuple[Blob, ...]:
    return tuple(dict.fromkeys(tensor.blob for file in found for tensor in file.values()))
