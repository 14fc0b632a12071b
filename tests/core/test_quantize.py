"""Quantizing for transformers: what is made is read again, says nearly the same, and takes what was said."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path

import pytest
from safetensors import safe_open

from core import models, resources
from core.errors import UserError
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Options
from core.inference.engines.transformers import Engine
from core.models import read_card
from core.operation import Silent
from core.resources import Card
from core.weights.quantize import QuantizeRequest, estimate, run
from tests.core.weights_models import byte_level_tokenizer, tiny

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (requirements-dev.txt)"
)
ASKED = "The capital of France is Paris. The capital of Italy is"


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
    assert estimate(request).vram > estimate(request).disk


@needs_library
def test_what_is_quantized_already_is_refused(small: Path, tmp_path: Path) -> None:
    run(QuantizeRequest(model=small, out=tmp_path / "out", bits=4), Silent())
    with pytest.raises(UserError, match="are quantized"):
        run(QuantizeRequest(model=tmp_path / "out", out=tmp_path / "again", bits=4), Silent())
    with pytest.raises(UserError, match="exists already"):
        run(QuantizeRequest(model=small, out=tmp_path / "out"), Silent())


def said(folder: Path) -> tuple[str, float]:
    """(what the app's engine goes on with, the natural log of the probability of “ Rome”) with that folder loaded."""
    import torch

    engine = Engine()
    engine.load(models.resolve(str(folder)), Options())
    ids = engine._tokenizer(ASKED + " Rome", return_tensors="pt")["input_ids"].to(engine._model.device)
    with torch.no_grad():
        logits = engine._model(ids).logits[0, -2].float()
    request = Generation(Decoding(max_tokens=1, temperature=0), ASKED)
    text = "".join(piece.text for piece in engine.generate(request, threading.Event()))
    return text, float(torch.log_softmax(logits, -1)[ids[0, -1]])


@pytest.mark.model
@needs_library
def test_the_starter_in_fewer_bits_is_smaller_and_still_knows(starter: Path, tmp_path: Path, workspace: Path) -> None:
    full = starter.parent / "hf"
    text, before = said(full)
    assert text == " Rome"
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
        again, after = said(out)
        assert again == " Rome"
        losses[bits] = abs(after - before)
    assert sizes[16] > sizes[8] > sizes[4]
    assert losses[8] < 0.1 and losses[4] < 1.0
