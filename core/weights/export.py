"""A model folder as one GGUF file for llama.cpp, block by block: quantizing takes no more memory than copying."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from time import monotonic
from typing import Literal

import numpy as np
from pydantic import Field

from core import resources
from core.errors import UserError
from core.models import card_of, read_card, write_card
from core.operation import Needs, Progress, Request, Result, operation
from core.weights import durable, gguf_model, stream
from core.weights.checkpoint import Checkpoint, open_checkpoint, refuse_quantized
from core.weights.gguf_tokenizer import Vocabulary, read_vocabulary
from core.weights.plan import STREAM_RAM, Plan, Planned, Shard

ALIGNMENT = 32
_MARK = "studio.fingerprint"
Quant = Literal["Q8_0", "Q4_0", "Q4_1", "F16", "BF16", "F32"]


class ExportRequest(Request):
    """Write a model as one GGUF file, quantized if wanted, for llama.cpp."""

    model: Path = Field(
        description="Folder of the model in Hugging Face layout", json_schema_extra={"picker": "folder"}
    )
    out: Path = Field(description="The .gguf file to write", json_schema_extra={"picker": "new file"})
    quant: Quant = Field(
        default="Q8_0", description="Number format: Q8_0 is nearly lossless, Q4_0 smallest, BF16 and F16 not quantized"
    )


class ExportResult(Result):
    out: Path
    bytes: int
    sha256: str
    tensors: int
    seconds: float

    def summary(self) -> str:
        return f"{self.out}: {self.tensors} tensors, {resources.size(self.bytes)}, {self.seconds:.1f} s"


def plan_export(request: ExportRequest) -> tuple[Checkpoint, Plan, Vocabulary]:
    if request.out.suffix != ".gguf":
        raise UserError("{out} does not end in .gguf.", remedy="Name a file that does.", out=request.out)
    model = open_checkpoint(request.model)
    refuse_quantized(model)
    tensors = gguf_model.planned_tensors(model, request.quant)
    vocabulary = read_vocabulary(model.folder, model.config, model.tensors["model.embed_tokens.weight"].shape[0])
    plan = Plan(
        "weights export", (Shard(request.out.name, tuple(tensors)),), model.files, settings={"model": model.config}
    )
    return model, plan, vocabulary


def estimate(request: ExportRequest) -> Needs:
    _, plan, _ = plan_export(request)
    needs = plan.needs(request.out.parent)
    return Needs(ram=STREAM_RAM, disk=plan.bytes + 20_000_000, disk_at=request.out.parent, seconds=needs.seconds)


def lines(request: ExportRequest) -> list[str]:
    return plan_export(request)[1].lines()


@operation("weights", "export", estimate=estimate, plan=lines)
def run(request: ExportRequest, progress: Progress) -> ExportResult:
    started = monotonic()
    model, plan, vocabulary = plan_export(request)
    out, work = request.out, request.out.with_name(f".{request.out.name}.studio-work")
    with stream.disk_may_fill(out), stream.locked(work):
        mark = hashlib.sha256(repr((plan.fingerprint, vocabulary)).encode()).hexdigest()
        if out.exists() and not _made_from(out, mark):
            raise UserError("{out} exists already.", remedy="Choose another name, or remove that file first.", out=out)
        if not out.exists():
            part = work / "part"
            part.unlink(missing_ok=True)
            try:
                _write_head(part, request, model, plan, vocabulary, mark)
                _write_tensors(part, plan.shards[0].tensors, stream.Meter(progress, 0, plan.bytes))
                durable.publish(part, out)
            finally:
                part.unlink(missing_ok=True)
    sha256 = _note(model, out)
    size = out.stat().st_size
    return ExportResult(
        out=out, bytes=size, sha256=sha256, tensors=len(plan.shards[0].tensors), seconds=monotonic() - started
    )


def _write_head(
    part: Path, request: ExportRequest, model: Checkpoint, plan: Plan, vocabulary: Vocabulary, mark: str
) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(None, gguf_model.family(model))
    card = card_of(model.folder)
    writer.add_string(_MARK, mark)
    writer.add_name(card.title or model.folder.name)
    if card.license:
        writer.add_license(card.license)
    if card.languages:
        writer.add_languages(list(card.languages))
    for add, _, value in gguf_model.keys(model, request.quant):
        add(writer, value)
    _write_vocabulary(writer, vocabulary)
    for planned in plan.shards[0].tensors:
        kind = GGMLQuantizationType[planned.dtype]
        writer.add_tensor_info(planned.name, planned.view.shape, np.dtype(np.float32), planned.bytes, raw_dtype=kind)
    writer.write_header_to_file(part)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def _write_vocabulary(writer, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    for name, number in vocabulary.special.items():
        getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    writer.add_add_space_prefix(vocabulary.add_space_prefix)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)


def _write_tensors(part: Path, tensors: tuple[Planned, ...], meter: stream.Meter) -> None:
    with part.open("ab", buffering=0) as file, stream.workers() as pool:
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        for planned, blocks in stream.computed(tensors, pool):
            for made in blocks:
                stream.put(file, made.data)
                meter.add(made.data.size)
            file.write(b"\0" * (-planned.bytes % ALIGNMENT))
        os.fsync(file.fileno())


def _made_from(out: Path, mark: str) -> bool:
    """Whether the file is what this request would make: it has its name only once it is whole."""
    with out.open("rb") as file:
        return mark.encode() in file.read(1 << 12)


def _note(model: Checkpoint, out: Path) -> str:
    """Write the file's hash, and what the model says of itself, into the card beside it."""
    from core.weights import hashes

    sha256 = hashes.digest(out)
    here, source = read_card(out.parent), card_of(model.folder)
    card = here if here.title else source.model_copy(update={"files": {}, "title": source.title or out.stem})
    write_card(out.parent, card.model_copy(update={"files": {**card.files, out.name: sha256}}))
    return sha256
