"""Tensors that are computed from other tensors, a piece at a time.

A view says its shape and fills any aligned piece of itself, as fp32, on demand. Nothing here ever
holds a whole tensor. `grain` is the number of elements to which the ends of a piece must be
aligned: 1 where elements stand alone, a row or a head's rows where they do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import lcm, prod
from typing import Protocol

import numpy as np

from core.weights.dtypes import Floats
from core.weights.tensors import Blob


class View(Protocol):
    @property
    def dtype(self) -> str:
        """Of the tensor it stands for; pieces are fp32 all the same."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def grain(self) -> int: ...

    @property
    def origin(self) -> str:
        """Where it comes from, for the plan."""

    def fill(self, start: int, out: Floats) -> None:
        """Write the elements `start … start + out.size` of the flattened tensor."""

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        """(file, offset, bytes) that filling this piece reads."""


def width(view: View) -> int:
    """Elements a row."""
    return prod(view.shape[1:])


@dataclass(frozen=True)
class Sum:
    """`left + sign · right`, in fp32."""

    left: View
    right: View
    sign: int = 1

    @property
    def dtype(self) -> str:
        return self.right.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.left.shape

    @property
    def grain(self) -> int:
        return lcm(self.left.grain, self.right.grain)

    @property
    def origin(self) -> str:
        return f"{self.left.origin} {'+' if self.sign > 0 else '-'} {self.right.origin}"

    def fill(self, start: int, out: Floats) -> None:
        right = np.empty_like(out)
        self.left.fill(start, out)
        self.right.fill(start, right)
        (np.add if self.sign > 0 else np.subtract)(out, right, out=out)

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        yield from self.left.extents(start, stop)
        yield from self.right.extents(start, stop)


@dataclass(frozen=True)
class Rows:
    """The rows `first … last` of a tensor."""

    source: View
    first: int
    last: int

    @property
    def dtype(self) -> str:
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.last - self.first, *self.source.shape[1:])

    @property
    def grain(self) -> int:
        return width(self) if self.source.grain > 1 else 1

    @property
    def origin(self) -> str:
        return f"{self.source.origin}[{self.first}:{self.last}]"

    def fill(self, start: int, out: Floats) -> None:
        begin, grain = start + self.first * width(self.source), self.source.grain
        if grain == 1:
            self.source.fill(begin, out)
            return
        # the cut need not fall where the source can be cut: fill the grains around it
        aligned = begin // grain * grain
        around = np.empty(-(-(begin + out.size - aligned) // grain) * grain, np.float32)
        self.source.fill(aligned, around)
        out[:] = around[begin - aligned : begin - aligned + out.size]

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        skipped = self.first * width(self.source)
        return self.source.extents(start + skipped, stop + skipped)


@dataclass(frozen=True)
class Columns:
    """The columns `first … last` of a matrix."""

    source: View
    first: int
    last: int

    @property
    def dtype(self) -> str:
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.source.shape[0], self.last - self.first)

    @property
    def grain(self) -> int:
        """Whole rows of both, and whole grains of the source."""
        rows = lcm(self.source.grain, self.source.shape[1]) // self.source.shape[1]
        return rows * self.shape[1]

    @property
    def origin(self) -> str:
        return f"{self.source.origin}[:, {self.first}:{self.last}]"

    def fill(self, start: int, out: Floats) -> None:
        kept, all_columns = self.shape[1], self.source.shape[1]
        whole = np.empty(out.size // kept * all_columns, np.float32)
        self.source.fill(start // kept * all_columns, whole)
        out.reshape(-1, kept)[:] = whole.reshape(-1, all_columns)[:, self.first : self.last]

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        kept, all_columns = self.shape[1], self.source.shape[1]
        return self.source.extents(start // kept * all_columns, stop // kept * all_columns)


@dataclass(frozen=True)
class Stacked:
    """Tensors one below the other: their rows follow each other."""

    parts: tuple[View, ...]

    @property
    def dtype(self) -> str:
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def grain(self) -> int:
        return lcm(*(part.grain for part in self.parts))

    @property
    def origin(self) -> str:
        return " / ".join(part.origin for part in self.parts)

    def fill(self, start: int, out: Floats) -> None:
        for part, begin, end, place in self._overlaps(start, start + out.size):
            part.fill(begin, out[place : place + end - begin])

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        for part, begin, end, _place in self._overlaps(start, stop):
            yield from part.extents(begin, end)

    def _overlaps(self, start: int, stop: int) -> Iterable[tuple[View, int, int, int]]:
        """(part, its first and last element, place in the piece) of each part that the piece touches."""
        first = 0
        for part in self.parts:
            size = prod(part.shape)
            begin, end = max(start, first), min(stop, first + size)
            if begin < end:
                yield part, begin - first, end - first, begin - start
            first += size


@dataclass(frozen=True)
class SideBySide:
    """Matrices beside each other: their columns follow each other."""

    parts: tuple[View, ...]

    @property
    def dtype(self) -> str:
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.parts[0].shape[0], sum(part.shape[1] for part in self.parts))

    @property
    def grain(self) -> int:
        return self.shape[1]

    @property
    def origin(self) -> str:
        return " | ".join(part.origin for part in self.parts)

    def fill(self, start: int, out: Floats) -> None:
        columns = self.shape[1]
        whole, first_row, begin = out.reshape(-1, columns), start // columns, 0
        for part in self.parts:
            piece = np.empty(whole.shape[0] * part.shape[1], np.float32)
            part.fill(first_row * part.shape[1], piece)
            whole[:, begin : begin + part.shape[1]] = piece.reshape(whole.shape[0], -1)
            begin += part.shape[1]

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        columns = self.shape[1]
        for part in self.parts:
            yield from part.extents(start // columns * part.shape[1], stop // columns * part.shape[1])


@dataclass(frozen=True)
class RotaryRows:
    """Rows of wq or wk, reordered a head at a time between the two ways of writing rotary pairs.

    Meta (and GGUF) rotate neighbouring rows 2i, 2i+1; Hugging Face rotates row i with row i + half.
    """

    source: View
    heads: int
    to_halves: bool
    """True: Meta to Hugging Face; False: back."""

    @property
    def dtype(self) -> str:
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def grain(self) -> int:
        return self.shape[0] // self.heads * width(self)

    @property
    def origin(self) -> str:
        return f"{self.source.origin} (rotary rows)"

    def fill(self, start: int, out: Floats) -> None:
        piece = np.empty_like(out)
        self.source.fill(start, piece)
        half, columns = self.shape[0] // self.heads // 2, width(self)
        inner = (half, 2) if self.to_halves else (2, half)
        out.reshape(-1, inner[1], inner[0], columns)[:] = piece.reshape(-1, *inner, columns).swapaxes(1, 2)

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        return self.source.extents(start, stop)


@dataclass(frozen=True)
class Zeros:
    """Rows that are not there yet."""

    rows: int
    columns: int
    dtype: str = "F32"
    grain: int = 1
    origin: str = "zeros"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.columns)

    def fill(self, start: int, out: Floats) -> None:
        out[:] = 0

    def extents(self, start: int, stop: int) -> Iterable[tuple[Blob, int, int]]:
        return ()
