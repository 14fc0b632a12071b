"""Rows of token stores as the passes of a pretraining: which rank learns from which row in which step, and as what
tensors. A pure function of the corpora, the seed and the settings; any step is found without the ones before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from core.launchers.pretrain_request import PretrainRequest, pairs
from train.collate import EVEN
from train.corpus.mix import Order, quotas
from train.corpus.store import Corpus, Row, Source
from train.corpus.tokens import fingerprint

NONE = -1
A_TENTH = 10


@dataclass(frozen=True)
class Rows:
    """The rows of several sources under one number each: those of the first source, then those of the next."""

    sources: tuple[Source, ...]

    @cached_property
    def starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(source) for source in self.sources)])

    def __getitem__(self, number: int) -> Row:
        at = self.source_of(number)
        return self.sources[at].row(number - int(self.starts[at]))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def source_of(self, number: int) -> int:
        return int(np.searchsorted(self.starts, number, "right")) - 1


@dataclass(frozen=True)
class Data:
    """What is trained on and what is kept for validation."""

    rows: Rows
    """Of the sources that are trained on, then of those that are only for validation."""
    order: Order
    length: int
    held_out: tuple[int, ...]
    """Numbers of the validation rows."""
    parts: dict[str, np.ndarray]
    """Which of these each source has."""

    def numbers(self, batch: int) -> np.ndarray:
        """The rows of a global batch, in its order."""
        picks = self.order.batch(batch)
        return np.asarray([self._starts[name] for name in picks.names], np.int64)[picks.of] + picks.rows

    @cached_property
    def _starts(self) -> dict[str, int]:
        pairs_of = list(zip(self.rows.sources, self.rows.starts, strict=False))
        return {source.name: int(start) for source, start in reversed(pairs_of)}  # the first of a name is trained on


def opened(request: PretrainRequest, tokenizer: Any) -> Data:
    """Raises UserError: corpora of another tokenizer, of different lengths, too small, or with no such source."""
    whose = fingerprint(tokenizer.backend_tokenizer) if getattr(tokenizer, "is_fast", False) else ""
    corpora = [Corpus(folder, fingerprint=whose) for folder in request.corpus]
    sources = sources_of(corpora)
    shares = {name: float(share) for name, share in pairs(request.weights).items()}
    apart = sources_of(Corpus(folder, fingerprint=whose) for folder in request.validation)
    wanted = request.validation_rows
    kept = {name: 0 if apart else min(wanted, len(own) // A_TENTH) for name, own in sources.items()}
    trained = {name: len(own) - kept[name] for name, own in sources.items() if not shares or name in shares}
    order = Order(trained, quotas(shares or trained, request.batch), seed=request.seed, end=request.end)
    rows = Rows((*sources.values(), *apart.values()))
    held_out: list[int] = []
    parts: dict[str, np.ndarray] = {}
    for at, source in enumerate(rows.sources):
        if at < len(sources):
            chosen = range(len(source) - kept[source.name], len(source))
        else:
            chosen = range(min(len(source), wanted))
        if len(chosen):
            parts[source.name] = np.arange(len(held_out), len(held_out) + len(chosen))
            held_out += [int(rows.starts[at]) + number for number in chosen]
    return Data(rows, order, corpora[0].length, tuple(held_out), parts)


def sources_of(corpora: Iterable[Corpus]) -> dict[str, Source]:
    """All sources by name; those of the same name in several folders follow each other."""
    stores: dict[str, list[Any]] = {}
    for corpus in corpora:
        for name, source in corpus.sources.items():
            stores.setdefault(name, []).extend(source.stores)
    return {name: Source(name, own) for name, own in sorted(stores.items())}


@dataclass(frozen=True)
class Plan:
    """`Plan` of trainer.py. A step's rows are dealt in order, evenly to all passes of all ranks."""

    data: Data
    batch: int
    micro: int
    """Rows a pass, at most."""
    ranks: int
    epochs: float
    max_steps: int = 0

    @cached_property
    def steps(self) -> int:
        return self.max_steps or max(1, round(self.epochs * self.data.order.epoch_batches))

    @cached_property
    def passes(self) -> int:
        return -(-self.batch // (self.micro * self.ranks))

    def epochs_at(self, steps: int) -> float:
        return steps / self.data.order.epoch_batches

    def step(self, number: int) -> np.ndarray:
        """The rows of optimiser step `number`, counted from 0, whoever learns from them."""
        return self.data.numbers(number)

    def dealt(self, number: int) -> list[list[int]]:
        return [hand.tolist() for hand in np.array_split(self.step(number), self.passes * self.ranks)]


def collate(
    numbers: list[int], rows: Rows, *, pad: int, micro: int, apart: bool, of: dict[int, int] | None = None
) -> dict[str, Any]:
    """Rows of a pass as collate.tensors has them, and `samples`: their numbers, filled up to `micro` with -1.

    Where a row holds several samples they don't see each other, positions start again in each; `apart` says that
    the model can't be told so: then each sample gets a row of its own. Padding stands at the end, where a causal
    model doesn't see it. `of`: what a validation row's number is told as.
    """
    import torch

    told = np.full(micro, NONE, np.int64)
    told[: len(numbers)] = numbers
    laid = [(place, piece) for place, number in enumerate(numbers) for piece in _pieces(rows[number], apart)]
    length = -(-max((len(piece.ids) for _, piece in laid), default=1) // EVEN) * EVEN
    shape = (max(1, len(laid)), length)
    ids, positions = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    own = np.full(shape, NONE, np.int64)
    predicts, targets, belongs = [], [], []
    for at, (place, piece) in enumerate(laid):
        width = len(piece.ids)
        ids[at, :width], positions[at, :width] = piece.ids, piece.positions
        own[at, :width] = np.repeat(np.arange(len(piece.ends)), np.diff(piece.ends, prepend=0))
        where = np.flatnonzero(piece.learned)
        predicts.append(where - 1 + at * length)
        targets.append(ids[at, where])
        belongs.append(np.full(len(where), of.get(numbers[place], 0) if of else 0))
    made = {
        "input_ids": torch.from_numpy(ids),
        "predicts": torch.from_numpy(_joined(predicts)),
        "targets": torch.from_numpy(_joined(targets)),
        "of": torch.from_numpy(_joined(belongs)),
        "tokens": torch.tensor(sum(len(piece.ids) for _, piece in laid)),
        "samples": torch.from_numpy(told),
    }
    if all(len(piece.ends) == 1 for _, piece in laid):
        return made
    order = np.arange(length)
    sees = (own[:, :, None] == own[:, None, :]) & (order[:, None] >= order[None, :])[None]
    return made | {
        "position_ids": torch.from_numpy(positions),
        "attention_mask": torch.from_numpy(sees[:, None]),
    }


def _pieces(row: Row, apart: bool) -> list[Row]:
    """The row, or each of its samples as a row."""
    if not apart or len(row.ends) == 1:
        return [row]
    starts = np.concatenate(([0], row.ends[:-1]))
    return [
        Row(row.ids[start:end], np.asarray([end - start]), row.context[at : at + 1], row.document[at : at + 1])
        for at, (start, end) in enumerate(zip(starts, row.ends, strict=True))
    ]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)
