"""Which samples are trained on when, and side by side with which: a pure function of lengths, seed and settings.

Order: an epoch is a permutation of groups (samples that share the start of their prompt stay together);
epochs follow each other; the sequence is cut into optimiser steps of `batch` samples. Within a step, samples
are laid into rows of at most `width` tokens, best fit; the shared start of a group is laid down once a row.
Rows are dealt to a fixed number of forward passes. So any step's content can be computed without the ones
before it: that is what makes resuming exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

WORTH_SHARING = 24  # tokens: a shorter common start isn't worth a group
GROUP = 8  # samples: larger groups would make the samples of a step too alike


@dataclass(frozen=True, slots=True)
class Row:
    """Samples laid side by side; each of the `groups` starts with `shared` tokens that its samples have in common."""

    groups: tuple[Group, ...]

    @property
    def tokens(self) -> int:
        return sum(group.tokens for group in self.groups)


@dataclass(frozen=True, slots=True)
class Group:
    samples: tuple[int, ...]
    shared: int
    tokens: int


def groups_of(starts: Sequence[np.ndarray], limits: np.ndarray, size: int = GROUP) -> list[tuple[tuple[int, ...], int]]:
    """Samples whose token sequences start alike, as (numbers, shared tokens), from sorted order.

    `limits[i]`: how many of sample i's tokens may be shared: those before the first one to learn. What is shared
    teaches nothing itself; its last token predicts each sample's own next one.
    """
    order = sorted(range(len(starts)), key=lambda number: np.asarray(starts[number], ">i4").tobytes())
    made: list[tuple[tuple[int, ...], int]] = []
    held: list[int] = []
    common = 0
    for number in order:
        if held and len(held) < size:
            alike = min(_alike(starts[held[-1]], starts[number]), int(limits[number]), common)
            # worth it as long as the group, with a shorter start, still saves more than without this sample
            if alike >= WORTH_SHARING and alike * len(held) >= common * (len(held) - 1):
                held.append(number)
                common = alike
                continue
        if held:
            made.append((tuple(held), common if len(held) > 1 else 0))
        held, common = [number], int(limits[number])
    if held:
        made.append((tuple(held), common if len(held) > 1 else 0))
    return made


def _alike(one: np.ndarray, other: np.ndarray) -> int:
    length = min(len(one), len(other))
    differ = np.nonzero(one[:length] != other[:length])[0]
    return int(differ[0]) if len(differ) else length


@dataclass(frozen=True)
class Plan:
    """`groups`: (samples, shared tokens) pairs that hold every sample once; `lengths`: tokens of each sample."""

    lengths: np.ndarray
    groups: tuple[tuple[tuple[int, ...], int], ...]
    seed: int
    epochs: float
    batch: int
    """Samples an optimiser step."""
    width: int
    """Tokens a row, at most (a longer sample has a row of its own)."""
    pass_tokens: int
    """Tokens a forward pass, about."""
    ranks: int = 1
    max_steps: int = 0

    @property
    def samples(self) -> int:
        return len(self.lengths)

    @cached_property
    def steps(self) -> int:
        wanted = max(1, -(-round(self.samples * self.epochs) // self.batch))
        return min(wanted, self.max_steps) if self.max_steps else wanted

    def epochs_at(self, steps: int) -> float:
        return steps * self.batch / self.samples

    def order(self, epoch: int) -> list[int]:
        """The samples of an epoch in their order."""
        shuffled = np.random.default_rng([self.seed, epoch]).permutation(len(self.groups))
        return [sample for number in shuffled for sample in self.groups[number][0]]

    def step(self, number: int) -> list[int]:
        """The samples of optimiser step `number`, counted from 0, in order."""
        start = number * self.batch
        end = min(start + self.batch, max(round(self.samples * self.epochs), 1))
        made: list[int] = []
        while start < end:
            epoch, at = divmod(start, self.samples)
            taken = self._epoch(epoch)[at : at + end - start]
            made += taken
            start += len(taken)
        return made

    def rows(self, number: int) -> list[Row]:
        """The step's samples laid into rows, longest group first, each where it leaves least room."""
        waiting = sorted(self._grouped(self.step(number)), key=lambda group: -group.tokens)
        rows: list[list[Group]] = []
        room: list[int] = []
        for group in waiting:
            best = min((at for at, left in enumerate(room) if left >= group.tokens), key=room.__getitem__, default=None)
            if best is None:
                rows.append([group])
                room.append(max(self.width, group.tokens) - group.tokens)
            else:
                rows[best].append(group)
                room[best] -= group.tokens
        return [Row(tuple(row)) for row in rows]

    @cached_property
    def passes(self) -> int:
        """Forward passes an optimiser step and rank: enough for the fullest step (looked at: up to 64 of them)."""
        looked = np.unique(np.linspace(0, self.steps - 1, num=min(64, self.steps)).astype(int))
        fullest = max(sum(row.tokens for row in self.rows(int(step))) for step in looked)
        return max(1, round(fullest / self.pass_tokens / self.ranks))

    def dealt(self, number: int) -> list[list[Row]]:
        """The step's rows dealt to `passes * ranks` forward passes, evenly by tokens; a pass may be empty.

        Rows of like length stand together, so that little is padded.
        """
        hands: list[list[Row]] = [[] for _ in range(self.passes * self.ranks)]
        rows = sorted(self.rows(number), key=lambda row: -row.tokens)
        if not rows:
            return hands
        share = sum(row.tokens for row in rows) / len(hands)
        at, held = 0, 0.0
        for left, row in zip(range(len(rows), 0, -1), rows, strict=True):
            full = held + row.tokens / 2 > share * (at + 1)
            if hands[at] and at + 1 < len(hands) and (full or left <= len(hands) - at - 1):
                at += 1
            hands[at].append(row)
            held += row.tokens
        return hands

    def _grouped(self, samples: list[int]) -> list[Group]:
        """The step's samples in their groups; a group that is wider than a row is split."""
        of: dict[int, list[int]] = {}
        for sample in samples:
            of.setdefault(int(self._group_of[sample]), []).append(sample)
        made: list[Group] = []
        for number, members in of.items():
            shared = self.groups[number][1]
            held: list[int] = []
            for sample in members:
                if held and self._tokens([*held, sample], shared) > self.width:
                    made.append(self._group(held, shared))
                    held = []
                held.append(sample)
            made.append(self._group(held, shared))
        return made

    def _group(self, samples: list[int], shared: int) -> Group:
        shared = shared if len(samples) > 1 else 0
        return Group(tuple(samples), shared, self._tokens(samples, shared))

    def _tokens(self, samples: list[int], shared: int) -> int:
        return int(sum(self.lengths[sample] for sample in samples)) - shared * (len(samples) - 1)

    def _epoch(self, epoch: int) -> list[int]:
        if self._cached.get("epoch") != epoch:
            self._cached.update(epoch=epoch, order=self.order(epoch))
        return self._cached["order"]

    @cached_property
    def _cached(self) -> dict:
        return {}

    @cached_property
    def _group_of(self) -> np.ndarray:
        made = np.zeros(self.samples, np.int64)
        for number, (samples, _) in enumerate(self.groups):
            made[list(samples)] = number
        return made
