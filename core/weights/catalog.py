"""The models worth knowing: where they come from, what they are allowed to do, and whether this machine can run them.

The facts stand in catalog.json, nowhere else. A size that nobody verified is null there and is
reckoned from the number of parameters here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from core import resources
from core.errors import UserError
from core.models import Card
from core.resources import Machine

CATALOG = Path(__file__).with_name("catalog.json")

Kind = Literal["model", "base", "delta", "adapter"]

BYTES_PER_PARAMETER = {
    "fp32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "Q8_0": 1.0625,
    "Q4_K_M": 0.6,
    "Q4_1": 0.66,
    "Q4_0": 0.5625,
}
"""Bytes a weight takes in each precision; the K-quants mix widths, so theirs is a mean."""

RUN_PRECISIONS = ("bf16", "Q8_0", "Q4_0")
"""What a Hugging Face model can be made to run in here, widest first: as it is, or exported to GGUF."""

RECOVER_RAM = 450_000_000
"""Adding a delta goes in blocks of rows, so it takes this much whatever the model."""

_OVERHEAD = 400_000_000
"""A runtime, its compute buffers and the host process."""

# Measured: 135 M parameters, llama.cpp Q8_0, 16 slots, two cores, ~100 prompt and 19 answer tokens a row.
_ROWS_PER_SECOND, _AT_PARAMETERS, _AT_CORES = 5.6, 134_515_008, 2


class Entry(BaseModel):
    """One thing that can be fetched or brought along."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    kind: Kind
    format: Literal["gguf", "huggingface"]
    precision: str
    sources: dict[Literal["hub", "modelscope"], str]
    """source -> repository; a mirror of the hub serves the hub's. Empty: made or brought otherwise."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hashes: dict[str, str] = {}
    """file -> sha256, where verified; the download also checks what the source itself publishes."""
    license: str
    gated: bool = False
    size: int | None
    """Bytes of the chosen files; None where not verified."""
    size_exact: bool = True
    parameters: int
    parameters_exact: bool = True
    layers: int
    kv_heads: int
    head_size: int
    context: int
    languages: tuple[str, ...]
    dialect: str
    prompt_form: Literal["raw", "chat"]
    trained_for_extraction: bool = False
    base: str = ""
    """What a delta or an adapter is added to: an id."""
    published_sum: float | None = None
    """Sum of all elements of the recovered fp32 weights, as its authors published it; see published.py."""
    note: str = ""

    @property
    def bytes(self) -> int:
        """What has to be downloaded: the verified size, else one reckoned from the parameters."""
        return self.size or round(self.parameters * BYTES_PER_PARAMETER[self.precision])

    @property
    def runs_alone(self) -> bool:
        """Whether one can extract with it as it is."""
        return self.kind == "model"

    def card(self, files: dict[str, str]) -> Card:
        """What is written beside the fetched weights."""
        return Card(
            title=self.title,
            languages=self.languages,
            license=self.license,
            dialect=self.dialect,
            prompt_form=self.prompt_form,
            trained_for_extraction=self.trained_for_extraction,
            files=files,
        )


@dataclass(frozen=True)
class Fit:
    """Whether an entry runs on a machine, how, and why (not): `why` is an English template for `values`."""

    ok: bool
    device: Literal["cpu", "gpu", ""]
    precision: str
    memory: int
    why: str
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.why.format(**self.values)


@dataclass(frozen=True)
class Suggestion:
    """A model that reads the wanted language and fits; `rows_per_second` is a rough estimate, None without ground."""

    entry: Entry
    fit: Fit
    rows_per_second: float | None


@cache
def entries() -> tuple[Entry, ...]:
    return tuple(Entry.model_validate(row) for row in _data()["models"])


@cache
def endpoints() -> dict[str, str]:
    """Where the sources stand that no library knows: source -> address."""
    return _data()["endpoints"]


def find(entry_id: str) -> Entry:
    for entry in entries():
        if entry.id == entry_id:
            return entry
    raise UserError(
        "The catalog holds no “{name}”.", remedy="`python -m core models list` shows what it holds.", name=entry_id
    )


def of_repository(repository: str) -> list[Entry]:
    """The entries that a repository, of whatever source, serves."""
    wanted = repository.casefold()
    return [entry for entry in entries() if wanted in {name.casefold() for name in entry.sources.values()}]


def precisions(entry: Entry) -> tuple[str, ...]:
    """The precisions it can run in here, widest first."""
    return (entry.precision,) if entry.format == "gguf" else RUN_PRECISIONS


def memory_to_run(entry: Entry, precision: str = "", context: int = 4096) -> int:
    """Bytes of RAM or VRAM: weights, keys and values of `context` tokens in 16 bits, and the runtime."""
    precision = precision or entry.precision
    exact = entry.size if precision == entry.precision and entry.format == "gguf" else None
    weights = exact or entry.parameters * BYTES_PER_PARAMETER[precision]
    cache_bytes = 2 * entry.layers * entry.kv_heads * entry.head_size * 2 * min(context, entry.context)
    return round(weights * 1.03) + cache_bytes + _OVERHEAD


def memory_to_recover(entry: Entry) -> int | None:
    """Bytes of RAM to add a delta to its base, or to merge an adapter; None where nothing is to be recovered."""
    return RECOVER_RAM if entry.kind in ("delta", "adapter") else None


def disk_to_recover(entry: Entry, output: str = "fp16") -> int | None:
    """Bytes on disk at the peak: base (fp16), delta and output; None where nothing is to be recovered."""
    if entry.kind != "delta":
        return None
    return round(entry.bytes + entry.parameters * (2.0 + BYTES_PER_PARAMETER[output]))


def fits(entry: Entry, machine: Machine) -> Fit:
    """How it runs best here: on a GPU before the CPU, in the widest precision that fits its memory.

    Counts the machine's whole memory less a tenth, so that what other programs hold now does not
    hide a model; then says what is free now.
    """
    if entry.bytes > machine.disk_free:
        values = {"needed": resources.size(entry.bytes), "free": resources.size(machine.disk_free)}
        return Fit(False, "", entry.precision, 0, "its download is {needed}, the disk has {free} free", values)
    if not entry.runs_alone:
        return _fits_recovery(entry, machine)
    gpu = max((card.total for card in machine.gpus), default=0)
    places: tuple[tuple[Literal["cpu", "gpu"], int], ...] = (("gpu", gpu), ("cpu", machine.ram_total))
    for device, memory in places:
        for precision in precisions(entry):
            if (needed := memory_to_run(entry, precision)) <= memory * 0.9:
                return _fitting(device, precision, needed, machine)
    least = min(memory_to_run(entry, precision) for precision in precisions(entry))
    values = {"needed": resources.size(least), "total": resources.size(max(machine.ram_total, gpu))}
    return Fit(False, "", precisions(entry)[-1], least, "running it takes {needed}, this machine has {total}", values)


def rows_per_second(entry: Entry, fit: Fit, machine: Machine) -> float | None:
    """A rough estimate for sentence-long rows, scaled from one measurement by parameters and cores; None on a GPU."""
    if fit.device != "cpu":
        return None
    return _ROWS_PER_SECOND * _AT_PARAMETERS / entry.parameters * machine.cores / _AT_CORES


def for_language(language: str, machine: Machine) -> list[Suggestion]:
    """The models that read an ISO 639-1 language and run here: made for extraction first, then the larger first."""
    found = []
    for entry in entries():
        if entry.runs_alone and language in entry.languages and (fit := fits(entry, machine)).ok:
            found.append(Suggestion(entry, fit, rows_per_second(entry, fit, machine)))
    return sorted(
        found,
        key=lambda one: (one.entry.trained_for_extraction, one.entry.parameters, one.entry.format == "gguf"),
        reverse=True,
    )


def _fits_recovery(entry: Entry, machine: Machine) -> Fit:
    disk = disk_to_recover(entry)
    if disk and disk > machine.disk_free:
        values = {"needed": resources.size(disk), "free": resources.size(machine.disk_free)}
        why = "recovering takes {needed} of disk at its peak, {free} are free"
        return Fit(False, "", entry.precision, RECOVER_RAM, why, values)
    return Fit(True, "", entry.precision, RECOVER_RAM, "a part to make a model from: needs little memory")


def _fitting(device: Literal["cpu", "gpu"], precision: str, needed: int, machine: Machine) -> Fit:
    free = machine.ram_free if device == "cpu" else max(card.free for card in machine.gpus)
    values = {"needed": resources.size(needed), "free": resources.size(free), "precision": precision}
    if needed > free:
        why = "it takes {needed} as {precision}; only {free} are free now, so close other programs first"
    else:
        why = "it takes {needed} as {precision}"
    return Fit(True, device, precision, needed, why, values)


@cache
def _data() -> dict:
    return json.loads(CATALOG.read_text(encoding="utf-8"))
