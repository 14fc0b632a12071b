"""Whether training helped, from the validation samples' losses before and after it: better, worse or cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

RESAMPLES = 2000
HELD = 5_000_000  # counts
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
    block = max(1, HELD // count)  # all resamples of many samples at once would fill the memory
    differences = []
    for start in range(0, RESAMPLES, block):
        weights = rng.multinomial(count, [1 / count] * count, min(block, RESAMPLES - start))
        tokens = np.maximum(weights @ before[:, 1], 1)
        differences.append(weights @ (after[:, 0] - before[:, 0]) / tokens)
    low, high = np.quantile(np.concatenate(differences), [0.025, 0.975])
    total = max(before[:, 1].sum(), 1)
    return Verdict(before[:, 0].sum() / total, after[:, 0].sum() / total, float(low), float(high), len(before))
