"""Each stage of a corpus build in MB/s a core, the whole build on one and on two workers, and its memory.

    python -m benchmarks.corpus_stages --mb 40 --rounds 3

Texts are generated before anything is timed. A stage's speed is bytes of text by seconds of processor time of this one
process; the builds are the real command, by the clock. `peak_mb` is the largest process of each build. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.corpus_texts import documents
from core.launchers.corpus import MASKS, Source
from train.corpus import filters, ingest, minhash, pii, repair, sources


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mb", type=float, default=40, help="megabytes of text a language")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tokenizer", default="starter")
    options.add_argument("--at", type=Path, default=None, help="folder for texts and corpora")
    chosen = options.parse_args()
    found: dict[str, Any] = {"benchmark": "corpus stages", "mb": chosen.mb}
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        files = {language: write(language, int(chosen.mb * 1e6), Path(place)) for language in ("en", "zh")}
        for language, file in files.items():
            found[language] = stages(language, file, chosen.rounds)
        found |= builds(files, chosen.tokenizer, chosen.rounds, Path(place))
    print(json.dumps(found))


def write(language: str, size: int, place: Path) -> Path:
    file = place / f"{language}.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for text in documents(language, size):
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return file


def stages(language: str, file: Path, rounds: int) -> dict[str, float]:
    """MB/s of each stage: the median of its rounds."""
    source = Source(name=language, path=(str(file),))
    pieces = [piece for shard in sources.shards((source,), 64 << 20) for piece in shard.pieces]
    rows = [row for piece in pieces for row in ingest.rows(source, piece, 16 << 20) if isinstance(row, ingest.Row)]
    texts = [row.text for row in rows]
    size = sum(len(text.encode()) for text in texts)
    limits, lists = filters.read_limits(None), filters.read_lists(None)
    filters.looked_at("a", "auto")  # the table of signs

    def read() -> None:
        for piece in pieces:
            for _ in ingest.rows(source, piece, 16 << 20):
                pass

    work: dict[str, Callable[[], Any]] = {
        "read": read,
        "repair": lambda: [repair.repair(text) for text in texts],
        "judge": lambda: [
            filters.judge(filters.looked_at(text, "auto"), limits, lists, quality=True) for text in texts
        ],
        "mask": lambda: [pii.mask(text, MASKS) for text in texts],
        "signature": lambda: [minhash.signature(text, chinese=language == "zh") for text in texts],
    }
    return {name: round(statistics.median(size / timed(one) / 1e6 for _ in range(rounds)), 1)
            for name, one in work.items()}  # fmt: skip


def timed(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def builds(files: dict[str, Path], tokenizer: str, rounds: int, place: Path) -> dict[str, Any]:
    """Seconds of whole builds in turns, on one and on two workers; start-up is in both."""
    config = place / "corpus.json"
    given = [{"name": language, "path": str(file), "language": language} for language, file in files.items()]
    config.write_text(json.dumps({"sources": given, "tokenizer": tokenizer, "shard_size": 8}))
    taken: dict[int, list[float]] = {1: [], 2: []}
    peaks: dict[int, int] = {1: 0, 2: 0}
    for number in range(rounds):
        for workers in (1, 2):
            seconds, peak = build(config, place / f"out-{workers}-{number}", workers)
            taken[workers].append(seconds)
            peaks[workers] = max(peaks[workers], peak)
    size = sum(file.stat().st_size for file in files.values())
    one, two = statistics.median(taken[1]), statistics.median(taken[2])
    return {
        "build_mb_s": {"1": round(size / one / 1e6, 2), "2": round(size / two / 1e6, 2)},
        "scaling": round(one / two / 2, 3),
        "peak_mb": {str(workers): peak >> 20 for workers, peak in peaks.items()},
    }


def build(config: Path, out: Path, workers: int) -> tuple[float, int]:
    """(seconds, bytes of its largest process) of a whole build by the real command."""
    words = ["corpus", "build", "--config", str(config), "--out", str(out), "--workers", str(workers)]
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "core", *words], stdout=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        peak = max(peak, largest(child.pid))
        time.sleep(0.2)
    if child.returncode:
        sys.exit(f"the build ended with {child.returncode}")
    return time.perf_counter() - started, peak


def largest(pid: int) -> int:
    try:
        own = psutil.Process(pid)
        return max(process.memory_info().rss for process in (own, *own.children(recursive=True)))
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
