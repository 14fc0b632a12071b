"""Meta's LLaMA checkpoints, and torch's .bin files, as Hugging Face safetensors: tensor by tensor."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from core.models import card_of
from core.operation import Needs, Progress, Request, operation
from core.weights import stream
from core.weights.checkpoint import (
    CONFIG_FILES,
    TOKENIZER_FILES,
    Checkpoint,
    inside,
    open_checkpoint,
    read_json,
    small_files,
    without_derived,
)
from core.weights.delta import WeightsResult, receipt
from core.weights.dtypes import FLOATS, DtypeChoice, chosen
from core.weights.meta_tokenizer import has_meta_tokenizer, read_meta_tokenizer
from core.weights.plan import SHARD_GB, Plan, Planned, ShardGB, config_bytes, into_shards, refuse_overlap


class ConvertRequest(Request):
    """Turn Meta's consolidated.*.pth, or .bin files, into a Hugging Face folder of safetensors."""

    source: Path = Field(description="Folder of the original weights", json_schema_extra={"picker": "folder"})
    out: Path = Field(description="Folder for the converted model", json_schema_extra={"picker": "folder"})
    dtype: DtypeChoice = Field(
        default="same", description="Number format of the converted weights; same: that of the original"
    )
    shard_gb: ShardGB = SHARD_GB


def plan_convert(request: ConvertRequest) -> Plan:
    refuse_overlap(request.out, request.source)
    source = open_checkpoint(request.source)
    planned = [
        Planned(name, chosen(request.dtype, view.dtype) if view.dtype in FLOATS else view.dtype, view)
        for name, view in without_derived(source.tensors).items()
    ]
    card = card_of(source.folder)
    return Plan(
        operation="weights convert",
        shards=into_shards(planned, request.shard_gb),
        inputs=source.files,
        small_files=_small_files(source, planned),
        card=card.model_copy(update={"files": {}}),
    )


def estimate(request: ConvertRequest) -> Needs:
    return plan_convert(request).needs(request.out)


def lines(request: ConvertRequest) -> list[str]:
    return plan_convert(request).lines()


@operation("weights", "convert", estimate=estimate, plan=lines)
def convert(request: ConvertRequest, progress: Progress) -> WeightsResult:
    plan = plan_convert(request)
    return WeightsResult(**receipt(plan, request.out, stream.write(plan, request.out, progress)))


def _small_files(source: Checkpoint, planned: list[Planned]) -> dict[str, Path | bytes]:
    if source.layout != "meta":
        files: dict[str, Path | bytes] = {**small_files(source.folder, (*CONFIG_FILES, *TOKENIZER_FILES))}
        return {**files, "config.json": config_bytes(source.config, planned)} if source.config else files
    if not has_meta_tokenizer(source.folder) and (source.folder / "tokenizer.json").exists():
        # Meta's layout written by others, whose tokenizer Meta's own format can't hold
        files = {**small_files(source.folder, TOKENIZER_FILES)}
        return {**files, "config.json": config_bytes(source.config, planned, **_ends(source.folder))}
    tokenizer = read_meta_tokenizer(source.folder, scaled="rope_scaling" in source.config)
    ends = {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos}
    return {"config.json": config_bytes(source.config, planned, **ends), **tokenizer.files}


def _ends(folder: Path) -> dict[str, int]:
    """Numbers of the tokens that begin and end a text, as a Hugging Face tokenizer names them."""
    tokenizer = read_json(inside(folder, "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    settings = read_json(inside(folder, path.name)) if path.exists() else {}
    numbers = {**(tokenizer.get("model") or {}).get("vocab", {})}
    numbers |= {entry["content"]: entry["id"] for entry in tokenizer.get("added_tokens", [])}
    found = {}
    for name in ("bos_token", "eos_token"):
        token = settings.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if token in numbers:
            found[f"{name}_id"] = numbers[token]
    return found
