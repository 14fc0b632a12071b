"""What judged sentences say of the whole run: precision, recall and F1, with 95% intervals.

Records of one sentence are right or wrong together more often than by chance, and what was sampled are sentences.
The figures are ratios of sums over sentences, each weighed by how many sentences of its stratum it stands for. Their
variance is that of a ratio (linearised), which gives the number of independent records that would be as uncertain;
Wilson's interval is taken for that number. It stays between 0 and 1, is wide where little was judged, and where all was
right it does not claim certainty, as a bootstrap over sentences would: then the sentences count, not the records.

Two runs judged on the same sentences are compared in pairs, by resampling the sentences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.extract import resample
from core.extract.score import Comparison

_Z = 1.959963984540054


@dataclass(frozen=True)
class Judged:
    """Of one sentence, in pieces of records: what there is, what the run said, what of that was right."""

    stratum: str
    gold: int
    predicted: int
    correct: int


@dataclass(frozen=True)
class Share:
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class AuditScores:
    sentences: int
    gold: int
    predicted: int
    correct: int
    precision: Share | None
    """None where nothing was found in the sample."""
    recall: Share | None
    """None where there is nothing to find in the sample."""
    f1: Share | None


def scores(judged: Sequence[Judged], population: Mapping[str, int]) -> AuditScores:
    """`population`: how many sentences each stratum has in the run."""
    gold, predicted, correct = (sum(getattr(one, name) for one in judged) for name in ("gold", "predicted", "correct"))
    return AuditScores(
        len(judged),
        gold,
        predicted,
        correct,
        _share([(one.stratum, one.correct, one.predicted) for one in judged], population),
        _share([(one.stratum, one.correct, one.gold) for one in judged], population),
        _share([(one.stratum, 2 * one.correct, one.gold + one.predicted) for one in judged], population, each=2),
    )


def _share(sentences: Sequence[tuple[str, int, int]], population: Mapping[str, int], *, each: int = 1) -> Share | None:
    """`sentences`: (stratum, part, whole). `each`: what one record adds to the whole."""
    if any(number and name not in {one for one, *_ in sentences} for name, number in population.items()):
        return None  # nothing of that stratum was judged yet, so nothing is known of the whole
    strata: dict[str, list[tuple[int, int]]] = {}
    for stratum, *counts in sentences:
        strata.setdefault(stratum, []).append((counts[0], counts[1]))
    weight = {name: population.get(name, len(found)) / len(found) for name, found in strata.items()}
    part = sum((weight[name] * one for name, found in strata.items() for one, _ in found), 0.0)
    whole = sum((weight[name] * one for name, found in strata.items() for _, one in found), 0.0)
    if not whole:
        return None
    value = part / whole
    variance = 0.0
    for name, found in strata.items():
        size, all_of_them = len(found), population.get(name, len(found))
        rest = [one - value * of for one, of in found]
        mean = sum(rest) / size
        spread = sum((one - mean) ** 2 for one in rest) / (size - 1) if size > 1 else 0.0
        variance += weight[name] ** 2 * size * spread * max(0.0, 1 - size / max(all_of_them, 1))
    variance /= whole**2
    return Share(value, wilson(value, _alike(value, variance, sentences, population, each)))


def _alike(
    value: float, variance: float, sentences: Sequence[tuple[str, int, int]], population: Mapping[str, int], each: int
) -> float:
    """How many independent records would be as uncertain; at most as many as there are; infinite if all were judged."""
    if len(sentences) >= sum(population.values()):
        return math.inf
    with_some = sum(whole > 0 for _, _, whole in sentences)
    records = sum(whole for _, _, whole in sentences) / each
    if not 0 < value < 1 or variance <= 0:
        return with_some
    return max(1.0, min(records, value * (1 - value) / variance))


def wilson(share: float, number: float) -> tuple[float, float]:
    """Of a share seen in that many independent trials."""
    if math.isinf(number):
        return share, share
    z2 = _Z * _Z
    middle = (share + z2 / (2 * number)) / (1 + z2 / number)
    half = _Z / (1 + z2 / number) * math.sqrt(share * (1 - share) / number + z2 / (4 * number * number))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if share <= 0 else low), (1.0 if share >= 1 else high)


def compared(pairs: Sequence[tuple[Judged, Judged]], population: Mapping[str, int]) -> Comparison:
    """Is the second run's F1 better than the first's? `pairs`: each sentence as judged for both."""
    chance = np.random.default_rng(resample.SEED)
    sums, draws = np.zeros(6), np.zeros((resample.RESAMPLES, 6))
    for stratum in sorted({one.stratum for one, _ in pairs}):
        table = np.array([_counts(one, other) for one, other in pairs if one.stratum == stratum], dtype=np.float64)
        weight = population.get(stratum, len(table)) / len(table)
        drawn = chance.multinomial(len(table), np.full(len(table), 1 / len(table)), size=resample.RESAMPLES)
        sums += weight * table.sum(axis=0)
        draws += weight * (drawn @ table)
    before, after = _f1(sums[:3]), _f1(sums[3:])
    low, high = resample.interval(_f1(draws[:, 3:]) - _f1(draws[:, :3]))
    verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    return Comparison(
        verdict,  # type: ignore[arg-type]
        float(after - before),
        (low, high),
        float(before),
        float(after),
        documents=len(pairs),
    )


def _counts(one: Judged, other: Judged) -> tuple[int, ...]:
    return (one.gold, one.predicted, one.correct, other.gold, other.predicted, other.correct)


def _f1(sums: np.ndarray) -> np.ndarray:
    return np.nan_to_num(resample.f1(*(sums[..., column] for column in range(3))))
