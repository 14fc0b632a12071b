"""Whether two checkpoints belong together, asked before the first byte is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from math import prod, sqrt

import numpy as np

from core.errors import UserError
from core.weights.checkpoint import Checkpoint
from core.weights.dtypes import FLOATS
from core.weights.views import View, width

# Tensors with a row for each token: a fine-tuned model may have more rows than its base.
VOCABULARY = ("embed_tokens.weight", "lm_head.weight", "wte.weight")
_NUMBER = re.compile(r"\.\d+\.")


def refuse_unlike(
    base: Checkpoint, other: Checkpoint, base_tensors: Mapping[str, View], other_tensors: Mapping[str, View]
) -> None:
    """Same names, same shapes (rows for new tokens aside), floats; else UserError naming the tensor."""
    for checkpoint, tensors in ((base, base_tensors), (other, other_tensors)):
        _refuse_odd_types(checkpoint, tensors)
    for name in base_tensors:
        if name not in other_tensors:
            raise _missing(name, other, base)
    for name, view in other_tensors.items():
        if name not in base_tensors:
            raise _missing(name, base, other)
        have = base_tensors[name].shape
        grown = name.endswith(VOCABULARY) and len(have) == 2 and view.shape[1:] == have[1:] and view.shape[0] > have[0]
        if view.shape != have and not grown:
            raise UserError(
                "The tensor {name} has the shape {shape} in {base} and {other_shape} in {other}.",
                remedy="These two do not belong together: check that both are of the same model and size.",
                name=name,
                shape="x".join(map(str, have)),
                base=base.folder,
                other_shape="x".join(map(str, view.shape)),
                other=other.folder,
            )


def refuse_swapped(base: Checkpoint, delta: Checkpoint) -> None:
    """Raise UserError where the delta looks like whole weights.

    A model's norm weights lie around one positive value; the difference of two models' lies around
    zero. Where the norms tell nothing (random weights), nothing is refused.
    """
    names = [name for name in delta.tensors if name.endswith("norm.weight") and name in base.tensors]
    if not names:
        return
    _, base_size = _mean_and_size([base.tensors[name] for name in names])
    mean, size = _mean_and_size([delta.tensors[name] for name in names])
    if mean > 0.5 * size and size > 0.5 * base_size:
        swapped = base_size < 0.5 * size
        raise UserError(
            "{base} holds a difference and {delta} whole weights: they are swapped."
            if swapped
            else "{delta} holds whole weights, not a difference to {base}.",
            remedy="Give the original model as base and the downloaded difference as delta.",
            base=base.folder,
            delta=delta.folder,
        )


def _refuse_odd_types(checkpoint: Checkpoint, tensors: Mapping[str, View]) -> None:
    """Floats only, and the same type for the same part of every layer."""
    common = Counter(view.dtype for view in tensors.values())
    usual: dict[str, dict[str, list[str]]] = {}
    for name, view in tensors.items():
        if view.dtype not in FLOATS:
            raise _odd(name, view.dtype, checkpoint)
        usual.setdefault(_NUMBER.sub(".N.", name), {}).setdefault(view.dtype, []).append(name)
    for by_type in usual.values():
        if len(by_type) > 1:
            dtype, names = min(by_type.items(), key=lambda item: (len(item[1]), common[item[0]]))
            raise _odd(names[0], dtype, checkpoint)


def _odd(name: str, dtype: str, checkpoint: Checkpoint) -> UserError:
    return UserError(
        "The tensor {name} in {folder} is of type {dtype}, unlike its neighbours.",
        remedy="Download that folder again; quantized weights can't be used here.",
        name=name,
        dtype=dtype,
        folder=checkpoint.folder,
    )


def _missing(name: str, where: Checkpoint, there: Checkpoint) -> UserError:
    return UserError(
        "The tensor {name} is in {there} but not in {where}.",
        remedy="These two do not belong together, or one is incomplete: check both and download again.",
        name=name,
        there=there.folder,
        where=where.folder,
    )


def _mean_and_size(views: list[View]) -> tuple[float, float]:
    """Mean and root mean square over the tensors' values."""
    total, squares, count = 0.0, 0.0, 0
    for view in views:
        values = np.empty(min(prod(view.shape), 4096) // width(view) * width(view), np.float32)
        view.fill(0, values)
        total += float(values.sum(dtype=np.float64))
        squares += float(np.square(values, dtype=np.float64).sum())
        count += values.size
    return (total / count, sqrt(squares / count)) if count else (0.0, 0.0)
