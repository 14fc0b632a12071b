"""A force-directed layout in numpy whose cost grows with nodes plus grid, not with pairs of nodes.

Start: pivot MDS (Brandes and Pich 2006), distances to a few far-apart nodes. Then rounds of springs
along edges and of mutual repulsion, the latter read off a grid: node masses are spread on it and
convolved with the 1/d force by FFT. Deterministic: the same graph and seed give the same picture.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PIVOTS = 24
ROUNDS = 120
CELLS = 192
"""Of the repulsion grid, a side."""


def force_layout(count: int, edges: Ints, seed: int) -> Floats:
    """Positions (count, 2) of a connected graph; an edge is about 1 long. `edges` is (m, 2), undirected, no loops."""
    random = np.random.default_rng(seed)
    at = _pivot_mds(count, edges)
    extent = np.sqrt(count)
    at = at / (np.abs(at).max() or 1.0) * extent / 2 + random.normal(0, 0.1, (count, 2))
    degree = np.bincount(edges.ravel(), minlength=count).astype(float)
    kernel = _kernel()
    for heat in np.linspace(1.0, 0.02, ROUNDS):
        push = _repulsion(at, 1 + degree, kernel)
        push += _springs(at, edges, degree)
        push -= 0.02 * at  # keeps far arms in the picture
        length = np.linalg.norm(push, axis=1, keepdims=True)
        at = at + push / np.maximum(length, 1e-9) * np.minimum(length, heat * extent / 12)
    return at - at.mean(axis=0)


def _springs(at: Floats, edges: Ints, degree: Floats) -> Floats:
    """The pull along every edge, on both its ends."""
    pull = at[edges[:, 1]] - at[edges[:, 0]]
    pull *= np.linalg.norm(pull, axis=1, keepdims=True) * 0.6
    total = np.empty_like(at)
    for axis in (0, 1):
        total[:, axis] = np.bincount(edges[:, 0], pull[:, axis], len(at)) - np.bincount(
            edges[:, 1], pull[:, axis], len(at)
        )
    return total


def _repulsion(at: Floats, mass: Floats, kernel: tuple[NDArray, NDArray]) -> Floats:
    low = at.min(axis=0)
    cell = float((at.max(axis=0) - low).max()) / (CELLS - 2) or 1.0
    place = (at - low) / cell
    corner = place.astype(np.int64)
    part = place - corner
    shares = [
        (corner[:, 0] + dx, corner[:, 1] + dy, np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]))
        for dx in (0, 1)
        for dy in (0, 1)
    ]
    grid = np.zeros(CELLS * CELLS)
    for x, y, share in shares:
        grid += np.bincount(x * CELLS + y, share * np.sqrt(mass), CELLS * CELLS)
    spectrum = np.fft.rfft2(grid.reshape(CELLS, CELLS), (2 * CELLS, 2 * CELLS))
    push = np.zeros_like(at)
    for axis in (0, 1):
        field = np.fft.irfft2(spectrum * kernel[axis], (2 * CELLS, 2 * CELLS))
        for x, y, share in shares:
            push[:, axis] += field[x, y] * share
    return push * (np.sqrt(mass) / cell)[:, None]


def _kernel() -> tuple[NDArray, NDArray]:
    """FFTs of the 1/d force's two components, in cells, for distances up to the grid's side."""
    steps = np.fft.fftfreq(2 * CELLS, 1 / (2 * CELLS))
    x, y = np.meshgrid(steps, steps, indexing="ij")
    square = x * x + y * y
    square[0, 0] = 1.0
    return np.fft.rfft2(x / square), np.fft.rfft2(y / square)


def _pivot_mds(count: int, edges: Ints) -> Floats:
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for head, tail in edges.tolist():
        neighbours[head].append(tail)
        neighbours[tail].append(head)
    pivots = min(PIVOTS, count)
    distances = np.empty((count, pivots))
    nearest = np.full(count, np.inf)
    pivot = int(np.argmax([len(found) for found in neighbours]))
    for column in range(pivots):
        distances[:, column] = _hops(neighbours, pivot)
        nearest = np.minimum(nearest, distances[:, column])
        pivot = int(np.argmax(nearest))
    square = distances**2
    centred = -0.5 * (square - square.mean(axis=0) - square.mean(axis=1, keepdims=True) + square.mean())
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, -1:-3:-1] if pivots > 1 else np.ones((1, 2))
    axes = axes * np.where(
        axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1
    )  # eigenvectors have no sign of their own
    return centred @ axes


def _hops(neighbours: list[list[int]], source: int) -> Floats:
    reached = [-1] * len(neighbours)
    reached[source] = 0
    queue = deque([source])
    while queue:
        node = queue.popleft()
        for other in neighbours[node]:
            if reached[other] < 0:
                reached[other] = reached[node] + 1
                queue.append(other)
    return np.array(reached, dtype=float)
