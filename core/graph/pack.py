"""Shapes packed around a centre without overlap, on a grid of taken cells (Freivalds et al. 2002)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]

ASPECT = 1.15
"""A little wider than high, as the place on the page is, and names stand at the right of their nodes."""
CELL = 0.8
"""Side of a grid cell, in lengths of an edge."""
CHUNK = 1024


def pack(outlines: list[Floats]) -> Floats:
    """Where to move each shape, (n, 2). A shape is the points (k, 2) that it covers; largest first looks best.

    Each lands at the free spot nearest the middle; smaller ones fill the gaps of the larger.
    """
    shapes = [_cells(points) for points in outlines]
    side = _side(shapes)
    taken = np.zeros((side, side), dtype=bool)
    spots = _from_the_middle(side)
    moves = np.zeros((len(shapes), 2))
    rank, start = math.inf, 0
    for place, shape in enumerate(shapes):
        if (size := int(math.log2(len(shape)))) < rank:  # a much smaller shape may fit where the last one did not
            rank, start = size, 0
            spots = spots[~taken[spots[:, 0], spots[:, 1]]]
        start, spot = _first_free(taken, spots, start, shape)
        covered = shape + spot
        taken[covered[:, 0], covered[:, 1]] = True
        moves[place] = spot
    return (moves - moves[0]) * CELL if len(moves) else moves


def _first_free(taken: NDArray[np.bool_], spots: Cells, start: int, shape: Cells) -> tuple[int, Cells]:
    step = max(1, CHUNK * 8 // len(shape))
    for first in range(start, len(spots), step):
        covered = spots[first : first + step, None, :] + shape[None, :, :]
        inside = ((covered >= 0) & (covered < len(taken))).all(axis=(1, 2))
        covered = np.clip(covered, 0, len(taken) - 1)
        free = np.flatnonzero(inside & ~taken[covered[..., 0], covered[..., 1]].any(axis=1))
        if len(free):
            found = first + int(free[0])
            return found, spots[found]
    raise AssertionError("the grid is larger than all shapes side by side")


def _cells(points: Floats) -> Cells:
    """The cells that a shape takes, a margin of one cell around each point included."""
    middle = _distinct(np.round(points / CELL).astype(np.int64))
    margin = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
    return _distinct((middle[:, None, :] + margin[None, :, :]).reshape(-1, 2))


def _distinct(cells: Cells) -> Cells:
    """Each cell once: as one number a cell, since numpy's unique by rows is ten times slower."""
    low = cells.min(axis=0)
    width = int(cells[:, 1].max() - low[1]) + 1
    numbers = np.unique((cells[:, 0] - low[0]) * width + cells[:, 1] - low[1])
    return np.stack(np.divmod(numbers, width), axis=1) + low


def _side(shapes: list[Cells]) -> int:
    widest = max((int(np.ptp(shape, axis=0).max()) + 1 for shape in shapes), default=1)
    return 2 * math.ceil(1.2 * ASPECT * math.sqrt(sum(len(shape) for shape in shapes))) + 4 * widest + 8


def _from_the_middle(side: int) -> Cells:
    """All cells, the middle first, in widening ellipses."""
    x, y = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    distance = ((x - side // 2) / ASPECT) ** 2 + (y - side // 2) ** 2
    order = np.argsort(distance, axis=None, kind="stable")
    return np.stack(np.unravel_index(order, distance.shape), axis=1)
