"""`weights recover` (or make-delta, with --operation) against KnowLM's method and against the disk, in one run.

    python -m benchmarks.recover --size 1.1 --dtype F16 --rounds 3

Generated LLaMA-shaped files; each round runs, one after the other and from a cold cache where the
machine lets us drop it: the floor (read both inputs, write one output, with plain 8 MB reads and
writes, fsync), ours (the real command), and KnowLM's (both state dicts loaded whole with torch, added,
saved, fsync) in its fp32 and fp16 forms. One JSON line; ratios are of medians.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core.weights.tensors import make_header

ROOT = Path(__file__).resolve().parent.parent

# hidden, intermediate, layers, vocabulary: SmolLM-like, TinyLlama, an open 3B, and 13B with few layers
SHAPES = {
    "0.3": (1024, 2816, 20, 32000),
    "1.1": (2048, 5632, 22, 32000),
    "3": (3200, 8640, 26, 32000),
    "13B-shaped": (5120, 13824, 2, 32000),
}
ITEM = {"F32": 4, "F16": 2, "BF16": 2}
BLOCK = 8 << 20


def shapes(size: str) -> list[tuple[str, tuple[int, ...]]]:
    hidden, inner, layers, words = SHAPES[size]
    found: list[tuple[str, tuple[int, ...]]] = [("lm_head.weight", (words, hidden))]
    found.append(("model.embed_tokens.weight", (words, hidden)))
    for number in range(layers):
        layer = f"model.layers.{number}."
        found.append((layer + "input_layernorm.weight", (hidden,)))
        for name, shape in (("down", (hidden, inner)), ("gate", (inner, hidden)), ("up", (inner, hidden))):
            found.append((f"{layer}mlp.{name}_proj.weight", shape))
        found.append((layer + "post_attention_layernorm.weight", (hidden,)))
        found += [(f"{layer}self_attn.{name}_proj.weight", (hidden, hidden)) for name in "kqvo"]
    return [*found, ("model.norm.weight", (hidden,))]


def generate(folder: Path, size: str, dtype: str, seed: int, *, shard: float = 2e9, scale: float = 0.02) -> None:
    """Random weights (the same 1M-element pattern, rolled), one or more shards; norms around 1 for the base."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    pattern = encode((rng.standard_normal(1 << 20, dtype=np.float32) * scale), dtype)
    norm = encode(np.full(1 << 14, 1.0 if seed == 0 else 0.01, np.float32), dtype)
    weight_map: dict[str, str] = {}
    groups: list[list] = [[]]
    for name, shape in shapes(size):
        if groups[-1] and sum(np.prod(s) for _, s in groups[-1]) * ITEM[dtype] > shard:
            groups.append([])
        groups[-1].append((name, shape))
    for number, group in enumerate(groups, 1):
        name = "model.safetensors" if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        with (folder / name).open("wb") as file:
            file.write(make_header((tensor, dtype, shape) for tensor, shape in group))
            for _, shape in group:
                left, source = int(np.prod(shape)) * ITEM[dtype], norm if len(shape) == 1 else pattern
                while left:
                    left -= file.write(source[: min(left, len(source))])
            file.flush()
            os.fsync(file.fileno())
        weight_map |= {tensor: name for tensor, _ in group}
    if len(groups) > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    hidden, inner, layers, words = SHAPES[size]
    (folder / "config.json").write_text(
        json.dumps(
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "vocab_size": words,
             "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": hidden // 64,
             "tie_word_embeddings": False}
        )
    )  # fmt: skip


def encode(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return values.astype({"F16": np.float16, "F32": np.float32}[dtype]).tobytes()


def floor(inputs: list[Path], out: Path, size: int, ending: str = "*.safetensors") -> None:
    """Read the inputs side by side and write `size` bytes, in large plain pieces."""
    out.mkdir()
    buffer = memoryview(bytearray(BLOCK))
    readers = [path.open("rb", buffering=0) for folder in inputs for path in sorted(folder.glob(ending))]
    total = sum(os.fstat(reader.fileno()).st_size for reader in readers)
    written = read = 0
    with (out / "model.safetensors").open("wb", buffering=0) as file:
        while readers:
            for reader in tuple(readers):
                count = reader.readinto(buffer)
                read += count
                if not count:
                    readers.remove(reader)
                while written < size * read / total:
                    written += file.write(buffer[: min(BLOCK, size - written)])
        os.fsync(file.fileno())


KNOWLM = """
import os, sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM
base, delta, out, dtype = sys.argv[1:5]
load = lambda path: AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), low_cpu_mem_usage=True)
raw, recovered = load(base), load(delta)
have, add = recovered.state_dict(), raw.state_dict()
with torch.no_grad():
    for name in have:
        have[name].add_(add[name])
recovered.save_pretrained(out)
for path in Path(out).iterdir():
    with path.open("rb+") as file:
        os.fsync(file.fileno())
"""


def measure(command: list[str]) -> tuple[float, float]:
    """(seconds, peak resident MB) of a process."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(errors.decode())
    return time.monotonic() - started, usage.ru_maxrss / 1024


def cold() -> None:
    """Everything on the disk, nothing in the cache, where the machine lets us."""
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("1")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", choices=SHAPES, default="0.3")
    options.add_argument("--dtype", choices=ITEM, default="F16")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--operation", choices=("recover", "make-delta"), default="recover")
    options.add_argument("--no-knowlm", action="store_true")
    options.add_argument("--at", type=Path, default=None, help="folder for the generated files")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        print(json.dumps(run(chosen, Path(place))))


def run(chosen: argparse.Namespace, place: Path) -> dict:
    base, other, out = place / "base", place / "other", place / "out"
    generate(base, chosen.size, chosen.dtype, 0)
    generate(other, chosen.size, chosen.dtype, 1, scale=0.002)
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    second = "--delta" if chosen.operation == "recover" else "--tuned"
    words = ["weights", chosen.operation, "--base", str(base), second, str(other), "--out", str(out)]
    knowlm = [sys.executable, "-c", KNOWLM, str(base), str(other), str(out)]
    rivals = {f"knowlm_{dtype}": [*knowlm, dtype] for dtype in ("float32", "float16")}
    if chosen.no_knowlm or chosen.operation != "recover":
        rivals = {}
    found = compare(lambda: floor([base, other], out, size), words, rivals, out, chosen.rounds)
    what = {"benchmark": f"weights {chosen.operation}", "size": chosen.size, "dtype": chosen.dtype}
    return {**what, "bytes_each": size, **found}


def compare(
    plain: Callable[[], None], words: list[str], rivals: dict[str, list[str]], out: Path, rounds: int
) -> dict[str, object]:
    """Seconds, peaks and ratios of the floor, ours and the rivals, in turn; `out` is removed after each."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}

    def note(name: str, took: float, peak: float = 0.0) -> None:
        seconds.setdefault(name, []).append(took)
        peaks[name] = max(peaks.get(name, 0.0), peak)
        shutil.rmtree(out)

    for _ in range(rounds):
        cold()
        started = time.monotonic()
        plain()
        note("floor", time.monotonic() - started)
        cold()
        note("ours", *measure([sys.executable, "-m", "core", *words]))
        for name, command in rivals.items():
            cold()
            note(name, *measure(command))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    pairs = zip(seconds["ours"], seconds["floor"], strict=True)
    return {
        "seconds": {name: round(value, 2) for name, value in median.items()},
        "all_seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "peak_mb": {name: round(value) for name, value in peaks.items() if value},
        "ours_over_floor": round(statistics.median(ours / least for ours, least in pairs), 2),
        **{f"{name}_over_ours": round(median[name] / median["ours"], 2) for name in rivals},
    }


if __name__ == "__main__":
    main()
