"""Over all documents of an evaluation: precision against recall, and what several runs on one gold say together.

The best of several runs on the same gold is a flattering number: one of them is ahead by luck. So beside it stand the
mean, and the score of choosing: the best on one half of the documents, as it scores on the other half.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.extract import resample

POINTS = 200
HALVES = 200
"""Random splits in two halves."""
_BLOCK = 50
"""Resamples drawn at once: the memory is this times the documents that differ."""


@dataclass(frozen=True)
class Point:
    """With all predictions that are at least so sure."""

    confidence: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Variants:
    """Micro F1 of several runs on the same gold."""

    mean: float
    mean_interval: tuple[float, float]
    lowest: float
    best: float
    best_run: int
    """Its place among the runs."""
    chosen: float
    """Of the run that is best on a random half of the documents, on the other half; the mean over such halves."""


def precision_recall(said: Iterable[tuple[float | None, bool]], gold: int) -> list[Point]:
    """`said`: (confidence, whether right). From the surest down; empty where confidences are missing or all alike."""
    known = sorted(((confidence, right) for confidence, right in said if confidence is not None), reverse=True)
    if not known or known[0][0] == known[-1][0] or not gold:
        return []
    points, right = [], 0
    for number, (confidence, correct) in enumerate(known, start=1):
        right += correct
        if number == len(known) or known[number][0] != confidence:  # equally sure ones come in together
            points.append(Point(confidence, right / number, right / gold))
    step = -(-len(points) // POINTS)
    kept = points[::step]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def variants(documents: Counter[tuple[int, ...]]) -> Variants:
    """`documents`: how many have which (gold, predicted and right of the first run, of the second run, …)."""
    rows = sorted(documents)
    counts = np.array(rows, dtype=np.float64)
    number = np.array([documents[row] for row in rows], dtype=np.int64)
    scores = _f1(number @ counts)
    draw = np.random.default_rng(resample.SEED)
    means: list[NDArray[np.float64]] = []
    for _ in range(resample.RESAMPLES // _BLOCK):
        drawn = draw.multinomial(number.sum(), number / number.sum(), size=_BLOCK)
        means.append(_f1(drawn @ counts).mean(axis=1))
    best = int(scores.argmax())
    return Variants(
        mean=float(scores.mean()),
        mean_interval=resample.interval(np.concatenate(means)),
        lowest=float(scores.min()),
        best=float(scores[best]),
        best_run=best,
        chosen=_chosen(counts, number, draw) if number.sum() > 1 else float(scores[best]),
    )


def _chosen(counts: NDArray[np.float64], number: NDArray[np.int64], draw: np.random.Generator) -> float:
    size = int(number.sum()) // 2
    found = []
    for _ in range(HALVES):
        half = draw.multivariate_hypergeometric(number, size, method="marginals")
        chosen = int(_f1(half @ counts).argmax())
        found.append(_f1((number - half) @ counts)[chosen])
    return float(np.mean(found))


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(…, 1 + 2·runs) to (…, runs); 0 where there is nothing."""
    gold, predicted, right = sums[..., :1], sums[..., 1::2], sums[..., 2::2]
    whole = gold + predicted
    return np.divide(2 * right, whole, out=np.zeros_like(whole), where=whole > 0)
