"""`weights convert` of a Meta checkpoint in two shards against the disk: time over the floor, peak memory.

    python -m benchmarks.convert --size 1.1 --rounds 3

The floor reads as much and writes as much, in large plain pieces, fsync included. One JSON line.
"""

from __future__ import annotations

import argparse
import base64
import json
import tempfile
from pathlib import Path

from benchmarks.recover import SHAPES, compare, floor, generate
from core.weights.checkpoint import open_checkpoint
from core.weights.sample_family import SHARDS, write_base


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", choices=SHAPES, default="0.3")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--at", type=Path, default=None, help="folder for the generated files")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        print(json.dumps(run(chosen, Path(place))))


def run(chosen: argparse.Namespace, place: Path) -> dict:
    hub, meta, out = place / "hub", place / "meta", place / "out"
    generate(hub, chosen.size, "F16", 0)
    made = open_checkpoint(hub)
    write_base(meta, made.tensors, {**made.config, "rms_norm_eps": 1e-5})
    letters = [f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256)]
    (meta / "tokenizer.model").write_text("".join(letters))
    size = sum(path.stat().st_size for path in meta.glob("*.pth"))
    words = ["weights", "convert", "--source", str(meta), "--out", str(out)]
    found = compare(lambda: floor([meta], out, size, "*.pth"), words, {}, out, chosen.rounds)
    return {"benchmark": "weights convert", "size": chosen.size, "shards": SHARDS, "bytes": size, **found}


if __name__ == "__main__":
    main()
