"""An adapter's folder is loaded like a model: its base with it, and on request without it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from core import models
from core.errors import UserError
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Options, choose
from core.inference.engines.transformers import Engine

pytestmark = pytest.mark.model
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def adapter(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA on the starter, strong enough to change what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = starter.parent / "hf"
    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, local_files_only=True),
        LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "up_proj"], init_lora_weights=False),
    )
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


def greedy(engine: Engine, **how: object) -> str:
    request = Generation(Decoding(max_tokens=12), PROMPT, **how)  # type: ignore[arg-type]
    return "".join(piece.text for piece in engine.generate(request, threading.Event()))


def test_an_adapter_is_answered_with_and_without_it(adapter: Path, starter: Path, workspace: Path) -> None:
    found = models.resolve(str(adapter))
    assert found.format == "adapter"
    assert choose(found)[0] == "transformers"
    tuned, base = Engine(), Engine()
    tuned.load(found, Options())
    base.load(models.resolve(str(starter.parent / "hf")), Options())
    alone = greedy(base)
    assert greedy(tuned) != alone
    assert greedy(tuned, adapter=False) == alone
    assert tuned.can.lora and not base.can.lora
    with pytest.raises(UserError, match="no adapter"):
        greedy(base, adapter=False)


def test_an_adapter_without_its_base_says_which_is_missing(adapter: Path, tmp_path: Path, workspace: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes((adapter / "adapter_model.safetensors").read_bytes())
    told = json.loads((adapter / models.ADAPTER_CONFIG).read_text()) | {"base_model_name_or_path": "nowhere/at-all"}
    (tmp_path / models.ADAPTER_CONFIG).write_text(json.dumps(told))
    with pytest.raises(UserError, match="nowhere/at-all"):
        models.base_weights(models.resolve(str(tmp_path)))
