"""What adapters do to a base tensor, a block of rows at a time, in fp32.

LoRA (Hu et al. 2021): W + s·B·A. DoRA (Liu et al. 2024): m · (W + s·B·A) / ‖W + s·B·A‖, the norm
of each output's weights. A (r x in) is held in memory, B (out x r) is read with the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from core.weights.dtypes import Floats
from core.weights.tensors import Blob
from core.weights.views import View, width


def whole(view: View) -> Floats:
    """All of a small tensor."""
    values = np.empty(prod(view.shape), np.float32)
    view.fill(0, values)
    return values.reshape(view.shape)


@dataclass(frozen=True)
class LowRank:
    """One adapter's part for one tensor: `scale · down-then-up`."""

    down: View
    """lora_A: r x in."""
    up: View
    """lora_B: out x r."""
    scale: float
    transposed: bool = False
    """The base tensor is stored in x out (embeddings, Conv1D)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Of the tensor it is added to."""
        out, into = self.up.shape[0], self.down.shape[1]
        return (into, out) if self.transposed else (out, into)

    @cached_property
    def _kept(self) -> Floats:
        return whole(self.up).T if self.transposed else whole(self.down)

    @cached_property
    def _columns(self) -> Floats:
        return np.ascontiguousarray(whole(self.down).T)

    def rows(self, first: int, last: int) -> Floats:
        """Its rows `first … last`: (last - first) x columns."""
        if self.transposed:
            left = self._columns[first:last]
        else:
            rank = width(self.up)
            left = np.empty(((last - first), rank), np.float32)
            self.up.fill(first * rank, left.reshape(-1))
        return np.matmul(left * np.float32(self.scale), self._kept, dtype=np.float32)

    def forget(self) -> None:
        for name in ("_kept", "_columns"):
            self.__dict__.pop(name, None)


@dataclass(frozen=True)
class Adapted:
    """A base tensor with the adapters' parts added, and DoRA's magnitudes where there are some."""

    base: View
    parts: tuple[LowRank, ...]
    magnitude: View | None = None

    @property
    def dtype(self) -> str:
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    @property
    def grain(self) -> int:
        return max(self.base.grain, width(self.base))

    @property
    def origin(self) -> str:
        names = " + ".join(f"{part.down.origin} (rank {part.down.shape[0]})" for part in self.parts)
        return f"{self.base.origin} + {names}{', DoRA' if self.magnitude else ''}"

    def fill(self, start: int, out: Floats) -> None:
        columns = width(self.base)
        first, rows = start // columns, out.reshape(-1, columns)
        self._sum(first, rows)
        if self.magnitude is None:
            pass
        elif self.parts[0].transposed:
            rows *= self._factors
        else:
            rows *= self._magnitudes[first : first + len(rows), None] / np.linalg.norm(rows, axis=1, keepdims=True)
        if start + out.size == prod(self.shape):  # the factors of one tensor at a time are enough
            self._forget()

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        return self.base.extents(start, stop)

    def _sum(self, first: int, rows: Floats) -> None:
        self.base.fill(first * rows.shape[1], rows.reshape(-1))
        for part in self.parts:
            rows += part.rows(first, first + len(rows))

    @cached_property
    def _magnitudes(self) -> Floats:
        return whole(self.magnitude).reshape(-1)  # type: ignore[arg-type]

    @cached_property
    def _factors(self) -> Floats:
        """Magnitude over norm, a column: needs one pass over the whole tensor first."""
        rows, columns = self.base.shape
        squares, step = np.zeros(columns), max(1, (1 << 18) // columns)
        for first in range(0, rows, step):
            piece = np.empty((min(step, rows - first), columns), np.float32)
            self._sum(first, piece)
            squares += np.square(piece, dtype=np.float64).sum(axis=0)
        return (self._magnitudes / np.sqrt(squares)).astype(np.float32)

    def _forget(self) -> None:
        for part in self.parts:
            part.forget()
        for name in ("_magnitudes", "_factors"):
            self.__dict__.pop(name, None)
