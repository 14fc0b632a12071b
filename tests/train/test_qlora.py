"""Training beside a base of 4 bits: on whatever is here, a processor included, with the gradients that belong to it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from core.launchers.finetune import FinetuneRequest
from train import adapters

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (requirements-dev.txt)"
)
HERE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_on_four_bits_leaves_an_adapter_that_says_what_was_trained(
    precision: str, train: Callable[..., Path], request_for: Callable[..., FinetuneRequest]
) -> None:
    settings = {"validation_share": 0.25, "epochs": 4, "batch": 16, "eval_every": 2}
    out = train(request_for(method="qlora", precision=precision, **settings))
    told = json.loads((out / "result.json").read_text())
    assert told["verdict"]["word"] == "better"
    assert told["reloaded_equal"] is True
    with safe_open(out / "adapter_model.safetensors", "pt") as file:
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118


def attached(base: Path, method: str) -> Any:
    model = adapters.load(base, method=method, precision="fp32", checkpointing=False, device=HERE)
    model = adapters.attach(model, method=method, rank=4, alpha=8.0, dropout=0.0, wanted=())
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
        elif "lora_A" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def gradients(model: Any) -> dict[str, torch.Tensor]:
    ids = torch.arange(48, device=HERE).reshape(2, 24)
    model.train()
    model.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    return {name: parameter.grad.cpu() for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_gradients_pass_through_the_rounded_weights_also_after_a_look_without_any(base: Callable[..., Path]) -> None:
    """bitsandbytes has a kernel for processors that knows no gradients; a layer that once took it would keep it."""
    from bitsandbytes.functional import dequantize_4bit

    rounded, plain = attached(base("llama"), "qlora"), attached(base("llama"), "lora")
    layers = dict(plain.named_modules())
    for name, module in rounded.named_modules():
        if hasattr(getattr(module, "weight", None), "quant_state"):
            layers[name].weight.data = dequantize_4bit(module.weight.data, module.weight.quant_state).float()
    wanted = gradients(plain)
    assert len(wanted) == 28  # two of each of 14 layers
    for _ in range(2):
        found = gradients(rounded)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-5), name
        rounded.eval()
        with torch.no_grad():
            rounded(input_ids=torch.arange(24, device=HERE)[None])
