"""Better, worse or cannot tell: of the same samples before and after, with honest bounds."""

from __future__ import annotations

import tracemalloc

import numpy as np

from train.verdict import compare


def losses(shift: float, spread: float = 0.3, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    tokens = random.integers(1, 30, count).astype(float)
    before = np.stack([tokens * random.uniform(1, 3, count), tokens], 1)
    after = before.copy()
    after[:, 0] += tokens * (shift + random.normal(0, spread, count))
    return before, after


def test_lower_losses_are_better_and_higher_ones_worse() -> None:
    assert compare(*losses(-0.2)).word == "better"
    assert compare(*losses(+0.2)).word == "worse"


def test_a_difference_within_the_noise_cannot_be_told() -> None:
    assert compare(*losses(0.005)).word == "cannot tell"
    before, after = losses(-0.2, count=1)
    assert compare(before, after).word == "cannot tell"
    assert compare(before, before).word == "cannot tell"


def test_losses_are_a_token_and_bounds_hold_the_difference() -> None:
    before, after = losses(-0.2)
    made = compare(before, after)
    assert made.before == before[:, 0].sum() / before[:, 1].sum()
    assert made.low < made.after - made.before < made.high
    assert compare(before, after) == made


def test_bounds_hold_the_truth_as_often_as_they_claim() -> None:
    held = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        before = np.stack([random.uniform(1, 3, 80), np.ones(80)], 1)
        after = before + np.stack([random.normal(-0.1, 0.5, 80), np.zeros(80)], 1)
        made = compare(before, after, seed)
        held += made.low <= -0.1 <= made.high
    assert held >= 88


def test_many_samples_take_little_memory() -> None:
    before, after = losses(-0.2, count=10_000)
    tracemalloc.start()
    assert compare(before, after).word == "better"
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
