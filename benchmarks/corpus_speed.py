"""Texts to packed tokens on disk: MB/s a core of ours against KnowLM's method, on the same texts in one run.

    python -m benchmarks.corpus_speed --mb 20 --rounds 3

KnowLM's method: every sentence tokenized by itself, one after the other, then greedy samples with the walk to the left,
written as uint16. It is given our sentence splitter for English (its own, NLTK's, is slower), its own rule for
Chinese, and the same Rust tokenizer. Speeds are bytes of text by seconds of processor time of one process; texts are
generated before. Ours starts with nothing remembered in every round. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus_texts import documents, rates
from train.corpus import pack, sentences, shard
from train.corpus.fill import Filler
from train.corpus.shard import Packing
from train.corpus.store import Store
from train.corpus.tokens import Tokenizer, open_tokenizer

LENGTH = 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mb", type=float, default=20, help="megabytes of text a language")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tokenizer", default="starter")
    options.add_argument("--at", type=Path, default=None, help="folder for the stores")
    chosen = options.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"
    tokenizer = open_tokenizer(chosen.tokenizer)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        for language in ("en", "zh"):
            texts = list(documents(language, int(chosen.mb * 1e6)))
            found[language] = run(texts, language, tokenizer, chosen.rounds, Path(place))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    told = {"mb": chosen.mb, "tokenizer": tokenizer.vocabulary.name, "fast": tokenizer.fast, "peak_mb": peak}
    print(json.dumps({"benchmark": "corpus speed", **told, **found}))


def run(texts: list[str], language: str, tokenizer: Tokenizer, rounds: int, place: Path) -> dict[str, Any]:
    size = sum(len(text.encode()) for text in texts)
    ours, theirs = [], []
    path = place / f"{language}.tokens"
    for _ in range(rounds):
        forget(tokenizer)
        taken, made = timed(lambda: written(texts, path, tokenizer))
        ours.append(size / taken / 1e6)
        taken, repeated = timed(lambda: knowlm(texts, language, tokenizer, place / "theirs"))
        theirs.append(size / taken / 1e6)
    store = Store(path)
    decoded = sum(
        tokenizer.decode(ids[:-1] if tokenizer.vocabulary.eos is not None else ids) == text
        for ids, text in zip(store.documents(), texts[:500], strict=False)
    )
    return {
        "ours_mb_s": round(statistics.median(ours), 2),
        "knowlm_mb_s": round(statistics.median(theirs), 2),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
        "stages_mb_s": stages(texts, size, tokenizer, path),
        "tokens": made.tokens,
        "fill": made.fill,
        "learned_twice": made.repeated,
        "knowlm_learned_twice": round(repeated, 4),
        "decoded_back": f"{decoded} of {min(500, len(texts))}",
        "row_us": lookup(store),
        **rates(texts),
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def forget(tokenizer: Tokenizer) -> None:
    if tokenizer._pieces:
        tokenizer._pieces.forget()


def written(texts: list[str], path: Path, tokenizer: Tokenizer) -> shard.Made:
    return shard.write(shard.documents_of(texts), path, tokenizer, Packing(LENGTH), source="texts")


def knowlm(texts: list[str], language: str, tokenizer: Tokenizer, prefix: Path) -> float:
    """Its `.bin` and `.idx` of the texts; answers the share of tokens that stand in a second sample."""
    encode = tokenizer._reference.encode
    starts = sentences.starts if language == "en" else sentences.knowlm_starts
    bos, eos = tokenizer.vocabulary.bos, tokenizer.vocabulary.eos
    lengths: list[int] = []
    once = 0
    with prefix.with_suffix(".bin").open("wb") as file:
        for text in texts:
            cuts = [0, *starts(text).tolist(), len(text)]
            parts = [encode(text[a:b], add_special_tokens=False).ids for a, b in pairwise(cuts)]
            if bos is not None:
                parts[0] = [bos, *parts[0]]
            if eos is not None:
                parts[-1] = [*parts[-1], eos]
            parts = [part[at : at + LENGTH] for part in parts for at in range(0, len(part), LENGTH)]
            for start, end in greedy([len(part) for part in parts]):
                sample = [token for part in parts[start:end] for token in part]
                file.write(np.array(sample, np.uint16).tobytes())
                lengths.append(len(sample))
            once += sum(map(len, parts))
    starts_of = np.cumsum(lengths, dtype=np.uint64) - np.array(lengths, np.uint64)
    prefix.with_suffix(".idx").write_bytes(starts_of.tobytes() + np.array(lengths, np.uint16).tobytes())
    return sum(lengths) / once - 1


def greedy(lengths: list[int]) -> list[tuple[int, int]]:
    """Runs as KnowLM makes them: to the right while it fits, then to the left."""
    found, begin = [], 0
    while begin < len(lengths):
        total, end = lengths[begin], begin + 1
        while end < len(lengths) and total + lengths[end] <= LENGTH:
            total += lengths[end]
            end += 1
        start = begin
        while start and total + lengths[start - 1] <= LENGTH:
            start -= 1
            total += lengths[start]
        found.append((start, end))
        begin = end
    return found


def stages(texts: list[str], size: int, tokenizer: Tokenizer, path: Path) -> dict[str, float]:
    """Each part of ours by itself, with what the others made; tokenizing from nothing and with all remembered."""
    forget(tokenizer)
    places: list[np.ndarray] = []
    cuts: list[Any] = []

    def tokenized() -> None:
        cuts.clear()
        for start in range(0, len(texts), 200):
            cuts.extend(tokenizer.cut(texts[start : start + 200], places[start : start + 200]))

    def filled() -> None:
        filler = Filler(LENGTH)
        for number, (ids, ends) in enumerate(whole):
            filler.add(ids, number, ends)
            for _ in filler.rows():
                pass
        for _ in filler.rows(last=True):
            pass

    taken = {"sentences": timed(lambda: places.extend(sentences.starts(text) for text in texts))[0]}
    taken["tokens_new"] = timed(tokenized)[0]
    taken["tokens_known"] = timed(tokenized)[0]
    whole = [(cut.ids, [*sorted({*cut.at.tolist()} - {0, len(cut.ids)}), len(cut.ids)]) for cut in cuts]
    taken["fill"] = timed(filled)[0]
    taken["even"] = timed(lambda: [pack.even(np.array(ends), LENGTH) for _, ends in whole if ends[-1] > LENGTH])[0]
    taken["checksums"] = timed(Store(path).check_sums)[0]
    return {name: round(size / max(seconds, 1e-9) / 1e6, 1) for name, seconds in taken.items()}


def lookup(store: Store) -> float:
    """Microseconds to read one row's tokens, anywhere; rows are about full."""
    numbers = np.random.default_rng(0).integers(0, len(store), 20_000).tolist()
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for number in numbers:
            store.row(number)
        rounds.append((time.perf_counter() - start) / len(numbers))
    return round(min(rounds) * 1e6, 2)


if __name__ == "__main__":
    main()
