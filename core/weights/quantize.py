"""Quantizing for transformers, where the hardware can: bitsandbytes needs an NVIDIA card."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core import resources
from core.errors import UserError
from core.models import card_of, write_card
from core.operation import Needs, Progress, Request, Result, operation
from core.weights import durable, hashes, stream
from core.weights.checkpoint import open_checkpoint, refuse_quantized
from core.weights.plan import refuse_overlap


class QuantizeRequest(Request):
    """Quantize a model to 8 or 4 bits for transformers (needs an NVIDIA card; on a CPU use Export)."""

    model: Path = Field(
        description="Folder of the model in Hugging Face layout", json_schema_extra={"picker": "folder"}
    )
    out: Path = Field(description="Folder for the quantized model", json_schema_extra={"picker": "folder"})
    bits: Literal[8, 4] = Field(default=8, description="Bits a weight: 8 loses little, 4 takes half of that")


class QuantizeResult(Result):
    out: Path
    bytes: int

    def summary(self) -> str:
        return f"{self.out}: {resources.size(self.bytes)}"


def estimate(request: QuantizeRequest) -> Needs:
    _refuse_without_card()
    refuse_overlap(request.out, request.model)
    model = open_checkpoint(request.model)
    refuse_quantized(model)
    largest = max(blob.size for blob in model.files)
    made = model.bytes * request.bits // 16
    return Needs(ram=1_500_000_000 + largest, vram=made + 1_000_000_000, disk=made, disk_at=request.out)


@operation("weights", "quantize", estimate=estimate)
def run(request: QuantizeRequest, progress: Progress) -> QuantizeResult:
    estimate(request)
    if request.out.exists() and any(path.name != stream.WORK for path in request.out.iterdir()):
        raise UserError("{out} exists already.", remedy="Choose another name, or remove it first.", out=request.out)
    work = request.out.with_name(f".{request.out.name}.studio-work")
    with stream.disk_may_fill(request.out), stream.locked(work):
        made = work / "model"
        shutil.rmtree(made, ignore_errors=True)
        try:
            made.mkdir()
            progress.log("loading the model onto the card")
            _quantize(request, made)
            files = {path.name: hashes.digest(path) for path in sorted(made.glob("*.safetensors"))}
            write_card(made, card_of(request.model).model_copy(update={"files": files}))
            if request.out.exists():
                request.out.rmdir()
            durable.publish(made, request.out)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return QuantizeResult(out=request.out, bytes=sum(path.stat().st_size for path in request.out.iterdir()))


def _refuse_without_card() -> None:
    if not resources.gpus():
        raise UserError(
            "Quantizing for transformers needs an NVIDIA card, and this machine has none.",
            remedy="Export the model to GGUF with Q8_0 or Q4_0 instead: that runs on the CPU.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "The package bitsandbytes is not installed.",
            remedy="Install it with `pip install bitsandbytes`, or export the model to GGUF with Q8_0 or Q4_0.",
        )


def _quantize(request: QuantizeRequest, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    four: dict[str, Any] = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": torch.bfloat16,
    }
    settings = BitsAndBytesConfig(**(four if request.bits == 4 else {"load_in_8bit": True}))
    source: Any = str(request.model)
    model = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=settings, device_map={"": 0}, dtype=torch.bfloat16, local_files_only=True
    )
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(made)
