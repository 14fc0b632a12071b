"""Quantizing for transformers, by bitsandbytes: on an NVIDIA card where there is one, else on the processor.

On a processor the result saves memory, not time: its layers are widened each time they are computed.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core import resources
from core.errors import UserError
from core.models import card_of, write_card
from core.operation import Needs, Progress, Request, Result, operation
from core.weights import durable, hashes, stream
from core.weights.checkpoint import Checkpoint, open_checkpoint, refuse_quantized
from core.weights.plan import refuse_overlap

LIBRARIES, CONTEXT = 1_500_000_000, 1_000_000_000
A_WEIGHT = {8: 1.01, 4: 0.52}
"""Bytes, with their scales: one a row at 8 bits, one for 64 weights at 4 (and one for 256 of those)."""
_IN_A_LAYER = re.compile(r"\.\d+\..*weight$")


class QuantizeRequest(Request):
    """Quantize a model to 8 or 4 bits for transformers; on a CPU that saves memory, not time (Export is faster)."""

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
    _refuse_without_library()
    refuse_overlap(request.out, request.model)
    model = open_checkpoint(request.model)
    refuse_quantized(model)
    made = _bytes_made(model, request.bits)
    if resources.gpus():
        largest = max(blob.size for blob in model.files)
        return Needs(ram=LIBRARIES + largest, vram=made + CONTEXT, disk=made, disk_at=request.out)
    widest = max((prod(view.shape) for view in model.tensors.values()), default=0)
    return Needs(ram=LIBRARIES + made + 4 * widest, disk=made, disk_at=request.out)


def _bytes_made(model: Checkpoint, bits: int) -> int:
    """The layers' matrices in so many bits; embeddings, head, norms and biases in 16."""
    sizes = {True: 0, False: 0}
    for name, view in model.tensors.items():
        sizes[len(view.shape) == 2 and bool(_IN_A_LAYER.search(name))] += prod(view.shape)
    return int(A_WEIGHT[bits] * sizes[True]) + 2 * sizes[False]


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
            _quantize(request, made, progress)
            files = {path.name: hashes.digest(path) for path in sorted(made.glob("*.safetensors"))}
            write_card(made, card_of(request.model).model_copy(update={"files": files}))
            if request.out.exists():
                request.out.rmdir()
            durable.publish(made, request.out)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return QuantizeResult(out=request.out, bytes=sum(path.stat().st_size for path in request.out.iterdir()))


def _refuse_without_library() -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "The package bitsandbytes is not installed.",
            remedy="Install it with `pip install bitsandbytes`, or export the model to GGUF with Q8_0 or Q4_0.",
        )


def _quantize(request: QuantizeRequest, made: Path, progress: Progress) -> None:
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
    place = 0 if torch.cuda.is_available() else "cpu"
    progress.log(f"quantizing to {request.bits} bits on the {'processor' if place == 'cpu' else 'GPU'}")
    model = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=settings, device_map={"": place}, dtype=torch.bfloat16, local_files_only=True
    )
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(made)
