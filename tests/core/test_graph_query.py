"""Asking for a part of a graph."""

from __future__ import annotations

import pytest

from core.graph.build import build
from core.graph.query import Query, neighbours, select, top
from core.graph.source import extractions
from core.paths import ASSETS


@pytest.fixture(scope="module")
def graph():
    return build(extractions(ASSETS / "samples" / "sample_run"))


CURIE, EINSTEIN = ("marie curie", "Person"), ("albert einstein", "Person")


def test_asking_nothing_gives_the_graph_itself(graph) -> None:
    assert select(graph, Query()).graph is graph


def test_types_keep_only_their_nodes(graph) -> None:
    found = select(graph, Query(types=frozenset({"Person"}))).graph
    assert {type for _, type in found.nodes(data="type")} == {"Person"}
    assert found.has_edge(CURIE, EINSTEIN)


def test_relations_keep_what_they_join(graph) -> None:
    found = select(graph, Query(relations=frozenset({"spouse"}))).graph
    assert set(found) == {CURIE, ("pierre curie", "Person")}


def test_a_name_is_found_with_its_neighbours_whatever_its_letters(graph) -> None:
    found = select(graph, Query(text="ＵＬＭ")).graph
    assert set(found) == {("ulm", "Location"), EINSTEIN}


def test_hops_widen_the_circle(graph) -> None:
    one, two = (len(neighbours(graph, [("ulm", "Location")], hops)) for hops in (1, 2))
    assert one == 2
    assert two > one
    assert select(graph, Query(around=("ulm", "Location"), hops=2)).matching == two


def test_rows_keep_what_was_read_there(graph) -> None:
    found = select(graph, Query(rows=frozenset({8}))).graph
    assert ("hendrik lorentz", "Person") in found
    assert CURIE not in found
    assert all(any(one.row == 8 for one in evidence) for *_, evidence in found.edges(data="evidence"))


def test_degree_and_top(graph) -> None:
    assert all(graph.degree(node) >= 4 for node in select(graph, Query(min_degree=4)).graph)
    found = select(graph, Query(top=3))
    assert set(found.graph) == set(top(graph, 3))
    assert top(graph, 1) == [CURIE]
    assert found.matching == len(graph)


def test_every_part_shares_the_evidence(graph) -> None:
    found = select(graph, Query(top=5)).graph
    assert found.nodes[CURIE] == graph.nodes[CURIE]
    assert found.graph == graph.graph
