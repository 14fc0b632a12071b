"""New weights for a pretraining from nothing: made module by module, so that no more than a shard is in memory.

They are a folder like any other model's, so every number of ranks and every ZeRO stage begins with the same ones.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.launchers import shapes

INDEX = "model.safetensors.index.json"


def write(folder: Path, base: Path, settings: dict[str, str], tokenizer: Any, *, seed: int, shard_gb: float) -> None:
    """Into `folder`, named so when it is whole. The shape is `base`'s config.json with `settings` changed."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    if folder.is_dir():
        return
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    config_file = part / "config.json"
    told = shapes.changed(shapes.config_of(base), settings) | {"vocab_size": len(tokenizer), "dtype": "float32"}
    told.pop("torch_dtype", None)
    told.pop("quantization_config", None)
    for name in ("bos", "eos", "pad"):
        told[f"{name}_token_id"] = getattr(tokenizer, f"{name}_token_id")
    config_file.write_text(json.dumps(told, indent=2), encoding="utf-8")
    config = AutoConfig.from_pretrained(part, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    config.save_pretrained(part)
    tokenizer.save_pretrained(part)

    where: dict[str, str] = {}
    held: dict[str, Any] = {}
    shards, room = 0, shard_gb * 1e9

    def put() -> None:
        nonlocal shards, held
        shards += 1
        name = f"model-{shards:05d}.safetensors"
        save_file(held, part / name, metadata={"format": "pt"})
        where.update(dict.fromkeys(held, name))
        held = {}

    for name, tensor in _tensors(model, seed):
        if held and sum(one.numel() * 4 for one in held.values()) + tensor.numel() * 4 > room:
            put()
        held[name] = tensor
    put()
    size = sum((part / name).stat().st_size for name in set(where.values()))
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (part / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
    part.replace(folder)


def _tensors(model: Any, seed: int) -> Iterator[tuple[str, Any]]:
    """(name, values) of all parameters, each made when it is asked for; tied ones once."""
    import torch
    from transformers import PreTrainedModel

    wanted = {name for name, _ in model.named_parameters()}
    owners = {name: module for name, module in model.named_modules() if isinstance(module, PreTrainedModel)}
    for name, module in model.named_modules():
        own = [key for key, _ in module.named_parameters(recurse=False) if _joined(name, key) in wanted]
        if not own:
            continue
        module.to_empty(device="cpu", recurse=False)
        owner = owners[
            max((one for one in owners if name == one or name.startswith(f"{one}." if one else "")), key=len)
        ]
        digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=7).digest()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(int.from_bytes(digest, "little"))
            owner._init_weights(module)
        for key in own:
            yield _joined(name, key), getattr(module, key).detach().contiguous()
        module.to(device="meta")


def _joined(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name


def wait_for(folder: Path) -> None:
    """For the ranks that don't write them."""
    while not folder.is_dir():
        time.sleep(0.2)
