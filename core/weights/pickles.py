"""PyTorch's .bin and .pth files, read tensor by tensor, running nothing of what they contain.

Such a file is a zip archive: `*/data.pkl` describes the tensors, `*/data/KEY` holds their bytes.
A pickle is a program for a stack machine; Python's own unpickler would call whatever function it
names. Ours is a machine of its own that knows few instructions, calls nothing, counts what it
does, and understands four names: tensors, parameters, ordered dictionaries and storages.
Entries must be stored, not compressed (torch never compresses), so bytes are read in place and a
zip bomb has nothing to blow up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.weights.dtypes import ITEM_BYTES
from core.weights.tensors import Blob, Stored, check_name

MAX_DIRECTORY = 4_000_000
MAX_PICKLE = 16_000_000
MAX_STEPS = 1_000_000

_SAFER = "Nothing of it was run. Get the weights as safetensors, or from a source that you trust."

_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
_CALLABLE = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


@dataclass(frozen=True)
class _Name:
    module: str
    name: str


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Entry:
    """A stored zip member: where its bytes begin, and how many they are."""

    offset: int
    size: int


def read_torch(path: Path) -> dict[str, Stored]:
    """The tensors of a state dict saved by torch, by place in the file. Raises UserError for anything else."""
    blob = Blob(path)
    entries = _zip_entries(blob)
    root = next((name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl")), None)
    if root is None:
        raise UserError("{file} is no checkpoint that can be trusted: it holds no data.pkl.", remedy=_SAFER, file=path)
    order = entries.get(root + "byteorder")
    if order is not None and blob.read(order.offset, min(order.size, 16)).strip() != b"little":
        raise UserError(
            "{file} is no checkpoint that can be trusted: its numbers are big-endian.", remedy=_SAFER, file=path
        )
    state = _unpickle(path, blob, entries[root + "data.pkl"])
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise UserError(
            "{file} is no checkpoint that can be trusted: it holds no dictionary of tensors.", remedy=_SAFER, file=path
        )
    found = [_locate(blob, entries, root, name, value) for name, value in state.items() if isinstance(value, _Tensor)]
    if not found:
        raise UserError("{file} is no checkpoint that can be trusted: it holds no tensors.", remedy=_SAFER, file=path)
    found.sort(key=lambda tensor: tensor.offset)
    return {tensor.name: tensor for tensor in found}


def _locate(blob: Blob, entries: dict[str, _Entry], root: str, name: object, tensor: _Tensor) -> Stored:
    if not isinstance(name, str):
        raise UserError(
            "{file} is no checkpoint that can be trusted: a tensor has no name.", remedy=_SAFER, file=blob.path
        )
    check_name(name, blob.path)
    entry = entries.get(f"{root}data/{tensor.storage.key}")
    if entry is None:
        raise UserError(
            "{file} is no checkpoint that can be trusted: the bytes of “{name}” are missing.",
            remedy=_SAFER,
            file=blob.path,
            name=name,
        )
    expected, strides = 1, []
    for length in reversed(tensor.shape):
        strides.append(expected)
        expected *= length
    contiguous = all(
        length == 1 or have == want
        for length, have, want in zip(tensor.shape, tensor.strides, reversed(strides), strict=True)
    )
    if not contiguous:
        raise UserError(
            "{file} is no checkpoint that can be trusted: “{name}” is not stored row by row.",
            remedy=_SAFER,
            file=blob.path,
            name=name,
        )
    item = ITEM_BYTES[tensor.storage.dtype]
    if (tensor.start + prod(tensor.shape)) * item > entry.size:
        raise UserError(
            "{file} is no checkpoint that can be trusted: “{name}” reaches beyond its bytes.",
            remedy=_SAFER,
            file=blob.path,
            name=name,
        )
    return Stored(name, tensor.storage.dtype, tensor.shape, blob, entry.offset + tensor.start * item)


# --- zip ---------------------------------------------------------------------------------------


def _zip_entries(blob: Blob) -> dict[str, _Entry]:
    count, size, start = _directory(blob)
    if size > MAX_DIRECTORY or start + size > blob.size:
        raise UserError(
            "{file} is no checkpoint that can be trusted: its table of contents is too large or lies outside the file.",
            remedy=_SAFER,
            file=blob.path,
        )
    table = blob.read(start, size)
    entries: dict[str, _Entry] = {}
    position = 0
    for _ in range(count):
        if table[position : position + 4] != b"PK\x01\x02" or position + 46 > len(table):
            raise UserError(
                "{file} is no checkpoint that can be trusted: its table of contents is damaged.",
                remedy=_SAFER,
                file=blob.path,
            )
        flags, method = struct.unpack_from("<HH", table, position + 8)
        packed, size, name_length, extra_length, comment_length = struct.unpack_from("<IIHHH", table, position + 20)
        local = struct.unpack_from("<I", table, position + 42)[0]
        name_end = position + 46 + name_length
        name = table[position + 46 : name_end].decode("utf-8", "replace")
        extra = table[name_end : name_end + extra_length]
        packed, size, local = _zip64(extra, size, packed, local)
        if method != 0 or packed != size or flags & 1:
            raise UserError(
                "{file} is no checkpoint that can be trusted: “{name}” in it is compressed or encrypted.",
                remedy=_SAFER,
                file=blob.path,
                name=name[:100],
            )
        if name in entries or name.startswith("/") or ".." in name.split("/"):
            raise UserError(
                "{file} is no checkpoint that can be trusted: it names “{name}” twice or unsafely.",
                remedy=_SAFER,
                file=blob.path,
                name=name[:100],
            )
        entries[name] = _Entry(_data_offset(blob, local), size)
        position = name_end + extra_length + comment_length
    _check_apart(blob, entries)
    return entries


def _directory(blob: Blob) -> tuple[int, int, int]:
    """(number of entries, bytes, offset) of the central directory."""
    tail_start = max(0, blob.size - 65_557)
    tail = blob.read(tail_start, blob.size - tail_start)
    end = tail.rfind(b"PK\x05\x06")
    if not blob.size or end < 0 or len(tail) < end + 22:
        raise UserError(
            "{file} is not a checkpoint in torch's zip format.",
            remedy="If torch older than 1.6 wrote it, load it there and save it again; else download it again.",
            file=blob.path,
        )
    count, size, start = struct.unpack_from("<HII", tail, end + 10)
    if (count == 0xFFFF or size == 0xFFFFFFFF or start == 0xFFFFFFFF) and end >= 20:
        if tail[end - 20 : end - 16] != b"PK\x06\x07":
            return count, size, start
        place = struct.unpack_from("<Q", tail, end - 12)[0]
        if place + 56 > blob.size or (record := blob.read(place, 56))[:4] != b"PK\x06\x06":
            raise UserError(
                "{file} is no checkpoint that can be trusted: its table of contents is damaged.",
                remedy=_SAFER,
                file=blob.path,
            )
        count, size, start = struct.unpack_from("<QQQ", record, 32)
    return count, size, start


def _zip64(extra: bytes, size: int, packed: int, local: int) -> tuple[int, int, int]:
    """(packed, size, local), the 64-bit ones where the 32-bit ones are full."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - position - 4) // 8}Q", extra, position + 4))
            size = next(numbers, size) if size == 0xFFFFFFFF else size
            packed = next(numbers, packed) if packed == 0xFFFFFFFF else packed
            local = next(numbers, local) if local == 0xFFFFFFFF else local
        position += 4 + length
    return packed, size, local


def _data_offset(blob: Blob, local: int) -> int:
    if local + 30 > blob.size or (head := blob.read(local, 30))[:4] != b"PK\x03\x04":
        raise UserError(
            "{file} is no checkpoint that can be trusted: its table of contents is damaged.",
            remedy=_SAFER,
            file=blob.path,
        )
    name_length, extra_length = struct.unpack_from("<HH", head, 26)
    return local + 30 + name_length + extra_length


def _check_apart(blob: Blob, entries: dict[str, _Entry]) -> None:
    """Entries that share bytes are how a small archive claims to be a huge one."""
    position = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.offset, entry.size)):
        if entry.offset < position or entry.offset + entry.size > blob.size:
            raise UserError(
                "{file} is no checkpoint that can be trusted: its entries overlap or reach beyond its end.",
                remedy=_SAFER,
                file=blob.path,
            )
        position = entry.offset + entry.size


# --- pickle ------------------------------------------------------------------------------------

_MARK = object()


def _unpickle(path: Path, blob: Blob, entry: _Entry) -> Any:
    if entry.size > MAX_PICKLE:
        raise UserError(
            "{file} is no checkpoint that can be trusted: its pickle is too large.", remedy=_SAFER, file=path
        )
    machine = _Machine(path, blob.read(entry.offset, entry.size))
    try:
        return machine.run()
    except (struct.error, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "{file} is no checkpoint that can be trusted: its pickle is damaged.", remedy=_SAFER, file=path
        ) from error


class _Machine:
    """The instructions that torch's own state dicts use (pickle protocol 2 to 4), and no others."""

    def __init__(self, path: Path, program: bytes) -> None:
        self.path = path
        self.program = program
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_STEPS):
            code = self.program[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise UserError(
                    "{file} is no checkpoint that can be trusted: its pickle uses the instruction {code}.",
                    remedy=_SAFER,
                    file=self.path,
                    code=hex(code),
                )
            step(self)
        raise UserError(
            "{file} is no checkpoint that can be trusted: its pickle is too long.", remedy=_SAFER, file=self.path
        )

    def take(self, layout: str) -> Any:
        value = struct.unpack_from(layout, self.program, self.at)[0]
        self.at += struct.calcsize(layout)
        return value

    def text(self, length: int) -> str:
        if length < 0 or self.at + length > len(self.program):
            raise ValueError("text beyond the end")
        self.at += length
        return self.program[self.at - length : self.at].decode("utf-8")

    def line(self) -> str:
        end = self.program.index(b"\n", self.at)
        text = self.program[self.at : end].decode("utf-8")
        self.at = end + 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise ValueError("no mark")

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count or _MARK in items:
            raise ValueError("too few values")
        self.stack[-count:] = [items]

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def name(self, module: str, name: str) -> None:
        known = (module, name) in _CALLABLE or (module == "torch" and name in _STORAGES)
        if not known:
            raise UserError(
                "{file} is no checkpoint that can be trusted: its pickle asks for {name}.",
                remedy=_SAFER,
                file=self.path,
                name=f"{module}.{name}"[:100],
            )
        self.push(_Name(module, name))

    def stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("no name")
        self.name(module, name)

    def persistent(self) -> None:
        kind, storage, key, _device, _count = self.stack.pop()
        if kind != "storage" or not isinstance(storage, _Name) or not isinstance(key, str):
            raise ValueError("no storage")
        self.push(_Storage(_STORAGES[storage.name], key))

    def reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise ValueError("not callable")
        if called.name == "OrderedDict" and not arguments:
            self.push({})
        elif called.name == "_rebuild_tensor_v2":
            storage, start, shape, strides = arguments[:4]
            numbers = (start, *shape, *strides)
            sound = isinstance(storage, _Storage) and len(shape) == len(strides) <= 16
            if not sound or not all(type(number) is int and 0 <= number < 1 << 48 for number in numbers):
                raise ValueError("no tensor")
            self.push(_Tensor(storage, start, shape, strides))
        elif called.name == "_rebuild_parameter" and isinstance(arguments[0], _Tensor):
            self.push(arguments[0])
        else:
            raise UserError(
                "{file} is no checkpoint that can be trusted: its pickle calls {name}.",
                remedy=_SAFER,
                file=self.path,
                name=f"{called.module}.{called.name}",
            )

    def build(self) -> None:
        """Attributes of a state dict (`_metadata`): dropped."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise ValueError("no attributes wanted")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):  # hashing tuples nested in tuples takes exponential time
                raise ValueError("no key")
            if key in target:
                raise UserError(
                    "{file} is no checkpoint that can be trusted: it names “{name}” twice.",
                    remedy=_SAFER,
                    file=self.path,
                    name=str(key)[:100],
                )
            target[key] = value

    def append(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("no list")
        self.stack[-1].extend(items)

    def integer(self, length: int) -> int:
        if length > 8:
            raise ValueError("number too long")
        self.at += length
        return int.from_bytes(self.program[self.at - length : self.at], "little", signed=True)

    def skip(self, count: int) -> None:
        self.at += count

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])


_STEPS: dict[int, Callable[[_Machine], object]] = {
    0x80: lambda m: m.skip(1),  # PROTO
    0x95: lambda m: m.skip(8),  # FRAME
    ord("}"): lambda m: m.push({}),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    ord("("): lambda m: m.push(_MARK),
    ord("t"): lambda m: m.push(tuple(m.to_mark())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.take("<i")),
    ord("K"): lambda m: m.push(m.take("<B")),
    ord("M"): lambda m: m.push(m.take("<H")),
    0x8A: lambda m: m.push(m.integer(m.take("<B"))),  # LONG1
    ord("G"): lambda m: m.push(m.take(">d")),
    ord("X"): lambda m: m.push(m.text(m.take("<I"))),
    0x8C: lambda m: m.push(m.text(m.take("<B"))),  # SHORT_BINUNICODE
    ord("q"): lambda m: m.remember(m.take("<B")),
    ord("r"): lambda m: m.remember(m.take("<I")),
    0x94: lambda m: m.remember(len(m.memo)),  # MEMOIZE
    ord("h"): lambda m: m.push(m.memo[m.take("<B")]),
    ord("j"): lambda m: m.push(m.memo[m.take("<I")]),
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: lambda m: m.stack_name(),
    ord("Q"): lambda m: m.persistent(),
    ord("R"): lambda m: m.reduce(),
    ord("b"): lambda m: m.build(),
    ord("s"): lambda m: m.set_item(),
    ord("u"): lambda m: m.set_items(m.to_mark()),
    ord("a"): lambda m: m.append([m.stack.pop()]),
    ord("e"): lambda m: m.append(m.to_mark()),
    ord("0"): lambda m: m.stack.pop(),
}
