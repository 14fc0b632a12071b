"""Which rows of which source a global batch holds: a pure function of the seed and the batch's number.

Every global batch (all ranks, all accumulated passes) holds exactly its quota of each source, so any batch is
found without the ones before it: going on after a stop costs what one batch costs, whatever was trained before,
and the same batches come out for any number of ranks.

    order = Order(corpus.rows(), quotas({"wiki": 3, "news": 1}, batch=64), seed=1)
    picks = order.batch(1000)          # picks.sources[i] names the source of the i-th row, picks.rows[i] its number
    mine = picks.share(rank, ranks)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from core.errors import UserError
from train.corpus.shuffle import Shuffle

End = Literal["stop", "refill", "reweight"]
"""What happens when a source has been read to its end while others have not:

stop: the epoch ends there; what other sources have left waits for another order in the next epoch.
refill: the source begins again in a new order; an epoch ends when the last source has been read once.
reweight: its share goes to the others in their proportions, until all rows were given once.
"""


@dataclass(frozen=True, slots=True)
class Picks:
    """The rows of one global batch, in an order of their own."""

    names: tuple[str, ...]
    of: np.ndarray
    """Index into `names`, for each row."""
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sources(self) -> list[str]:
        return [self.names[one] for one in self.of]

    def share(self, rank: int, ranks: int) -> Picks:
        """The rows of one rank: together the ranks have each row once, whatever their number."""
        return Picks(self.names, self.of[rank::ranks], self.rows[rank::ranks])


@dataclass(frozen=True, slots=True)
class _Phase:
    """Batches with the same quotas, from batch `first` of the epoch on; `starts`: rows given of each source before."""

    first: int
    batches: int
    quotas: tuple[int, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Order:
    """`rows`: how many each source has. `quotas`: how many of them every global batch holds."""

    rows: Mapping[str, int]
    quotas: Mapping[str, int]
    seed: int = 0
    end: End = "stop"

    def __post_init__(self) -> None:
        for name, quota in self.quotas.items():
            if not self.rows.get(name):
                raise UserError(
                    "There is no row of the source “{name}”.",
                    remedy="The corpus has: {names}.",
                    name=name,
                    names=", ".join(self.rows) or "none",
                )
            if quota < 1 or (self.end == "stop" and quota > self.rows[name]):
                raise UserError(
                    "A batch can't hold {quota} rows of the source “{name}”, which has {rows}.",
                    remedy="Change the weights or the batch, or choose what happens at a source's end.",
                    quota=quota,
                    name=name,
                    rows=self.rows[name],
                )
        if not self.epoch_batches:
            raise UserError(
                "The corpus has fewer rows ({rows}) than one global batch ({batch}).",
                remedy="Make the batch smaller, or the corpus larger.",
                rows=sum(self._sizes),
                batch=self.size,
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.quotas))

    @property
    def size(self) -> int:
        """Rows a global batch."""
        return sum(self.quotas.values())

    @cached_property
    def epoch_batches(self) -> int:
        """Batches an epoch."""
        return self._phases[-1].first + self._phases[-1].batches if self._phases else 0

    @cached_property
    def unused(self) -> dict[str, int]:
        """Rows of each source that an epoch doesn't reach, since they fill no batch."""
        if self.end == "refill" or not self._phases:
            return {}
        last = self._phases[-1]
        left = {
            name: size - start - last.batches * quota
            for name, size, start, quota in zip(self.names, self._sizes, last.starts, last.quotas, strict=True)
        }
        return {name: count for name, count in left.items() if count}

    def batch(self, number: int) -> Picks:
        """Batch `number`, counted from 0 through all epochs."""
        epoch, at = divmod(number, self.epoch_batches)
        phase = self._phases[bisect_right(self._firsts, at) - 1]
        of, rows = [], []
        for index, (name, quota, start) in enumerate(zip(self.names, phase.quotas, phase.starts, strict=True)):
            if self.end == "refill":
                places = number * quota + np.arange(quota)
            else:
                places = epoch * self._sizes[index] + start + (at - phase.first) * quota + np.arange(quota)
            rows.append(self._rows_at(name, self._sizes[index], places))
            of.append(np.full(quota, index))
        order = Shuffle(self.size, (self.seed, "batch", number))(np.arange(self.size))
        return Picks(self.names, np.concatenate(of)[order], np.concatenate(rows)[order])

    def _rows_at(self, name: str, size: int, places: np.ndarray) -> np.ndarray:
        """The rows at these places of a source's endless stream of epochs, each in an order of its own."""
        epochs, inside = np.divmod(places, size)
        made = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            made[here] = Shuffle(size, (self.seed, name, int(epoch)))(inside[here])
        return made

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(self.rows[name] for name in self.names)

    @cached_property
    def _firsts(self) -> list[int]:
        return [phase.first for phase in self._phases]

    @cached_property
    def _phases(self) -> list[_Phase]:
        wanted = tuple(self.quotas[name] for name in self.names)
        nothing = (0,) * len(wanted)
        pairs = list(zip(self._sizes, wanted, strict=True))
        if self.end == "stop":
            return (
                [_Phase(0, batches, wanted, nothing)]
                if (batches := min(size // quota for size, quota in pairs))
                else []
            )
        if self.end == "refill":
            return [_Phase(0, max(-(-size // quota) for size, quota in pairs), wanted, nothing)]
        return _reweighted(self._sizes, wanted)


def _reweighted(sizes: tuple[int, ...], wanted: tuple[int, ...]) -> list[_Phase]:
    batch, left = sum(wanted), list(sizes)
    phases: list[_Phase] = []
    first = 0
    while sum(left) >= batch:
        quotas = _affordable(wanted, left, batch)
        batches = min(have // quota for have, quota in zip(left, quotas, strict=True) if quota)
        starts = tuple(size - have for size, have in zip(sizes, left, strict=True))
        phases.append(_Phase(first, batches, quotas, starts))
        first += batches
        left = [have - batches * quota for have, quota in zip(left, quotas, strict=True)]
    return phases


def _affordable(wanted: tuple[int, ...], left: list[int], batch: int) -> tuple[int, ...]:
    """Quotas in the wanted proportions, none above what its source has left; their sum is the batch."""
    fixed: dict[int, int] = {at: 0 for at, have in enumerate(left) if not have}
    while True:
        free = [at for at in range(len(left)) if at not in fixed]
        room = batch - sum(fixed.values())
        shares = dict(zip(free, _apportioned([wanted[at] for at in free], room), strict=True))
        short = {at: left[at] for at, share in shares.items() if share > left[at]}
        if not short:
            return tuple({**fixed, **shares}[at] for at in range(len(left)))
        fixed |= short


def _apportioned(weights: list[float] | list[int], total: int) -> list[int]:
    """Whole numbers in these proportions with that sum, by largest remainders."""
    whole = float(sum(weights)) or 1.0
    exact = [weight * total / whole for weight in weights]
    made = [int(share) for share in exact]
    by_rest = sorted(range(len(made)), key=lambda at: (made[at] - exact[at], at))
    for at in by_rest[: total - sum(made)]:
        made[at] += 1
    return made


def quotas(weights: Mapping[str, float], batch: int) -> dict[str, int]:
    """How many rows of each source a global batch holds. Raises UserError: one of them would never be read."""
    names = sorted(weights)
    made = dict(zip(names, _apportioned([weights[name] for name in names], batch), strict=True))
    for name, quota in made.items():
        if not quota:
            raise UserError(
                "With a weight of {weight}, no row of the source “{name}” fits into a batch of {batch}.",
                remedy="Raise its weight or the batch, or leave the source out.",
                weight=weights[name],
                name=name,
                batch=batch,
            )
    return made
