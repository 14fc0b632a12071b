"""The order of training: a permutation that is computed, exact quotas, and ends of sources as was asked."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from train.corpus.mix import Order, quotas
from train.corpus.shuffle import Shuffle

ROWS = {"web": 103, "books": 50, "code": 7}
QUOTAS = {"web": 5, "books": 2, "code": 1}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 5))
def test_a_shuffle_is_a_permutation_and_any_place_of_it_is_found_alone(size: int, seed: int) -> None:
    shuffle = Shuffle(size, (seed, "web"))
    whole = shuffle(np.arange(size))
    assert sorted(whole.tolist()) == list(range(size))
    place = size * 2 // 3
    assert shuffle(np.array([place])).tolist() == [whole[place]]


def test_a_shuffle_of_a_billion_is_one_to_one_where_it_is_looked_at() -> None:
    found = Shuffle(10**9, (1,))(np.arange(123_456_789, 123_456_789 + 200_000))
    assert len(np.unique(found)) == 200_000 and found.min() >= 0 and found.max() < 10**9


def test_a_shuffle_leaves_no_trace_of_the_order() -> None:
    found = Shuffle(100_000, (7,))(np.arange(100_000))
    assert abs(np.corrcoef(found, np.arange(100_000))[0, 1]) < 0.02
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02
    parts = np.bincount(found[:10_000] // 1000, minlength=100)  # what of each hundredth comes in the first tenth
    assert float(((parts - 100) ** 2 / 100).sum()) < 160  # chi², 99 degrees of freedom
    other = Shuffle(100_000, (8,))(np.arange(100_000))
    assert (found == other).mean() < 0.001


def rows_of(order: Order, batches: int) -> list[tuple[str, int]]:
    return [
        (source, row)
        for number in range(batches)
        for source, row in zip(order.batch(number).sources, order.batch(number).rows.tolist(), strict=True)
    ]


@pytest.mark.parametrize("end", ["stop", "refill"])
def test_every_batch_holds_its_quotas_exactly(end: str) -> None:
    order = Order(ROWS, QUOTAS, seed=3, end=end)  # type: ignore[arg-type]
    for number in range(2 * order.epoch_batches):
        assert Counter(order.batch(number).sources) == QUOTAS


def test_stop_ends_the_epoch_with_the_first_source_and_repeats_nothing_in_it() -> None:
    order = Order(ROWS, QUOTAS, seed=3)
    seen = rows_of(order, order.epoch_batches)
    assert order.epoch_batches == 7 and len(set(seen)) == len(seen)
    assert order.unused == {"web": 103 - 35, "books": 50 - 14}
    again = [order.batch(order.epoch_batches + number).rows.tolist() for number in range(7)]
    assert again != [order.batch(number).rows.tolist() for number in range(7)], "another epoch, another order"


def test_refill_gives_each_source_again_only_when_all_of_it_was_given() -> None:
    order = Order(ROWS, QUOTAS, seed=3, end="refill")
    assert order.epoch_batches == 25
    seen = rows_of(order, 2 * order.epoch_batches)
    for name, size in ROWS.items():
        own = [row for source, row in seen if source == name]
        times = Counter(own)
        assert max(times.values()) - min(times.values()) <= 1 and len(times) == min(size, len(own))


def test_reweight_gives_every_row_once_and_fills_up_from_the_others() -> None:
    order = Order(ROWS, QUOTAS, seed=3, end="reweight")
    seen = rows_of(order, order.epoch_batches)
    assert (
        order.epoch_batches == 20
        and len(seen) == 160
        and set(seen) == {(name, row) for name, size in ROWS.items() for row in range(size)}
    )
    assert Counter(order.batch(0).sources) == QUOTAS
    assert all(len(order.batch(number)) == 8 for number in range(20))
    assert order.unused == {}
    assert Order({"a": 10, "b": 3}, {"a": 2, "b": 2}, end="reweight").unused == {"a": 1}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 5)), min_size=1, max_size=4),
    st.sampled_from(["stop", "refill", "reweight"]),
)
def test_batches_are_always_of_one_size_and_epochs_without_replacement(pairs: list, end: str) -> None:
    rows = {f"s{at}": pair[0] for at, pair in enumerate(pairs)}
    wanted = {f"s{at}": pair[1] for at, pair in enumerate(pairs)}
    try:
        order = Order(rows, wanted, seed=1, end=end)  # type: ignore[arg-type]
    except UserError:
        return
    seen = rows_of(order, order.epoch_batches)
    assert len(seen) == order.epoch_batches * sum(wanted.values())
    if end != "refill":
        assert len(set(seen)) == len(seen)
        assert len(seen) + sum(order.unused.values()) == sum(rows.values())
    else:
        assert len(set(seen)) == sum(rows.values())


def test_ranks_share_a_batch_the_same_way_whatever_their_number() -> None:
    batch = Order(ROWS, QUOTAS, seed=3).batch(5)
    whole = sorted(zip(batch.sources, batch.rows.tolist(), strict=True))
    for ranks in (1, 2, 4, 3):
        shares = [batch.share(rank, ranks) for rank in range(ranks)]
        assert sorted(pair for one in shares for pair in zip(one.sources, one.rows.tolist(), strict=True)) == whole


def test_any_batch_is_found_without_the_ones_before_it() -> None:
    order = Order({"web": 10**9, "books": 10**8}, {"web": 480, "books": 32}, seed=1, end="refill")
    number = 1_234_567
    fresh = Order({"books": 10**8, "web": 10**9}, {"books": 32, "web": 480}, seed=1, end="refill")
    assert order.batch(number).rows.tolist() == fresh.batch(number).rows.tolist()


def test_an_added_source_leaves_the_others_in_their_order() -> None:
    alone = Order({"web": 103}, {"web": 5}, seed=3)
    more = Order(ROWS, QUOTAS, seed=3)
    for number in range(5):
        batch = more.batch(number)
        own = sorted(batch.rows[[source == "web" for source in batch.sources]].tolist())
        assert own == sorted(alone.batch(number).rows.tolist())


def test_quotas_follow_the_weights_and_their_sum_is_the_batch() -> None:
    assert quotas({"web": 3, "books": 1}, 64) == {"web": 48, "books": 16}
    assert quotas({"a": 1, "b": 1, "c": 1}, 64) in ({"a": 22, "b": 21, "c": 21},)
    with pytest.raises(UserError, match="no row of the source “rare” fits"):
        quotas({"web": 1000, "rare": 1}, 64)


def test_what_can_not_be_mixed_is_refused() -> None:
    with pytest.raises(UserError, match="no row of the source “news”"):
        Order(ROWS, {"news": 1})
    with pytest.raises(UserError, match="can't hold 8 rows of the source “code”"):
        Order(ROWS, {"web": 1, "code": 8})
    with pytest.raises(UserError, match="fewer rows"):
        Order({"web": 3}, {"web": 4}, end="reweight")
