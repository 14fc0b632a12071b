"""Packing: the fewest samples, the most even of those, full rows; every token once, every sentence whole."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from train.corpus import pack
from train.corpus.fill import Filler
from train.corpus.store import Piece

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=9)


def best_of_all(lengths: list[int], limit: int) -> tuple[int, int]:
    """(samples, least sum of squares), by trying every way."""
    for count in range(len(lengths)):
        found = []
        for cuts in combinations(range(1, len(lengths)), count):
            sums = [sum(lengths[start:end]) for start, end in pairwise([0, *cuts, len(lengths)])]
            if max(sums) <= limit:
                found.append(sum(one**2 for one in sums))
        if found:
            return count + 1, min(found)
    raise AssertionError


@settings(max_examples=300, deadline=None)
@given(LENGTHS, st.integers(9, 24))
def test_samples_are_the_fewest_and_of_those_the_most_even(lengths: list[int], limit: int) -> None:
    ends = np.cumsum(lengths)
    cuts = pack.even(ends, limit)
    sums = np.diff(cuts, prepend=0)
    assert set(cuts) <= set(ends) and cuts[-1] == ends[-1] and sums.max() <= limit
    assert (len(cuts), int((sums**2).sum())) == best_of_all(lengths, limit)
    assert len(pack.fewest(ends, limit)) == len(cuts)


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(20, 40), st.integers(0, 10))
def test_overlap_is_context_of_whole_sentences_and_nothing_is_learned_twice(
    lengths: list[int], limit: int, overlap: int
) -> None:
    ends = np.cumsum(lengths)
    spans = pack.pack(ends, limit, "even", overlap)
    assert [(one.start + one.context, one.end) for one in spans] == list(pairwise([0, *(one.end for one in spans)]))
    for one in spans:
        assert one.end - one.start <= limit and one.context <= overlap
        assert {one.start, one.end} <= {0, *ends.tolist()}
        left = one.start and int(np.diff(ends, prepend=0)[np.flatnonzero(ends == one.start)[0]])
        assert not one.context or not left or one.context + left > overlap or one.start == 0


def test_knowlm_takes_what_fits_to_the_right_and_then_to_the_left() -> None:
    ends = np.cumsum([500, 600, 300, 200, 900, 100, 30])
    spans = pack.pack(ends, 1024, "knowlm")
    assert [(one.start, one.end, one.context) for one in spans] == [
        (0, 500, 0),
        (500, 1400, 0),
        (1100, 1600, 300),
        (1600, 2600, 0),
        (2500, 2630, 100),
    ]


def test_a_sentence_longer_than_a_sample_is_refused() -> None:
    with pytest.raises(UserError, match="longer than a sample"):
        pack.fewest(np.array([5, 30]), 20)


def laid(documents: list[list[int]], length: int) -> list[list[Piece]]:
    """Documents as lengths of sentences; token i of document d is 1000 * d + i."""
    filler = Filler(length)
    rows = []
    for number, lengths in enumerate(documents):
        ends = np.cumsum(lengths).tolist()
        filler.add(np.arange(ends[-1]) + 1_000_000 * number, number, ends)
        rows += list(filler.rows())
    return [*rows, *filler.rows(last=True)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=20), min_size=1, max_size=20))
def test_every_token_is_in_one_row_and_sentences_stay_whole(documents: list[list[int]]) -> None:
    rows = laid(documents, 64)
    assert all(sum(len(piece.ids) for piece in row) <= 64 for row in rows)
    pieces = sorted((piece for row in rows for piece in row), key=lambda piece: (piece.document, piece.offset))
    for number, lengths in enumerate(documents):
        own = [piece for piece in pieces if piece.document == number]
        ids = np.concatenate([piece.ids for piece in own])
        assert ids.tolist() == (np.arange(sum(lengths)) + 1_000_000 * number).tolist()
        assert {piece.offset for piece in own} <= {0, *np.cumsum(lengths).tolist()}


@pytest.mark.parametrize(
    ("name", "sentences"),
    [("short", (2.2, 1.0)), ("mixed", (3.5, 1.2)), ("books", (6.5, 0.3)), ("chapters", (4.1, 0.2))],
)
@pytest.mark.parametrize("tokens", [25, 70])
def test_rows_are_full(name: str, sentences: tuple[float, float], tokens: int) -> None:
    chance = np.random.default_rng(1)
    documents, total = [], 0
    while total < 1_500_000:
        count = max(1, int(chance.lognormal(*sentences)))
        lengths = np.clip(chance.gamma(3, tokens / 3, count).astype(int), 2, 900).tolist()
        documents.append(lengths)
        total += sum(lengths)
    rows = laid(documents, 1024)
    fill = total / (len(rows) * 1024)
    assert fill >= 0.985
    fewest = sum(len(pack.fewest(np.cumsum(lengths), 1024)) for lengths in documents)
    assert sum(len(row) for row in rows) <= 2.3 * fewest, "documents are not cut into crumbs"
