"""The plan: every sample once an epoch, rows no wider than asked, shared starts really shared, all of it determined."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from train.packing import GROUP, WORTH_SHARING, Group, Plan, groups_of

STARTS = [list(range(seed, seed + 60)) for seed in (100, 200, 300)]
samples = some.lists(
    some.tuples(some.integers(0, 2), some.integers(0, 60), some.lists(some.integers(0, 5), min_size=1, max_size=40)),
    min_size=1,
    max_size=60,
)


def made_of(drawn: list[tuple[int, int, list[int]]]) -> tuple[list[np.ndarray], np.ndarray]:
    """Token sequences that start alike in part, and how many of each one's tokens may be shared."""
    tokens = [np.asarray(STARTS[which][:length] + rest, np.int32) for which, length, rest in drawn]
    return tokens, np.asarray([len(one) - 1 for one in tokens])


def plan_of(tokens: list[np.ndarray], limits: np.ndarray, **rest: object) -> Plan:
    usual: dict = {"seed": 1, "epochs": 1.0, "batch": 8, "width": 120, "pass_tokens": 240}
    usual["width"] = max(120, *map(len, tokens)) if "width" not in rest else rest["width"]
    return Plan(np.asarray([len(one) for one in tokens]), tuple(groups_of(tokens, limits)), **(usual | rest))


@given(samples)
def test_groups_hold_every_sample_once_and_share_what_is_alike(drawn: list) -> None:
    tokens, limits = made_of(drawn)
    groups = groups_of(tokens, limits)
    assert sorted(number for members, _ in groups for number in members) == list(range(len(tokens)))
    for members, shared in groups:
        assert len(members) <= GROUP
        assert shared == 0 if len(members) == 1 else shared >= WORTH_SHARING
        for number in members:
            assert shared <= limits[number]
            assert np.array_equal(tokens[number][:shared], tokens[members[0]][:shared])


@settings(deadline=None)
@given(samples, some.integers(1, 20), some.floats(0.2, 3.5), some.integers(1, 3), some.integers(0, 5))
def test_a_plan_passes_over_nothing_and_repeats_nothing(
    drawn: list, batch: int, epochs: float, ranks: int, seed: int
) -> None:
    tokens, limits = made_of(drawn)
    plan = plan_of(tokens, limits, batch=batch, epochs=epochs, ranks=ranks, seed=seed)
    count = len(tokens)
    steps = [plan.step(number) for number in range(plan.steps)]
    whole = [number for step in steps for number in step]
    assert len(whole) == max(1, round(count * epochs))
    assert all(len(step) == batch for step in steps[:-1]) and 0 < len(steps[-1]) <= batch
    for epoch in range(0, len(whole), count):  # each epoch's samples are distinct; whole epochs hold all
        part = whole[epoch : epoch + count]
        assert len(set(part)) == len(part)
    for number, step in enumerate(steps):
        dealt = plan.dealt(number)
        assert len(dealt) == plan.passes * ranks
        rows = [row for hand in dealt for row in hand]
        assert Counter(one for row in rows for group in row.groups for one in group.samples) == Counter(step)
        for row in rows:
            assert row.tokens <= plan.width
            for group in row.groups:
                assert group.tokens == sum(len(tokens[one]) for one in group.samples) - group.shared * (
                    len(group.samples) - 1
                )
                first = tokens[group.samples[0]][: group.shared]
                assert all(np.array_equal(tokens[one][: group.shared], first) for one in group.samples)


@settings(deadline=None)
@given(samples, some.integers(0, 9))
def test_any_step_is_the_same_whenever_it_is_computed(drawn: list, seed: int) -> None:
    tokens, limits = made_of(drawn)
    forward = plan_of(tokens, limits, seed=seed, epochs=2.0)
    backward = plan_of(tokens, limits, seed=seed, epochs=2.0)
    said = {number: backward.dealt(number) for number in reversed(range(backward.steps))}
    assert all(said[number] == forward.dealt(number) for number in range(forward.steps))


def test_another_seed_is_another_order_and_each_epoch_has_its_own() -> None:
    tokens, limits = [np.asarray([number]) for number in range(100)], np.zeros(100, int)
    one, other = plan_of(tokens, limits, seed=1, epochs=2.0), plan_of(tokens, limits, seed=2)
    assert one.order(0) != other.order(0)
    assert one.order(0) != one.order(1)
    assert sorted(one.order(1)) == list(range(100))


def test_a_plan_stops_at_the_steps_that_were_asked_for() -> None:
    tokens, limits = [np.asarray([number]) for number in range(100)], np.zeros(100, int)
    assert plan_of(tokens, limits, batch=8, epochs=3.0, max_steps=5).steps == 5
    assert plan_of(tokens, limits, batch=8, epochs=0.1, max_steps=5).steps == 2


def test_rows_are_full_to_95_percent_on_lengths_as_instruction_data_have_them() -> None:
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(4.9, 0.5, 5000), 20, 512).astype(int)
    groups = tuple(((number,), 0) for number in range(len(lengths)))
    plan = Plan(lengths, groups, seed=0, epochs=1, batch=128, width=512, pass_tokens=4096)
    filled = laid = padded = 0
    for number in range(plan.steps - 1):
        for hand in plan.dealt(number):
            laid += 512 * len(hand)
            filled += sum(row.tokens for row in hand)
            padded += max((row.tokens for row in hand), default=0) * len(hand)
    assert filled / padded >= 0.97  # what the model computes
    assert filled / laid >= 0.95


def test_passes_of_a_step_are_alike_in_size() -> None:
    lengths = np.random.default_rng(1).integers(20, 300, 2000)
    groups = tuple(((number,), 0) for number in range(len(lengths)))
    plan = Plan(lengths, groups, seed=0, epochs=1, batch=128, width=512, pass_tokens=2048, ranks=2)
    for number in range(plan.steps - 1):
        sizes = [sum(row.tokens for row in hand) for hand in plan.dealt(number)]
        assert max(sizes) <= 1.5 * min(sizes)


def test_a_group_wider_than_a_row_is_split() -> None:
    tokens = [np.arange(100, dtype=np.int32) for _ in range(8)]
    plan = plan_of(tokens, np.asarray([50] * 8), width=160)
    groups = [group for row in plan.rows(0) for group in row.groups]
    assert sorted(one for group in groups for one in group.samples) == list(range(8))
    assert all(isinstance(group, Group) and group.tokens <= 160 for group in groups)
    assert len(groups) == 4
