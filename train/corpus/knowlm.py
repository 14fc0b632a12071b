"""KnowLM's own pretraining data, read and written: PREFIX.bin, PREFIX.idx and PREFIX.dis (../shared/design/formats.md).

`.bin`: the samples' token ids as uint16, one after the other. `.idx`: where each begins (uint64, in tokens), then how
long each is (uint16). `.dis`: a list saved by torch, how many of the samples belong to each kind of source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from core.errors import UserError
from core.weights import durable
from train.corpus.store import Corpus, Piece, Store, Vocabulary, Writer

LARGEST = 1 << 16
"""Token ids and lengths of samples stay below this."""
_ITEM = 10  # bytes of .idx a sample


@dataclass(frozen=True)
class Samples:
    """Sample i is `tokens[starts[i] : starts[i] + lengths[i]]`; the first `counts[0]` are of the first source, …"""

    tokens: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    counts: tuple[int, ...]

    def sample(self, number: int) -> np.ndarray:
        start = int(self.starts[number])
        return self.tokens[start : start + int(self.lengths[number])]

    @cached_property
    def longest(self) -> int:
        return int(self.lengths.max())


def files(prefix: Path) -> dict[str, Path]:
    """The three files of a prefix, which may be given with any of their endings."""
    stem = prefix.with_suffix("") if prefix.suffix in (".bin", ".idx", ".dis") else prefix
    return {end: stem.with_name(f"{stem.name}.{end}") for end in ("bin", "idx", "dis")}


def read(prefix: Path) -> Samples:
    """Raises UserError: a file is missing, cut short, or says what can't be."""
    found = files(prefix)
    for end in ("bin", "idx"):
        if not found[end].is_file():
            raise UserError(
                "{path} is missing.",
                remedy="Name what PREFIX.bin and PREFIX.idx begin with.",
                path=found[end],
            )
    size, index = found["bin"].stat().st_size, found["idx"].stat().st_size
    if size % 2 or index % _ITEM or not index:
        raise UserError(
            "{path} is cut short or empty: its size of {size} bytes can't be.",
            remedy="Copy it again.",
            path=found["bin"] if size % 2 else found["idx"],
            size=size if size % 2 else index,
        )
    count = index // _ITEM
    starts = np.fromfile(found["idx"], "<u8", count)
    lengths = np.fromfile(found["idx"], "<u2", count, offset=8 * count)
    tokens = np.memmap(found["bin"], "<u2", "r")
    ends = starts + lengths
    if int(ends.max()) > len(tokens) or int(starts.max()) > len(tokens):
        raise UserError(
            "{path} holds {tokens} tokens; its index reaches to {reach}.",
            remedy="Copy both files again: they don't belong together, or one is cut short.",
            path=found["bin"],
            tokens=len(tokens),
            reach=int(ends.max()),
        )
    return Samples(tokens, starts, lengths, _counts(found["dis"], count))


def _counts(path: Path, samples: int) -> tuple[int, ...]:
    if not path.is_file():
        return (samples,)
    import torch

    try:
        counts = torch.load(path, weights_only=True, map_location="cpu")
        made = tuple(int(one) for one in counts) or (samples,)
    except Exception as error:  # a damaged pickle raises what it likes
        raise UserError(
            "{path} is no list of counts: {why}",
            remedy="Copy it again, or remove it: then all samples are of one source.",
            path=path,
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
        ) from error
    if sum(made) != samples or min(made) < 0:
        raise UserError(
            "{path} counts {counted} samples; the index has {samples}.",
            remedy="Copy all three files again, or remove this one: then all samples are of one source.",
            path=path,
            counted=sum(made),
            samples=samples,
        )
    return made


def to_stores(
    samples: Samples, out: Path, vocabulary: Vocabulary, names: tuple[str, ...], length: int
) -> Iterator[int]:
    """Writes a store a source; yields how many samples are done. Samples stay as they are, each a row of its own."""
    done = 0
    for name, count in zip(names, samples.counts, strict=True):
        path = out / f"{name}.tokens"
        with Writer(path, vocabulary, source=name, length=length, mode="knowlm") as writer:
            document, offset, ended = -1, 0, True
            for number in range(done, done + count):
                ids = samples.sample(number)
                # BOS stands before a document's first sample, EOS behind its last
                if ended or (len(ids) and ids[0] == vocabulary.bos):
                    document, offset = document + 1, 0
                writer.row([Piece(ids, document, 0, offset)])
                offset += len(ids)
                ended = vocabulary.eos is None or (len(ids) > 0 and int(ids[-1]) == vocabulary.eos)
                if number % 10_000 == 0:
                    yield number
        done += count
    yield done


def write(corpus: Corpus, prefix: Path) -> Iterator[int]:
    """Writes the three files; yields how many samples are done. Raises UserError: ids or lengths beyond uint16.

    KnowLM learns every token of a sample, so what is only context in ours is left out.
    """
    if corpus.vocabulary.size > LARGEST:
        raise UserError(
            "KnowLM's format holds token ids up to 65,535; this vocabulary has {size}.",
            remedy="Keep the corpus in this program's own format, which holds any vocabulary.",
            size=corpus.vocabulary.size,
        )
    stores = [store for source in corpus.sources.values() for store in source.stores]
    lengths = np.concatenate([_written(store) for store in stores])
    if int(lengths.max(initial=0)) >= LARGEST:
        raise UserError(
            "KnowLM's format holds samples of up to 65,535 tokens; one here has {tokens}.",
            remedy="Build the corpus with a smaller length.",
            tokens=int(lengths.max()),
        )
    found = files(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    parts = {end: path.with_name(f".{path.name}.part") for end, path in found.items()}
    try:
        with parts["bin"].open("wb") as file:
            done = 0
            for store in stores:
                _copy_tokens(store, file)
                done += store.head.samples
                yield done
        with parts["idx"].open("wb") as file:
            file.write((np.cumsum(lengths) - lengths).astype("<u8").tobytes())
            file.write(lengths.astype("<u2").tobytes())
        _save_counts([sum(store.head.samples for store in one.stores) for one in corpus.sources.values()], parts["dis"])
        for end, part in parts.items():
            durable.publish(part, found[end])
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _written(store: Store) -> np.ndarray:
    """Tokens of each sample that are written."""
    return store.lengths if store.head.mode == "knowlm" else store.lengths - store.sample_context


def _copy_tokens(store: Store, file: BinaryIO) -> None:
    if store.head.mode != "knowlm" and store.sample_context.any():
        for number, context in enumerate(store.sample_context.tolist()):
            file.write(store.sample(number)[context:].astype("<u2").tobytes())
        return
    for start in range(0, len(store.tokens), 1 << 20):
        file.write(store.tokens[start : start + (1 << 20)].astype("<u2").tobytes())


def _save_counts(counts: list[int], path: Path) -> None:
    import torch

    torch.save(counts, path)
