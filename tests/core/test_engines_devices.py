"""Where weights go and in how many bits: reckoned for GPUs that aren't here, and really loaded on the processor."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest

from core import models
from core.errors import UserError
from core.inference.decoding import Decoding
from core.inference.devices import place, read_limits, shrunk
from core.inference.engine import Generation, Options, choose
from core.inference.engines.transformers import Engine
from core.resources import Card
from tests.core.tiny_llama import make_tiny_adapter, make_tiny_llama

GB = 10**9
SMALL, LARGE = Card("Small", 24 * GB, 20 * GB), Card("Large", 80 * GB, 70 * GB)
RAM = 64 * GB


def test_without_a_gpu_it_runs_on_the_processor_and_says_so() -> None:
    placed = place(5 * GB, [], RAM)
    assert (placed.device, str(placed.fact)) == ("cpu", "It runs on the processor: torch finds no GPU here.")


def test_the_freest_gpu_is_taken_where_one_is_enough() -> None:
    placed = place(16 * GB, [SMALL, LARGE], RAM)
    assert (placed.device, placed.limits) == ("cuda:1", {})
    assert "Large" in str(placed.fact) and "16 GB" in str(placed.fact)
    assert place(16 * GB, [SMALL, LARGE], RAM, device="cuda:0").device == "cuda:0"
    assert place(16 * GB, [SMALL, LARGE], RAM, device="cpu").device == "cpu"


def test_what_no_gpu_holds_alone_is_spread_over_all_and_then_over_ram() -> None:
    spread = place(75 * GB, [SMALL, LARGE], RAM)
    assert (spread.device, set(spread.limits)) == ("auto", {0, 1})
    slow = place(100 * GB, [SMALL, LARGE], RAM)
    assert set(slow.limits) == {0, 1, "cpu"}
    assert "slow" in str(slow.fact)
    for need, ram in ((200 * GB, RAM), (100 * GB, 0)):  # bitsandbytes keeps nothing in RAM
        with pytest.raises(UserError, match="8 or 4 bits"):
            place(need, [SMALL, LARGE], ram)


def test_limits_are_kept_and_never_beyond_what_is_free() -> None:
    placed = place(25 * GB, [SMALL, LARGE], RAM, memory="0=10GB, 1=500GB; cpu=1GiB")
    assert placed.limits == {0: 10 * GB, 1: 70 * GB, "cpu": 2**30}
    with pytest.raises(UserError, match="room for 15 GB"):
        place(25 * GB, [SMALL, LARGE], RAM, memory="0=10GB,cpu=5GB")
    assert set(place(25 * GB, [SMALL, LARGE], 0, memory="1=30GB,cpu=50GB").limits) == {1}


@pytest.mark.parametrize("text", ["20GB", "0=", "0=twoGB", "gpu=3GB", "0=0GB", "0=3GB 1=3GB", "0=-3GB"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no limit of a device"):
        read_limits(text)


@pytest.mark.parametrize("device", ["cuda:2", "gpu", "cuda", "1"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(UserError, match="no device"):
        place(GB, [LARGE] if device in ("cuda:2", "gpu") else [], RAM, device=device)


def test_a_gpu_that_is_named_and_too_small_is_not_left_for_another() -> None:
    with pytest.raises(UserError, match="cuda:0"):
        place(30 * GB, [SMALL, LARGE], RAM, device="cuda:0")


def test_fewer_bits_take_less() -> None:
    assert shrunk(26 * GB, 4, wide=False) < shrunk(26 * GB, 8, wide=False) < 26 * GB == shrunk(26 * GB, 0, wide=True)
    assert shrunk(52 * GB, 4, wide=True) == shrunk(26 * GB, 4, wide=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def said(engine: Engine) -> str:
    request = Generation(Decoding(max_tokens=8), "Hello")
    return "".join(piece.text for piece in engine.generate(request, threading.Event()))


@pytest.mark.model
def test_a_device_map_within_a_limit_answers_as_without(tiny: Path, workspace: Path) -> None:
    plain, mapped = Engine(), Engine()
    plain.load(models.resolve(str(tiny)), Options())
    loaded = mapped.load(models.resolve(str(tiny)), Options(memory="cpu=1GB"))
    assert loaded.device == "cpu"
    assert "within the limits" in str(loaded.facts[0])
    assert said(mapped) == said(plain)
    adapter = models.resolve(str(make_tiny_adapter(tiny, workspace / "adapter", seed=1)))
    tuned = Engine()
    tuned.load(adapter, Options())
    mapped.adapt(adapter)
    assert said(mapped) == said(tuned) != said(plain)
    with pytest.raises(UserError, match="room for 10 kB"):
        Engine().load(models.resolve(str(tiny)), Options(memory="cpu=10kB"))


@pytest.mark.model
@pytest.mark.parametrize("bits", [8, 4])
def test_layers_are_held_in_fewer_bits_and_take_adapters(tiny: Path, workspace: Path, bits: int) -> None:
    pytest.importorskip("bitsandbytes")
    engine = Engine()
    loaded = engine.load(models.resolve(str(tiny)), Options(bits=bits))
    assert f"{bits} bits" in str(loaded.facts[1])
    names = {type(module).__name__ for module in engine._model.modules()}
    assert names & {"Linear8bitLt", "Linear4bit"}
    base = said(engine)
    engine.adapt(models.resolve(str(make_tiny_adapter(tiny, workspace / "adapter", seed=1))))
    assert said(engine) != base
    assert engine.can.lora


def test_without_bitsandbytes_it_is_told(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else found(name, *a)
    )
    with pytest.raises(UserError, match="pip install bitsandbytes"):
        Engine().load(models.resolve(str(tiny)), Options(bits=4))


def test_options_that_an_engine_lacks_are_refused_by_name(tmp_path: Path, workspace: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    model = models.resolve(str(tmp_path / "m.gguf"))
    with pytest.raises(UserError, match=r"can't load m in 4 bits"):
        choose(model, None, Options(bits=4))
    with pytest.raises(UserError, match="limits of each device"):
        choose(model, "llamacpp", Options(memory="cpu=1GB"))
