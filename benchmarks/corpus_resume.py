"""Time to the first batch after a resume, with a corpus of a billion rows: open, mix, look up. In a process of its own.

    python -m benchmarks.corpus_resume --rows 1000000000 --batch 480

The store is synthetic: a file as large as the real one, with holes where nothing is looked up. Compared with a shuffled
list of all numbers, as `random.shuffle` or `torch.randperm` make one at every start. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from core.paths import PROJECT
from train.corpus import store_format
from train.corpus.mix import Order, quotas
from train.corpus.store import Corpus
from train.corpus.store_format import SECTIONS, Head, Section, Vocabulary, aligned


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000_000)
    options.add_argument("--batch", type=int, default=480)
    options.add_argument("--at", type=Path, default=None, help="folder for the synthetic files (they hold no data)")
    options.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.child:
        print(json.dumps(first_batch(chosen.child, chosen.batch)))
        return
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        for name, share in (("web", 0.9), ("books", 0.1)):
            synthetic(Path(place) / f"{name}.tokens", name, int(chosen.rows * share))
        words = [sys.executable, "-m", "benchmarks.corpus_resume", "--child", place, "--batch", str(chosen.batch)]
        start = time.monotonic()
        told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=PROJECT).stdout
        whole = time.monotonic() - start
    start = time.monotonic()
    part = chosen.rows // 50
    np.random.default_rng(0).permutation(part)
    listed = (time.monotonic() - start) * chosen.rows / part
    found = {"seconds_with_imports": round(whole, 2), "shuffled_list_seconds": round(listed, 1)}
    print(json.dumps({"benchmark": "corpus resume", "rows": chosen.rows, **found, **json.loads(told)}))


def synthetic(path: Path, source: str, rows: int) -> None:
    sections, at = {}, store_format.HEAD
    counts = {"tokens": rows, "sample_starts": rows + 1, "row_samples": rows + 1}
    for name in ("tokens", *SECTIONS):
        size = counts.get(name, rows) * SECTIONS.get(name, np.dtype("<u2")).itemsize
        sections[name] = Section(at, size, 0)
        at = aligned(at + size)
    vocabulary = Vocabulary("synthetic", 32_000)
    head = Head(vocabulary, "uint16", source, "en", 1024, "filled", rows, rows, rows, rows, sections)
    with path.open("wb") as file:
        file.write(head.to_bytes())
        file.truncate(head.size)


def first_batch(folder: Path, batch: int) -> dict[str, float]:
    """Opening, and the batch in the middle of the third epoch with its rows' tokens."""
    start = time.monotonic()
    corpus = Corpus(folder)
    order = Order(corpus.rows(), quotas({"web": 9, "books": 1}, batch), seed=1, end="refill")
    opened = time.monotonic() - start
    picks = order.batch(2 * order.epoch_batches + order.epoch_batches // 2)
    rows = [corpus.sources[name].row(row) for name, row in zip(picks.sources, picks.rows.tolist(), strict=True)]
    seconds = time.monotonic() - start
    start = time.monotonic()
    for number in range(20):
        order.batch(12_345 + number)
    return {
        "seconds": round(seconds, 4),
        "of_them_opening": round(opened, 4),
        "rows_of_batch": len(rows),
        "ms_a_batch_of_numbers": round((time.monotonic() - start) * 50, 3),
    }


if __name__ == "__main__":
    main()
