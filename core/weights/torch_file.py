"""Writing torch's zip format without torch: what `torch.save` makes of a dictionary of tensors, streamed."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.weights import durable
from core.weights.plan import Planned
from core.weights.stream import Made

_STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage"}
_EMPTY = b"ccollections\nOrderedDict\n)R"


def write_torch(path: Path, planned: Sequence[Planned], blocks: Iterator[tuple[Planned, Iterator[Made]]]) -> None:
    """Write the tensors, whose blocks come in the same order, under a final name only when whole."""
    part = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(f"{path.stem}/data.pkl", _program(planned))
            archive.writestr(f"{path.stem}/byteorder", "little")
            for key, (_, made) in enumerate(blocks):
                with archive.open(f"{path.stem}/data/{key}", "w", force_zip64=True) as entry:
                    for block in made:
                        entry.write(memoryview(block.data))  # type: ignore[arg-type]
            archive.writestr(f"{path.stem}/version", "3\n")
        durable.publish(part, path)
    finally:
        part.unlink(missing_ok=True)


def _program(planned: Sequence[Planned]) -> bytes:
    """The pickle that rebuilds them: name -> _rebuild_tensor_v2(storage, 0, shape, strides, False, {})."""
    entries = []
    for key, tensor in enumerate(planned):
        shape = tensor.view.shape
        strides = [1] * len(shape)
        for place in range(len(shape) - 2, -1, -1):
            strides[place] = strides[place + 1] * shape[place + 1]
        count = _whole(strides[0] * shape[0])
        storage = b"ctorch\n" + _STORAGES[tensor.dtype].encode() + b"\n"
        entries.append(
            _text(tensor.name)
            + b"ctorch._utils\n_rebuild_tensor_v2\n(("
            + b"".join([_text("storage"), storage, _text(str(key)), _text("cpu"), count])
            + b"tQ"
            + _whole(0)
            + b"".join([b"(", *map(_whole, shape), b"t(", *map(_whole, strides), b"t"])
            + b"\x89"
            + _EMPTY
            + b"tR"
        )
    return b"\x80\x02" + _EMPTY + b"(" + b"".join(entries) + b"u."


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if value < 1 << 31 else b"\x8a\x08" + struct.pack("<q", value)
