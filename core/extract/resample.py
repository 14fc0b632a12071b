"""Intervals by the bootstrap over documents: would another sample of documents tell the same?

Documents with equal counts are interchangeable, so a resample is a multinomial draw over the distinct
counts and their frequencies: the same distribution as drawing documents, without holding them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
SEED = 20240
_TAILS = (2.5, 97.5)
Sums = NDArray[np.float64]


def totals(documents: Counter[tuple[int, ...]]) -> tuple[Sums, Sums]:
    """(sums over the documents, a column a count: n; sums in each resample: RESAMPLES × n).

    `documents` maps a document's counts to the number of documents that have them. Always the same draws.
    """
    rows = sorted(documents)  # the order of documents must not matter
    counts = np.array(rows, dtype=np.float64)
    number = np.array([documents[row] for row in rows], dtype=np.int64)
    drawn = np.random.default_rng(SEED).multinomial(number.sum(), number / number.sum(), size=RESAMPLES)
    return number @ counts, drawn @ counts


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95%; of resamples without anything to score (nan) it tells nothing."""
    known = values[~np.isnan(values)]
    if not known.size:
        return (0.0, 0.0)
    low, high = np.percentile(known, _TAILS)
    return float(low), float(high)


def share(part: Sums, whole: Sums) -> NDArray[np.float64]:
    """part / whole, nan where whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


Measure = Callable[[Sums, Sums, Sums], NDArray[np.float64]]
"""(gold, predicted, correct) to a figure."""


def precision(gold: Sums, predicted: Sums, correct: Sums) -> NDArray[np.float64]:
    return share(correct, predicted)


def recall(gold: Sums, predicted: Sums, correct: Sums) -> NDArray[np.float64]:
    return share(correct, gold)


def f1(gold: Sums, predicted: Sums, correct: Sums) -> NDArray[np.float64]:
    """Micro: 2·correct / (gold + predicted)."""
    return share(2 * correct, gold + predicted)
