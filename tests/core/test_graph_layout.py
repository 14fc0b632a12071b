"""Positions: repeatable, finite, apart."""

from __future__ import annotations

import itertools
import random
import time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.graph.layout import layout
from core.graph.pack import pack


def tree_and_crumbs(count: int, seed: int = 3) -> nx.MultiDiGraph:
    """Two thirds one connected piece with hubs, the rest small pieces."""
    draw = random.Random(seed)
    graph = nx.MultiDiGraph()
    names = [(f"n{number}", f"T{number % 6}") for number in range(count)]
    graph.add_nodes_from(names)
    large = count * 2 // 3
    for number in range(1, large):
        graph.add_edge(names[number], names[int(number * draw.random() ** 2)])
        if draw.random() < 0.3:
            graph.add_edge(names[number], names[draw.randrange(large)])
    number = large
    while number < count:
        size = draw.choice((1, 2, 2, 3, 5))
        for other in range(number + 1, min(count, number + size)):
            graph.add_edge(names[other], names[draw.randrange(number, other)])
        number += size
    return graph


@pytest.mark.parametrize("count", [1, 2, 3, 60, 900])
def test_the_same_graph_has_the_same_picture(count: int) -> None:
    graph = tree_and_crumbs(count)
    positions = layout(graph)
    assert positions == layout(tree_and_crumbs(count))
    assert set(positions) == set(graph)
    assert np.isfinite(np.array(list(positions.values()))).all()


def test_no_two_nodes_of_a_large_graph_lie_on_each_other() -> None:
    positions = layout(tree_and_crumbs(900))
    assert len(set(positions.values())) == len(positions)


def test_neighbours_are_nearer_than_strangers() -> None:
    graph = tree_and_crumbs(900)
    positions = {node: np.array(place) for node, place in layout(graph).items()}
    near = np.mean([np.linalg.norm(positions[a] - positions[b]) for a, b in graph.edges()])
    draw = random.Random(1)
    nodes = list(graph)
    far = np.mean([np.linalg.norm(positions[draw.choice(nodes)] - positions[draw.choice(nodes)]) for _ in range(2000)])
    assert near < far / 3


def test_ten_thousand_nodes_take_seconds() -> None:
    started = time.monotonic()
    assert len(layout(tree_and_crumbs(10_000))) == 10_000
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("graph", [nx.path_graph(700), nx.star_graph(700), nx.complete_graph(210), nx.cycle_graph(300)])
def test_odd_shapes_are_laid_out(graph: nx.Graph) -> None:
    named = nx.MultiDiGraph()
    named.add_edges_from(((str(a), ""), (str(b), "")) for a, b in graph.edges())
    places = np.array(list(layout(named).values()))
    assert np.isfinite(places).all()
    assert len({tuple(place) for place in places}) > 0.95 * len(places)


def test_an_empty_graph_has_no_positions() -> None:
    assert layout(nx.MultiDiGraph()) == {}


def test_a_node_that_points_at_itself_is_fine() -> None:
    graph = nx.MultiDiGraph()
    graph.add_edge(("a", ""), ("a", ""))
    assert len(layout(graph)) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=25))
def test_packed_shapes_never_touch(sizes: list[int]) -> None:
    draw = np.random.default_rng(5)
    shapes = [draw.random((size, 2)) * np.sqrt(size) * 2 for size in sorted(sizes, reverse=True)]
    moves = pack(shapes)
    placed = [shape + move for shape, move in zip(shapes, moves, strict=True)]
    for one, other in itertools.combinations(placed, 2):
        assert np.linalg.norm(one[:, None] - other[None], axis=2).min() > 0.5
