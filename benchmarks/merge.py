"""`weights merge` of a LoRA on all linear layers against PEFT's way and against the disk: time, peak memory.

    python -m benchmarks.merge --size 1.1 --rank 16 --rounds 3

PEFT's way: model and adapter loaded whole, `merge_and_unload`, saved, fsync. The floor reads the base and
writes as much, in large plain pieces, fsync included. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.recover import SHAPES, compare, floor, generate, shapes
from core.weights.tensors import make_header

PEFT = """
import os, sys, torch
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, out = sys.argv[1:4]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16, low_cpu_mem_usage=True)
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
for path in Path(out).iterdir():
    with path.open("rb+") as file:
        os.fsync(file.fileno())
"""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", choices=SHAPES, default="0.3")
    options.add_argument("--rank", type=int, default=16)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--at", type=Path, default=None, help="folder for the generated files")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        print(json.dumps(run(chosen, Path(place))))


def run(chosen: argparse.Namespace, place: Path) -> dict:
    base, adapter, out = place / "base", place / "adapter", place / "out"
    generate(base, chosen.size, "F16", 0)
    write_adapter(adapter, chosen.size, chosen.rank)
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    words = ["weights", "merge", "--base", str(base), "--adapter", str(adapter), "--out", str(out)]
    peft = [sys.executable, "-c", PEFT, str(base), str(adapter), str(out)]
    found = compare(lambda: floor([base], out, size), words, {"peft": peft}, out, chosen.rounds)
    return {"benchmark": "weights merge", "size": chosen.size, "rank": chosen.rank, "bytes": size, **found}


def write_adapter(folder: Path, size: str, rank: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(2)
    pairs = [(name, shape) for name, shape in shapes(size) if name.split(".")[-2] in TARGETS]
    parts: list[tuple[str, tuple[int, int]]] = []
    for name, (rows, columns) in pairs:  # type: ignore[misc]
        module = f"base_model.model.{name.removesuffix('.weight')}"
        parts += [(f"{module}.lora_A.weight", (rank, columns)), (f"{module}.lora_B.weight", (rows, rank))]
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(make_header((name, "F32", shape) for name, shape in parts))
        for _, shape in parts:
            file.write((rng.standard_normal(shape, dtype=np.float32) * 0.01).tobytes())
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": list(TARGETS)}))


if __name__ == "__main__":
    main()
