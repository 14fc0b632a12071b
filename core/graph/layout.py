"""Where each node stands: every connected piece laid out alone, then all packed without overlap.

Run by the `graph build` job, whose file keeps the positions; no page lays out a large graph.
"""

from __future__ import annotations

from functools import lru_cache

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from core.graph.force import force_layout
from core.graph.pack import pack

Positions = dict[tuple[str, str], tuple[float, float]]
Floats = NDArray[np.float64]
Edges = tuple[tuple[int, int], ...]

SPRING_LIMIT = 200
"""Pieces of up to this many nodes go through networkx's exact spring layout."""
SPACING = 40.0
"""Pixels an edge is long."""


def layout(graph: nx.MultiDiGraph, seed: int = 7) -> Positions:
    """{node: (x, y)}, y downwards as on screens. The same graph and seed give the same positions."""
    plain = nx.Graph()
    plain.add_nodes_from(graph)
    plain.add_edges_from((head, tail) for head, tail in graph.edges() if head != tail)
    pieces = sorted(_components(plain), key=len, reverse=True)
    edges = [_edges(plain, piece) for piece in pieces]
    shapes = [_shape(len(piece), ends, seed) for piece, ends in zip(pieces, edges, strict=True)]
    moves = pack([_outline(shape, ends) for shape, ends in zip(shapes, edges, strict=True)])
    return {
        node: (round(float(x) * SPACING, 1), round(float(y) * SPACING, 1))
        for piece, shape, move in zip(pieces, shapes, moves, strict=True)
        for node, (x, y) in zip(piece, shape + move, strict=True)
    }


def _components(plain: nx.Graph) -> list[list]:
    """Connected pieces, each in the graph's own node order (a set's order differs from run to run)."""
    order = {node: place for place, node in enumerate(plain)}
    return [sorted(piece, key=order.__getitem__) for piece in nx.connected_components(plain)]


def _edges(plain: nx.Graph, piece: list) -> Edges:
    index = {node: place for place, node in enumerate(piece)}
    return tuple(
        sorted((index[node], index[other]) for node in piece for other in plain[node] if index[node] < index[other])
    )


@lru_cache(maxsize=4096)  # most small pieces are one of a few shapes
def _shape(count: int, edges: Edges, seed: int) -> Floats:
    """Positions of one connected piece, an edge about 1 long, its middle at 0."""
    if count == 1:
        return np.zeros((1, 2))
    if count <= SPRING_LIMIT:
        piece = nx.Graph()
        piece.add_nodes_from(range(count))
        piece.add_edges_from(edges)
        placed = nx.spring_layout(piece, seed=seed, iterations=150 if count > 10 else 50, scale=None)
        shape = np.array([placed[node] for node in range(count)])
    else:
        shape = force_layout(count, np.array(edges), seed)
    shape = shape * _scale(shape, np.array(edges))
    return shape - (shape.max(axis=0) + shape.min(axis=0)) / 2


def _scale(shape: Floats, edges: NDArray[np.int64]) -> float:
    """Edges about 1 long, and an area of about half a square edge a node: else a star's leaves pile up.

    A small piece, whose nodes carry their names, gets room for them.
    """
    count = len(shape)
    lengths = np.linalg.norm(shape[edges[:, 0]] - shape[edges[:, 1]], axis=1)
    spread = float(np.sqrt((shape.std(axis=0) ** 2).sum())) or 1.0
    room = (0.8 if count <= SPRING_LIMIT else 0.45) * np.sqrt(count) if count > 8 else 0.0
    return max(1 / (float(np.median(lengths)) or 1.0), room / spread)


def _outline(shape: Floats, edges: Edges) -> Floats:
    """Points along a piece's nodes and edges, close enough that no other piece slips between."""
    if not edges:
        return shape
    ends = np.array(edges)
    heads, tails = shape[ends[:, 0]], shape[ends[:, 1]]
    longest = float(np.linalg.norm(heads - tails, axis=1).max())
    steps = np.linspace(0, 1, int(np.clip(longest / 0.8, 1, 40)) + 1)
    along = heads[:, None, :] * (1 - steps)[None, :, None] + tails[:, None, :] * steps[None, :, None]
    return along.reshape(-1, 2)
