"""Whether training helped, from the validation samples' losses before and after it: better, worse or cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

RESAMPLES = 2000
Word = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True)
class Verdict:
    """Losses in nats a learned token; `low` and `high` bound their difference (after - before) at 95%."""

    before: float
    after: float
    low: float
    high: float
    samples: int

    @property
    def word(self) -> Word:
        if self.samples < 2 or self.low <= 0 <= self.high:
            return "cannot tell"
        return "better" if self.high < 0 else "worse"


def compare(before: np.ndarray, after: np.ndarray, seed: int = 0) -> Verdict:
    """Of two (samples, 2) arrays of (nats, learned tokens): a paired bootstrap over samples."""
    rng, count = np.random.default_rng(seed), len(before)
    change, tokens = after[:, 0] - before[:, 0], before[:, 1]
    differences = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = rng.integers(0, count, count)
        differences[number] = change[drawn].sum() / max(tokens[drawn].sum(), 1)
    low, high = np.quantile(differences, [0.025, 0.975])
    total = max(before[:, 1].sum(), 1)
    return Verdict(before[:, 0].sum() / total, after[:, 0].sum() / total, float(low), float(high), len(before))
