"""Merging adapters into a base model: the same stream of blocks as recover, so in little memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, model_validator

from core.errors import UserError
from core.models import Card, card_of, read_card
from core.operation import Needs, Progress, Request, operation
from core.weights import stream
from core.weights.adapter_file import Adapter, open_adapter
from core.weights.check import VOCABULARY
from core.weights.checkpoint import (
    CONFIG_FILES,
    TOKENIZER_FILES,
    Checkpoint,
    open_checkpoint,
    refuse_quantized,
    small_files,
    without_derived,
)
from core.weights.delta import WeightsResult, receipt
from core.weights.dtypes import DtypeChoice, chosen
from core.weights.lora import Adapted
from core.weights.plan import SHARD_GB, Plan, Planned, ShardGB, config_bytes, into_shards, refuse_overlap
from core.weights.views import View


class MergeRequest(Request):
    """Merge one or several adapters into their base model."""

    base: Path = Field(description="Folder of the base model", json_schema_extra={"picker": "folder"})
    adapter: tuple[Path, ...] = Field(min_length=1, description="Folders of the adapters")
    out: Path = Field(description="Folder for the merged model", json_schema_extra={"picker": "folder"})
    weight: tuple[float, ...] = Field(
        default=(),
        description="How much of each adapter to add, in their order; 1 where none is given",
        json_schema_extra={"advanced": True},
    )
    dtype: DtypeChoice = Field(
        default="same", description="Number format of the merged weights; same: that of the base"
    )
    shard_gb: ShardGB = SHARD_GB

    @model_validator(mode="after")
    def _a_weight_each(self) -> MergeRequest:
        if self.weight and len(self.weight) != len(self.adapter):
            raise ValueError("give one weight for each adapter, or none")
        return self


def plan_merge(request: MergeRequest) -> Plan:
    refuse_overlap(request.out, request.base, *request.adapter)
    base = open_checkpoint(request.base)
    refuse_quantized(base)
    adapters = [open_adapter(folder) for folder in request.adapter]
    weights = request.weight or (1.0,) * len(adapters)
    _refuse_mixture(adapters, weights)
    tensors = without_derived(base.tensors)
    untied = _untie(tensors, adapters, bool(base.config.get("tie_word_embeddings")))
    for adapter in adapters:
        _replace(tensors, adapter)
    merged = {name: _adapted(name, view, adapters, weights) for name, view in tensors.items()}
    _refuse_unknown(tensors, adapters)
    planned = [Planned(name, chosen(request.dtype, tensors[name].dtype), view) for name, view in merged.items()]
    changes = {"tie_word_embeddings": False} if untied else {}
    tokenizer = small_files(base.folder, TOKENIZER_FILES)
    for adapter in adapters:
        # all or none: a tokenizer's files belong together
        tokenizer = small_files(adapter.folder, TOKENIZER_FILES) or tokenizer
    return Plan(
        operation="weights merge",
        shards=into_shards(planned, request.shard_gb),
        inputs=(*base.files, *(adapter.blob for adapter in adapters)),
        small_files={
            **small_files(base.folder, CONFIG_FILES),
            **({"config.json": config_bytes(base.config, planned, **changes)} if base.config else {}),
            **tokenizer,
        },
        settings={"weights": list(weights), "adapters": [dict(adapter.config) for adapter in adapters]},
        card=_card(base, adapters),
    )


def estimate(request: MergeRequest) -> Needs:
    return plan_merge(request).needs(request.out)


def lines(request: MergeRequest) -> list[str]:
    return plan_merge(request).lines()


@operation("weights", "merge", estimate=estimate, plan=lines)
def merge(request: MergeRequest, progress: Progress) -> WeightsResult:
    plan = plan_merge(request)
    return WeightsResult(**receipt(plan, request.out, stream.write(plan, request.out, progress)))


def _card(base: Checkpoint, adapters: Sequence[Adapter]) -> Card:
    """What the merged model is: trained as its adapter says, allowed what all its parts allow."""
    start, cards = card_of(base.folder), [read_card(adapter.folder) for adapter in adapters]
    told = [card for card in cards if card != Card()]
    said = next((card for card in told if card.trained_for_extraction), told[0] if told else start)
    folders = [adapter.folder.name for adapter in adapters]
    titles = [start.title or base.folder.name]
    titles += [card.title or name for card, name in zip(cards, folders, strict=True)]
    return said.model_copy(
        update={
            "title": " + ".join(dict.fromkeys(titles)),
            "languages": said.languages or start.languages,
            "license": _licenses(start, told),
            "source": " + ".join(dict.fromkeys(card.source for card in (start, *told) if card.source)),
            "files": {},
        }
    )


def _licenses(base: Card, adapters: Sequence[Card]) -> str:
    """Every licence that holds, each once; one that is not known is said to be there."""
    if not any(card.license for card in (base, *adapters)):
        return ""
    parts = [base.license or "that of the base", *(card.license for card in adapters if card.license)]
    return " and ".join(dict.fromkeys(parts))


def _adapted(name: str, view: View, adapters: Sequence[Adapter], weights: Sequence[float]) -> View:
    module = name.removesuffix(".weight")
    touching = [(adapter, weight) for adapter, weight in zip(adapters, weights, strict=True) if module in adapter.parts]
    if not touching or not name.endswith(".weight"):
        return view
    parts = tuple(adapter.low_rank(module, weight) for adapter, weight in touching)
    for adapter, part in zip((adapter for adapter, _ in touching), parts, strict=True):
        if part.shape != view.shape:
            raise _other_shape(name, adapter, view.shape, part.shape)
    magnitude = touching[0][0].parts[module].get("lora_magnitude_vector")
    return Adapted(view, parts, magnitude)


def _replace(tensors: dict[str, View], adapter: Adapter) -> None:
    for name, tensor in adapter.replaced.items():
        if name not in tensors:
            raise _unknown(name, adapter)
        have = tensors[name].shape
        same_rows = tensor.shape == have or (name.endswith(VOCABULARY) and tensor.shape[1:] == have[1:])
        if not same_rows:
            raise _other_shape(name, adapter, have, tensor.shape)
        tensors[name] = tensor


def _untie(tensors: dict[str, View], adapters: Sequence[Adapter], tied: bool) -> bool:
    """Give the output its own tensor where an adapter changes only one of the two that the base shares."""
    touched = {
        name
        for adapter in adapters
        for name in ("lm_head", "model.embed_tokens")
        if name in adapter.parts or f"{name}.weight" in adapter.replaced
    }
    shared = "lm_head.weight" not in tensors and "model.embed_tokens.weight" in tensors
    if not (touched and (tied or shared)):
        return False
    tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    return True


def _refuse_mixture(adapters: Sequence[Adapter], weights: Sequence[float]) -> None:
    for adapter in adapters:
        if adapter.config.get("use_dora") and (len(adapters) > 1 or weights[0] != 1):
            raise UserError(
                "The DoRA adapter {folder} can only be merged alone and with weight 1.",
                remedy="Merge it first, then the others into the result.",
                folder=adapter.folder,
            )


def _refuse_unknown(tensors: Mapping[str, View], adapters: Sequence[Adapter]) -> None:
    for adapter in adapters:
        for module in adapter.parts:
            if f"{module}.weight" not in tensors:
                raise _unknown(f"{module}.weight", adapter)


def _unknown(name: str, adapter: Adapter) -> UserError:
    return UserError(
        "The adapter {adapter} changes {name}, which the base does not have.",
        remedy="Choose the base model that the adapter was trained on.",
        adapter=adapter.folder,
        name=name,
    )


def _other_shape(name: str, adapter: Adapter, have: tuple[int, ...], wanted: tuple[int, ...]) -> UserError:
    return UserError(
        "The tensor {name} has the shape {shape} in the base and {other_shape} in the adapter {adapter}.",
        remedy="Choose the base model that the adapter was trained on.",
        name=name,
        shape="x".join(map(str, have)),
        other_shape="x".join(map(str, wanted)),
        adapter=adapter.folder,
    )
