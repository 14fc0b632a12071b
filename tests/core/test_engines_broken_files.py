"""Files that are no models, or not whole: refused in words, never a crash or a hang."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.errors import UserError
from core.inference.engine import Options
from core.inference.engines import llamacpp, transformers
from core.inference.gguf_header import Shape, read_shape
from core.models import Card, Model
from tests.core.tiny_llama import make_tiny_llama


def gguf(path: Path, content: bytes) -> Model:
    path.write_bytes(content)
    return Model(str(path), "gguf", Card(), path)


def header(*pairs: tuple[str, int], version: int = 3, keys: int | None = None) -> bytes:
    count = len(pairs) if keys is None else keys
    body = b"".join(
        struct.pack("<Q", len(name)) + name.encode() + struct.pack("<II", 4, value) for name, value in pairs
    )
    return b"GGUF" + struct.pack("<IQQ", version, 0, count) + body


def test_the_header_tells_what_a_context_costs(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(
        header(
            ("llama.block_count", 40),
            ("llama.embedding_length", 5120),
            ("llama.attention.head_count", 40),
            ("llama.context_length", 2048),
        )
    )
    assert read_shape(file) == Shape(2048, 2 * 2 * 40 * 5120)


def _pair(name: bytes, value: int) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<II", 4, value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGUF\x03\0\0\0",
        b"PK\x03\x04" + bytes(100),
        header(version=77),
        header(keys=2**60),
        header(keys=5),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 9, 2**40),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 8, 2**20),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<I", 99),
    ],
)
def test_a_broken_header_is_refused_at_once(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="broken"):
        llamacpp.Engine().load(gguf(tmp_path / "bad.gguf", content), Options())


@given(st.binary(max_size=300))
@hypothesis_settings(max_examples=200, deadline=1000)
def test_no_bytes_hang_the_header_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "noise.gguf"
    file.write_bytes(b"GGUF\x03\0\0\0" + content)
    with contextlib.suppress(UserError):
        read_shape(file)


@pytest.mark.model
def test_a_file_cut_short_is_refused(starter: Path, tmp_path: Path) -> None:
    with starter.open("rb") as file:
        model = gguf(tmp_path / "cut.gguf", file.read(40_000_000))
    with pytest.raises(UserError, match="can't load"):
        llamacpp.Engine().load(model, Options())


def test_noise_after_a_good_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't load"):
        llamacpp.Engine().load(gguf(tmp_path / "noise.gguf", header(("a.b", 1)) + os.urandom(1000)), Options())


@pytest.mark.parametrize("wrong", ["config", "weights", "tokenizer"])
def test_a_folder_with_a_broken_file_is_refused(tmp_path: Path, wrong: str) -> None:
    folder = make_tiny_llama(tmp_path / "tiny")
    name = {"config": "config.json", "weights": "model.safetensors", "tokenizer": "tokenizer.json"}[wrong]
    (folder / name).write_bytes(b"{" + os.urandom(200))
    with pytest.raises(UserError, match="can't load"):
        transformers.Engine().load(Model(str(folder), "huggingface", Card(), folder), Options())


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs"):
        llamacpp.plan(10**15, Shape(), Options(), 10**9)


def test_a_large_model_gets_fewer_places_before_a_shorter_context() -> None:
    shape = Shape(4096, 819_200)
    assert llamacpp.plan(2**30, shape, Options(), 64 << 30) == (4096, 4)
    assert llamacpp.plan(2**30, shape, Options(), 9 << 30) == (4096, 1)
    assert llamacpp.plan(2**30, shape, Options(), 3 << 30) == (2048, 1)


def test_a_context_asked_for_is_kept() -> None:
    assert llamacpp.plan(2**20, Shape(4096, 1000), Options(context=512, parallel=7), 64 << 30) == (512, 7)
