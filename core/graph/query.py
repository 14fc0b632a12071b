"""Which part of a graph to look at. Pure: a question and a graph give a smaller graph."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import networkx as nx

from core.graph.build import NodeKey, node_key


@dataclass(frozen=True)
class Query:
    """None or "" asks nothing. Applied in this order: rows, types, relations, around, text, degree, top."""

    rows: frozenset[int] | None = None
    types: frozenset[str] | None = None
    relations: frozenset[str] | None = None
    around: NodeKey | None = None
    hops: int = 1
    text: str = ""
    """Nodes whose name holds it, with their neighbours."""
    min_degree: int = 0
    top: int | None = None
    """Only so many nodes: those with the most edges."""


@dataclass(frozen=True)
class Selection:
    graph: nx.MultiDiGraph
    """Shares its nodes' and edges' data with the whole graph."""
    matching: int
    """Nodes that answer the question; more than the graph holds where `top` cut it."""


def select(graph: nx.MultiDiGraph, query: Query) -> Selection:
    found = _of_rows(graph, query.rows) if query.rows is not None else graph
    if query.types is not None:
        found = _keep(found, {node for node, type in found.nodes(data="type") if type in query.types})
    if query.relations is not None:
        found = _with_relations(found, query.relations)
    if query.around is not None:
        found = _keep(found, neighbours(found, [query.around], query.hops))
    if query.text.strip():
        found = _keep(found, neighbours(found, named(found, query.text), 1))
    if query.min_degree > 0:
        found = _keep(found, {node for node, degree in found.degree() if degree >= query.min_degree})
    matching = len(found)
    if query.top is not None and matching > query.top:
        found = _keep(found, set(top(found, query.top)))
    return Selection(found, matching)


def named(graph: nx.MultiDiGraph, text: str) -> list[NodeKey]:
    """Nodes whose name holds the text; case and width of letters don't matter."""
    wanted = node_key(text, "")[0]
    return [node for node, label in graph.nodes(data="label") if wanted in node_key(label, "")[0]]


def neighbours(graph: nx.MultiDiGraph, nodes: list[NodeKey], hops: int) -> set[NodeKey]:
    """The nodes and all that is at most `hops` edges away, in either direction."""
    reached = {node for node in nodes if node in graph}
    edge = reached
    for _ in range(hops):
        edge = {
            other for node in edge for step in (graph.successors(node), graph.predecessors(node)) for other in step
        } - reached
        reached = reached | edge
    return reached


def top(graph: nx.MultiDiGraph, count: int) -> list[NodeKey]:
    """The nodes with the most edges; among equals those named most often, then in alphabetical order."""
    degrees = dict(graph.degree())
    return heapq.nsmallest(count, graph, key=lambda node: (-degrees[node], -len(graph.nodes[node]["mentions"]), node))


def _of_rows(graph: nx.MultiDiGraph, rows: frozenset[int]) -> nx.MultiDiGraph:
    """What was read in these rows, edges included only if one of the rows says so."""
    found = _keep(graph, {node for node, seen in graph.nodes(data="mentions") if any(one.row in rows for one in seen)})
    return _edges(found, lambda data: any(one.row in rows for one in data["evidence"]))


def _with_relations(graph: nx.MultiDiGraph, relations: frozenset[str]) -> nx.MultiDiGraph:
    found = _edges(graph, lambda data: data["relation"] in relations)
    return _keep(found, {node for node, degree in found.degree() if degree})


def _keep(graph: nx.MultiDiGraph, nodes: set[NodeKey]) -> nx.MultiDiGraph:
    if len(nodes) == len(graph):
        return graph
    kept = nx.MultiDiGraph(**graph.graph)
    kept.add_nodes_from((node, data) for node, data in graph.nodes(data=True) if node in nodes)
    kept.add_edges_from(edge for edge in graph.edges(keys=True, data=True) if edge[0] in nodes and edge[1] in nodes)
    return kept


def _edges(graph: nx.MultiDiGraph, wanted) -> nx.MultiDiGraph:
    kept = nx.MultiDiGraph(**graph.graph)
    kept.add_nodes_from(graph.nodes(data=True))
    kept.add_edges_from(edge for edge in graph.edges(keys=True, data=True) if wanted(edge[3]))
    return kept
