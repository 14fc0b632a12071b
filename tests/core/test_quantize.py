"""Quantizing for transformers: what is made is read again, says nearly the same, and takes what was said."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from core import models, resources
from core.errors import UserError
from core.inference.engine import Options
from core.inference.engines.transformers import Engine
from core.models import read_card
from core.operation import Silent
from core.resources import Card
from core.weights.quantize import QuantizeRequest, estimate, run
from tests.core.weights_models import byte_level_tokenizer, tiny

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (requirements-dev.txt)"
)
ASKED = "The capital of France is Paris, the capital of Italy is Rome, and the capital of Germany is"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "hf"
    folder.mkdir()
    tiny(folder, "llama", byte_level_tokenizer(folder, "smollm"))
    return folder


def test_without_its_library_it_says_what_to_install_or_do_instead(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    request = QuantizeRequest(model=small, out=tmp_path / "out", bits=4)
    for ask in (estimate, lambda wanted: run(wanted, Silent())):
        with pytest.raises(UserError, match="bitsandbytes is not installed") as refused:
            ask(request)
        assert "pip install bitsandbytes" in refused.value.remedy and "Q4_0" in refused.value.remedy
    assert not (tmp_path / "out").exists()


@needs_library
def test_memory_is_asked_for_where_the_computing_is_done(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = QuantizeRequest(model=small, out=tmp_path / "out")
    monkeypatch.setattr(resources, "gpus", lambda: ())
    assert estimate(request).vram is None
    monkeypatch.setattr(resources, "gpus", lambda: (Card("a card", 24 << 30, 20 << 30),))
    needs = estimate(request)
    assert needs.vram and needs.disk and needs.vram > needs.disk


@needs_library
def test_what_is_quantized_already_is_refused(small: Path, tmp_path: Path) -> None:
    run(QuantizeRequest(model=small, out=tmp_path / "out", bits=4), Silent())
    with pytest.raises(UserError, match="are quantized"):
        run(QuantizeRequest(model=tmp_path / "out", out=tmp_path / "again", bits=4), Silent())
    with pytest.raises(UserError, match="exists already"):
        run(QuantizeRequest(model=small, out=tmp_path / "out"), Silent())


def known(folder: Path) -> tuple[str, float]:
    """(the likeliest word, its probability's natural log) after ASKED, of that folder loaded as the app loads it."""
    import torch

    engine = Engine()
    engine.load(models.resolve(str(folder)), Options())
    ids = engine._tokenizer(ASKED, return_tensors="pt")["input_ids"].to(engine._model.device)
    with torch.no_grad():
        logs = torch.log_softmax(engine._model(ids).logits[0, -1].float(), -1)
    return engine._tokenizer.decode(logs.argmax()), float(logs.max())


@pytest.mark.model
@needs_library
def test_the_starter_in_fewer_bits_is_smaller_and_still_knows(starter: Path, tmp_path: Path, workspace: Path) -> None:
    full = starter.parent / "hf"
    word, before = known(full)
    assert word == " Berlin"
    sizes, losses = {16: (full / "model.safetensors").stat().st_size}, {}
    for bits in (8, 4):
        out = tmp_path / str(bits)
        request = QuantizeRequest(model=full, out=out, bits=bits)  # type: ignore[arg-type]
        wanted = estimate(request)
        run(request, Silent())
        made = out / "model.safetensors"
        sizes[bits] = made.stat().st_size
        assert sizes[bits] == pytest.approx(wanted.disk, rel=0.02)
        assert list(read_card(out).files) == ["model.safetensors"]
        with safe_open(made, "pt") as file:
            kind = file.get_slice("model.layers.0.mlp.up_proj.weight").get_dtype()
        assert kind == {8: "I8", 4: "U8"}[bits]
        again, after = known(out)
        assert again == " Berlin"
        losses[bits] = abs(after - before)
    assert sizes[16] > sizes[8] > sizes[4]
    assert losses[8] < 0.1 and losses[4] < 0.6
