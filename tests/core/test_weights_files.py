"""Weight files are read as data from strangers: sound ones exactly, all others refused quickly and in little memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.weights.checkpoint import open_checkpoint
from core.weights.dtypes import narrow, widen
from core.weights.lora import whole
from core.weights.pickles import read_torch
from core.weights.tensors import make_header, read_safetensors

torch = pytest.importorskip("torch")
HERE = Path(__file__).resolve().parent.parent.parent


def safetensors_bytes(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, shape: list | None = None, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


MALICIOUS_SAFETENSORS: dict[str, bytes] = {
    "empty": b"",
    "no header": struct.pack("<Q", 0) + b"12345678",
    "header beyond the end": struct.pack("<Q", 1000) + b"{}",
    "header of 90 MB claimed": struct.pack("<Q", 90_000_000) + b"{}",
    "leading space": safetensors_bytes(b' {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234"),
    "no JSON": safetensors_bytes(b'{"a":', b"1234"),
    "a list": safetensors_bytes(b"[1,2,3,4]"),
    "duplicate key": safetensors_bytes(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"1234",
    ),
    "name ../x": safetensors_bytes({"../x": entry(0, 4)}, b"1234"),
    "name /etc/x": safetensors_bytes({"/etc/x": entry(0, 4)}, b"1234"),
    "name with a line end": safetensors_bytes({"a\nb": entry(0, 4)}, b"1234"),
    "overlap": safetensors_bytes({"a": entry(0, 8), "b": entry(4, 12)}, b"123412341234"),
    "gap": safetensors_bytes({"a": entry(0, 4), "b": entry(8, 12)}, b"123412341234"),
    "cut off": safetensors_bytes({"a": entry(0, 400)}, b"1234"),
    "bytes of no tensor": safetensors_bytes({"a": entry(0, 4)}, b"12345678"),
    "length is not shape times type": safetensors_bytes({"a": entry(0, 4, [2])}, b"1234"),
    "negative shape": safetensors_bytes({"a": entry(0, 4, [-1])}, b"1234"),
    "shape of huge numbers": safetensors_bytes({"a": entry(0, 4, [1 << 62, 1 << 62])}, b"1234"),
    "shape of floats": safetensors_bytes({"a": entry(0, 4, [1.0])}, b"1234"),  # type: ignore[list-item]
    "unknown type": safetensors_bytes({"a": entry(0, 4, [1], "Q9")}, b"1234"),
    "nested deeply": safetensors_bytes(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "24 MB of small lists": safetensors_bytes(b"{" + b'"a":[],' * 3_400_000 + b'"b":[]}'),
    "24 MB of small dictionaries": safetensors_bytes(b"{" + b'"a":{},' * 3_400_000 + b'"b":{}}'),
    "24 MB of numbers": safetensors_bytes(b'{"a":[' + b"1," * 12_000_000 + b"1]}"),
    "24 MB of wide letters": safetensors_bytes(b'{"\xf0\x9f\x98\x80' + b"x" * 24_000_000 + b'":1}'),
}


class Runs:
    """Pickles into a call of a function."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def torch_zip(program: bytes, data: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        archive.writestr("a/data.pkl", program)
        for key, content in (data or {"0": b"1234"}).items():
            archive.writestr(f"a/data/{key}", content)
    return made.getvalue()


def tensor_program(start: int = 0, shape: tuple = (1,), strides: tuple = (1,), name: str = "x") -> bytes:
    """The pickle of {name: tensor of storage 0}."""
    good = io.BytesIO()
    torch.save({"NAME": torch.zeros(1)}, good)
    program = zipfile.ZipFile(good).read("archive/data.pkl")
    whole = lambda numbers: b"(" + b"".join(b"J" + struct.pack("<i", number) for number in numbers) + b"t"  # noqa: E731
    # torch writes: BININT1 0, shape, strides
    old = b"K\x00K\x01\x85q\x08K\x01\x85q\t"
    assert old in program
    text = name.encode()
    program = program.replace(b"X\x04\x00\x00\x00NAME", b"X" + struct.pack("<I", len(text)) + text)
    return program.replace(old, b"J" + struct.pack("<i", start) + whole(shape) + whole(strides))


def overlapping_entries() -> bytes:
    """Two entries that claim the same bytes."""
    raw = bytearray(torch_zip(tensor_program(), {"0": b"1234", "1": b"1234"}))
    places = [place for place in range(len(raw)) if raw[place : place + 4] == b"PK\x01\x02"]
    raw[places[2] + 42 : places[2] + 46] = raw[places[1] + 42 : places[1] + 46]
    return bytes(raw)


MEMO_BOMB = b"\x80\x02" + b"]q\x00" + b"".join(b"(" + b"h\x00" * 8 + b"tq\x00" for _ in range(40))
MALICIOUS_TORCH: dict[str, bytes] = {
    "no zip": b"\x80\x02}q\x00.",
    "runs os.system": torch_zip(pickle.dumps({"x": Runs(os.system, "touch owned-by-a-pickle")}, 2)),
    "runs eval": torch_zip(pickle.dumps({"x": Runs(eval, "1")}, 4)),
    "runs eval by stack": torch_zip(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."),
    "old pickle's instance": torch_zip(b"(S'ls'\nios\nsystem\n."),
    "extension registry": torch_zip(b"\x80\x02\x82\x01."),
    "torch.load of another file": torch_zip(b"ctorch\nload\nX\x01\x00\x00\x00x\x85R."),
    "ordered dictionary with arguments": torch_zip(pickle.dumps(OrderedDict.fromkeys("ab"), 2)[:-20] + b"."),
    "attributes of a tensor": torch_zip(tensor_program()[:-2] + b"}X\x01\x00\x00\x00aK\x01sbs."),
    "a million dictionaries": torch_zip(b"\x80\x02" + b"}" * 15_000_000 + b"."),
    "a million tuples": torch_zip(b"\x80\x02K\x01" + b"\x85" * 15_000_000 + b"."),
    "tuples that double, as a key": torch_zip(MEMO_BOMB + b"}h\x00K\x01s."),
    "tuples that double, as a name": torch_zip(b"\x80\x04" + MEMO_BOMB[2:] + b"h\x00h\x00\x93."),
    "a long number": torch_zip(b"\x80\x02\x8b" + struct.pack("<i", 14_000_000) + b"\x01" * 14_000_000 + b"."),
    "pickle of 40 MB": torch_zip(b"\x80\x02" + b"X" + struct.pack("<I", 40_000_000) + b"x" * 40_000_000 + b"."),
    "never stops": torch_zip(b"\x80\x02}"),
    "compressed (a zip bomb)": torch_zip(tensor_program(), {"0": b"\0" * 268_000_000}, zipfile.ZIP_DEFLATED),
    "overlapping entries": overlapping_entries(),
    "table of contents of 10 MB": torch_zip(tensor_program(), {f"{number:0200}": b"" for number in range(40_000)}),
    "beyond its bytes": torch_zip(tensor_program(start=1)),
    "larger than its bytes": torch_zip(tensor_program(shape=(2_000_000_000,))),
    "one value stretched": torch_zip(tensor_program(shape=(1 << 30,), strides=(0,))),
    "negative start": torch_zip(tensor_program(start=-1)),
    "name ../x": torch_zip(tensor_program(name="../x")),
    "no bytes": torch_zip(tensor_program(), {"7": b"1234"}),
}

# Reads every file that its arguments name in one process: the peak is then that of the worst.
READER = """
import sys, time
from pathlib import Path
from core.errors import UserError
from core.weights.pickles import read_torch
from core.weights.tensors import read_safetensors
for path in sys.argv[1:]:
    started = time.monotonic()
    try:
        (read_torch if path.endswith(".pth") else read_safetensors)(Path(path))
        verdict = "accepted"
    except UserError:
        verdict = "refused"
    except Exception as error:
        verdict = repr(error)
    # not ru_maxrss: that is inherited from whoever started us
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(f"{verdict}\\t{time.process_time():.2f}\\t{int(peak) // 1024}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(("ending", "files"), [("safetensors", MALICIOUS_SAFETENSORS), ("pth", MALICIOUS_TORCH)])
def test_malicious_files_are_refused_in_200_mb_and_2_seconds(tmp_path, ending, files):
    paths = []
    for number, content in enumerate(files.values()):
        paths.append(tmp_path / f"{number:02d}.{ending}")
        paths[-1].write_bytes(content)
    command = [sys.executable, "-c", READER, *map(str, paths)]
    lines = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.splitlines()
    before = 0.0
    for name, line in zip(files, lines, strict=True):
        verdict, seconds, peak = line.split("\t")
        assert verdict == "refused", name
        assert float(seconds) - before < 2, name
        assert int(peak) <= 200, f"{name}: {peak} MB"
        before = float(seconds)
    assert not (HERE / "owned-by-a-pickle").exists()


def test_what_the_library_writes_is_read_exactly(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    tensors = {
        "a.weight": torch.randn(7, 5),
        "b.weight": torch.randn(3, 4).half(),
        "c.weight": torch.randn(2, 3, 4).bfloat16(),
        "d": torch.arange(5),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"any": "thing"})
    torch.save(tensors, tmp_path / "x.pth")
    torch.save(
        {"state_dict": {name: torch.nn.Parameter(t, t.is_floating_point()) for name, t in tensors.items()}},
        tmp_path / "y.pth",
    )
    files = (
        read_safetensors(tmp_path / "x.safetensors"),
        read_torch(tmp_path / "x.pth"),
        read_torch(tmp_path / "y.pth"),
    )
    for found in files:
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].shape == tuple(tensor.shape)
            if tensor.is_floating_point():
                np.testing.assert_array_equal(whole(found[name]), tensor.float().numpy(), name)


def test_views_and_shared_storages_of_torch_files_are_read_in_place(tmp_path):
    both = torch.arange(12.0).reshape(4, 3)
    torch.save({"tied": both, "same": both, "rows": both[1:3]}, tmp_path / "x.pth")
    found = read_torch(tmp_path / "x.pth")
    np.testing.assert_array_equal(whole(found["rows"]), both[1:3].numpy())
    np.testing.assert_array_equal(whole(found["same"]), both.numpy())
    torch.save({"turned": both.T}, tmp_path / "y.pth")
    with pytest.raises(UserError, match="row by row"):
        read_torch(tmp_path / "y.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_16_bit_number_survives_and_rounding_is_torchs(dtype):
    kind = {torch.float16: "F16", torch.bfloat16: "BF16"}[dtype]
    bits = np.arange(65536, dtype=np.uint16)
    values = np.empty(65536, np.float32)
    widen(bits.view(np.uint8), kind, values)
    wanted = torch.from_numpy(bits.view(np.int16)).view(dtype).float().numpy()
    np.testing.assert_array_equal(values, wanted)
    finite = np.isfinite(values)
    back = np.empty(131072, np.uint8)
    narrow(values, kind, back)
    np.testing.assert_array_equal(back.view(np.uint16)[finite], bits[finite])
    rng = np.random.default_rng(0)
    odd = (rng.standard_normal(100_000) * 10.0 ** rng.integers(-9, 4, 100_000)).astype(np.float32)
    # halfway between two neighbours, where ties go to the even one
    middle = ((values[1:30_000] + values[:29_999]) / 2).astype(np.float32)
    for numbers in (odd, middle):
        out = np.empty(numbers.size * 2, np.uint8)
        assert narrow(numbers, kind, out)
        rounded = torch.from_numpy(numbers.copy()).to(dtype).view(torch.int16).numpy()
        np.testing.assert_array_equal(out.view(np.int16), rounded)


def test_links_and_names_that_leave_the_folder_are_refused_and_the_hubs_cache_is_not(tmp_path):
    outside = tmp_path / "elsewhere.safetensors"
    outside.write_bytes(make_header([("a", "F32", (1,))]) + b"1234")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "model.safetensors").symlink_to(outside)
    with pytest.raises(UserError, match="link"):
        open_checkpoint(linked)
    named = tmp_path / "named"
    named.mkdir()
    for name in ("../elsewhere.safetensors", str(outside), "..\\elsewhere.safetensors"):
        (named / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(UserError, match="not in it"):
            open_checkpoint(named)
    cache = tmp_path / "models--some--model"
    (cache / "blobs").mkdir(parents=True)
    (cache / "snapshots" / "abc").mkdir(parents=True)
    (cache / "blobs" / "123").write_bytes(outside.read_bytes())
    (cache / "snapshots" / "abc" / "model.safetensors").symlink_to("../../blobs/123")
    assert list(open_checkpoint(cache / "snapshots" / "abc").tensors) == ["a"]
    (cache / "snapshots" / "abc" / "model.safetensors").unlink()
    (cache / "snapshots" / "abc" / "model.safetensors").symlink_to(outside)
    with pytest.raises(UserError, match="link"):
        open_checkpoint(cache / "snapshots" / "abc")


def test_a_shard_or_tensor_missing_from_the_index_is_named(tmp_path):
    (tmp_path / "model-1.safetensors").write_bytes(make_header([("a", "F32", (1,))]) + b"1234")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(UserError, match=r"model-2\.safetensors"):
        open_checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}))
    with pytest.raises(UserError, match="tensor b"):
        open_checkpoint(tmp_path)
