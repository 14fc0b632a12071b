"""Number formats of weights, turned into fp32 and back by numpy alone (no torch: that is 330 MB of memory).

Names are those of safetensors: F32, F16, BF16 … A bf16 is the upper half of an fp32, so both
directions are integer arithmetic. Narrowing rounds to nearest, ties to even, as torch does.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from tyro.constructors import PrimitiveConstructorSpec

from core.errors import UserError

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")

# GGUF's quantized types: numbers in a block, bytes of a block.
PACKED = {"Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_1": (32, 20)}
TORCH_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

# The smallest magnitude that rounds to infinity.
_OVERFLOW = {"F16": 65520.0, "BF16": float(np.uint32(0x7F7F8000).view(np.float32))}

_ALIASES = {
    "f32": "float32", "fp32": "float32", "f16": "float16", "fp16": "float16", "half": "float16",
    "bf16": "bfloat16", "fp": "float32", "auto": "same",
}  # fmt: skip
_CHOICES = ("same", "float32", "bfloat16", "float16")
_BY_CHOICE = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def _one_choice(words: list[str]) -> str:
    word = _ALIASES.get(words[0].lower(), words[0].lower())
    if word not in _CHOICES:
        raise ValueError(f"{words[0]} is none of {', '.join(_CHOICES)}")
    return word


DtypeChoice = Annotated[
    Literal["same", "float32", "bfloat16", "float16"],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(_CHOICES) + "}",
        instance_from_str=_one_choice,
        is_instance=lambda value: value in _CHOICES,
        str_from_instance=lambda value: [value],
    ),
]


def bytes_of(dtype: str, count: int) -> int:
    """Bytes that `count` numbers take; of a packed type, whole blocks."""
    if dtype in PACKED:
        numbers, size = PACKED[dtype]
        return count // numbers * size
    return count * ITEM_BYTES[dtype]


def chosen(choice: str, same: str) -> str:
    """The dtype that a choice on a form means, `same` standing for the source's own."""
    return _BY_CHOICE.get(choice, same)


def widen(raw: Bytes, dtype: str, out: Floats) -> None:
    """Write the numbers whose little-endian bytes are `raw` into `out` as fp32."""
    if dtype == "BF16":
        bits = out.view(np.uint32)
        np.copyto(bits, raw.view("<u2"))
        np.left_shift(bits, 16, out=bits)
    elif dtype in ("F16", "F32", "F64"):
        np.copyto(out, raw.view({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]), casting="same_kind")
    else:
        raise UserError(
            "Numbers of type {dtype} can't be computed with.",
            remedy="Use a checkpoint in F32, F16 or BF16, not a quantized one.",
            dtype=dtype,
        )


def narrow(values: Floats, dtype: str, out: Bytes) -> bool:
    """Write fp32 numbers into `out` as little-endian `dtype`; False if one became infinite."""
    if dtype == "BF16":
        bits = values.view(np.uint32)
        rounded = np.right_shift(bits, 16)
        np.bitwise_and(rounded, 1, out=rounded)
        np.add(rounded, 0x7FFF, out=rounded)
        np.add(rounded, bits, out=rounded)
        np.copyto(out.view("<u2"), rounded.view(np.uint16)[1::2])  # little-endian: the upper half comes second
    elif dtype in ("F16", "F32", "F64"):
        np.copyto(out.view({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]), values, casting="same_kind")
    else:
        _pack(values, dtype, out)
    limit = _OVERFLOW.get(dtype)
    return limit is None or not values.size or bool(values.max() < limit and values.min() > -limit)


def _pack(values: Floats, dtype: str, out: Bytes) -> None:
    """Quantize as llama.cpp's reference code does, by gguf's numpy version of it."""
    from gguf import quants

    blocks = values.reshape(-1, PACKED[dtype][0])
    out[:] = getattr(quants, dtype).quantize_blocks(blocks).reshape(-1)
