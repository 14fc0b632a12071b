"""A recovery from end to end: what was chosen, which steps that makes, and how far they are.

    recoveries/NAME.json   the choices (Recovery); nothing about states
    recoveries/NAME/       what is downloaded and made on the way
    models/NAME/           what comes out: hf/ in full precision, and NAME.QUANT.gguf

How far a step is, is read off its output: weights are whole once their manifest and every file it names
are there, a download once its card is. What was removed after its use counts as spent.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import paths, resources
from core.errors import UserError
from core.models import Card, read_card
from core.weights import catalog, durable
from core.weights.checkpoint import open_checkpoint
from core.weights.dtypes import DtypeChoice
from core.weights.sample_family import SampleFamilyRequest
from core.weights.sample_family import estimate as sample_needs
from core.weights.sources import SourceName

Family = Literal["merged", "zhixi-13b", "own", "sample"]
"""merged: published whole, so that it is only downloaded and quantized."""
Key = Literal["base", "delta", "recover", "merge", "export", "verify"]
Quant = Literal["Q8_0", "Q4_0", "F16"]

ZHIXI_BASE, ZHIXI_DIFFS = "llama-13b", ("zhixi-13b-diff-fp16", "zhixi-13b-diff")
ZHIXI_LORA, ZHIXI_MERGED = "zhixi-13b-lora", "knowlm-13b-zhixi"
REPOSITORY = r"^([A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*)?$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._\-]*$"


class Part(BaseModel):
    """Where a part comes from: a folder that the person has, or a repository; neither: not chosen yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = None
    repo: str = Field(default="", max_length=200, pattern=REPOSITORY)

    @property
    def chosen(self) -> bool:
        return bool(self.folder or self.repo)


class Recovery(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME, max_length=60)
    family: Family
    base: Part = Part()
    delta: Part = Part()
    adapter: Part | None = Part()
    """None: the difference alone makes the model."""
    source: SourceName = "hub"
    dtype: DtypeChoice = "same"
    quant: Quant | None = None
    """None: as proposed for this machine."""
    folder: Path | None = None
    """Another place than the workspace for what is downloaded and made on the way."""


# --- the choices, as a file ------------------------------------------------------------------------


def folder() -> Path:
    made = paths.workspace() / "recoveries"
    made.mkdir(mode=0o700, exist_ok=True)
    return made


def names() -> list[str]:
    """The newest first."""
    found = sorted(folder().glob("*.json"), key=lambda path: path.stat().st_ctime, reverse=True)
    return [path.stem for path in found if not path.name.startswith(".")]


def read(name: str) -> Recovery:
    """Raises UserError where there is none of that name, or its file is spoiled."""
    file = folder() / f"{name}.json"
    if Path(name).name != name or not file.is_file():
        raise UserError("There is no recovery “{name}”.", remedy="The Recover page lists and begins them.", name=name)
    try:
        return Recovery.model_validate_json(file.read_text("utf-8"))
    except (ValidationError, ValueError) as error:
        raise UserError(
            "{file} can't be read: {why}",
            remedy="Remove this file and begin a new recovery.",
            file=file,
            why=str(error).splitlines()[0],
        ) from error


def write(recovery: Recovery) -> None:
    durable.write_text(folder() / f"{recovery.name}.json", recovery.model_dump_json(indent=1))


def is_taken(name: str) -> bool:
    """Whether a recovery or a model is called so."""
    model = paths.models() / name
    return (folder() / f"{name}.json").exists() or (model.is_dir() and any(model.iterdir()))


def begin(recovery: Recovery) -> Recovery:
    """Write a new one. Raises UserError where its name is taken, or its place outside the workspace is in use."""
    if is_taken(recovery.name):
        raise UserError("The name “{name}” is taken.", remedy="Choose another name.", name=recovery.name)
    place = workplace(recovery)
    if recovery.folder and place.exists() and any(place.iterdir()):
        # what is made there is removed with the recovery: nothing of a person's own may lie there
        raise UserError("{folder} is not empty.", remedy="Choose another name or folder.", folder=place)
    write(recovery)
    return recovery


def named(name: str) -> Recovery:
    """An empty one of one's own. Raises UserError for a name that can't be a folder's."""
    try:
        return Recovery(name=name.strip(), family="own")
    except ValidationError as error:
        raise UserError(
            "“{name}” can't be a name.", remedy="Use letters, digits, dots and dashes, a letter first.", name=name
        ) from error


def part(text: str) -> Part:
    """A typed folder or repository. Raises UserError for what is neither."""
    text = text.strip()
    place = Path(text).expanduser()
    if not text:
        return Part()
    if place.is_absolute() or text.startswith(".") or place.is_dir():
        return Part(folder=place.absolute())
    if ".." in text or not re.match(REPOSITORY, text):
        raise UserError(
            "“{typed}” is neither a folder nor a repository.",
            remedy="Write the folder's whole path, or a repository as owner/name.",
            typed=text,
        )
    return Part(repo=text)


def of_merged(name: str, *, source: SourceName = "hub") -> Recovery:
    """ZhiXi as it is published, merged: nothing to recover."""
    repo = catalog.find(ZHIXI_MERGED).sources["hub"]
    return Recovery(name=name, family="merged", base=Part(repo=repo), adapter=None, source=source)


def of_zhixi(name: str, diff: str, *, source: SourceName = "hub", base: Path | None = None) -> Recovery:
    """ZhiXi from LLaMA 13B, one of its two published differences (an id of the catalog), and its LoRA."""
    return Recovery(
        name=name,
        family="zhixi-13b",
        base=Part(folder=base),
        delta=Part(repo=catalog.find(diff).sources["hub"]),
        adapter=Part(repo=catalog.find(ZHIXI_LORA).sources["hub"]),
        source=source,
        dtype="float16",
    )


def sample(name: str = "sample-family") -> Recovery:
    family = folder() / name / "family"
    base, delta, lora = (Part(folder=family / part) for part in ("base", "delta", "lora"))
    return Recovery(name=name, family="sample", base=base, delta=delta, adapter=lora)


# --- where things are ------------------------------------------------------------------------------


def workplace(recovery: Recovery) -> Path:
    return (recovery.folder or folder()) / recovery.name


def part_folder(recovery: Recovery, part: Part, key: str) -> Path:
    """A download keeps its repository's name."""
    if key == "base" and recovery.family == "merged":
        return full_precision(recovery)
    if part.folder:
        return part.folder
    return workplace(recovery) / (part.repo.rsplit("/", 1)[-1].lower() or key)


def full_precision(recovery: Recovery) -> Path:
    if recovery.family == "merged" and recovery.base.folder:
        return recovery.base.folder
    return paths.models() / recovery.name / "hf"


def out_of(recovery: Recovery, key: Key) -> Path:
    """The folder, or the file, that a step yields."""
    if key == "base":
        return full_precision(recovery) if recovery.family == "merged" else part_folder(recovery, recovery.base, key)
    if key == "delta":
        return part_folder(recovery, recovery.delta, key)
    if key == "recover" and recovery.adapter is not None:
        return workplace(recovery) / "recovered"
    if key in ("recover", "merge"):
        return full_precision(recovery)
    model = paths.models() / recovery.name
    return model / f"{recovery.name}.{quant(recovery)}.gguf" if key == "export" else model


def keys(recovery: Recovery) -> tuple[Key, ...]:
    if recovery.family == "merged":
        return "base", "export", "verify"
    if recovery.adapter is None:
        return "base", "delta", "recover", "export", "verify"
    return "base", "delta", "recover", "merge", "export", "verify"


# --- sizes and the precision -----------------------------------------------------------------------


def elements(recovery: Recovery) -> int | None:
    """Numbers in the model; None while no part of it is here and nothing tells its size."""
    for place in (out_of(recovery, "base"), out_of(recovery, "delta"), full_precision(recovery)):
        if (measured := _measured(place, stamp(place))) is not None:
            return measured[0]
    if recovery.family in ("merged", "zhixi-13b"):
        return catalog.find(ZHIXI_MERGED).parameters
    if recovery.family == "sample":  # base and difference, both at 16 bits, and the adapter
        needed = sample_needs(SampleFamilyRequest(out=workplace(recovery) / "family")).disk or 0
        return round(needed / 4.2)
    return None


def weight_width(recovery: Recovery) -> float:
    """Bytes a weight takes in what is recovered."""
    if recovery.dtype != "same":
        return 4.0 if recovery.dtype == "float32" else 2.0
    place = out_of(recovery, "delta")
    if (measured := _measured(place, stamp(place))) is not None:
        return measured[1] / measured[0]
    known = catalog.of_repository(recovery.delta.repo) if recovery.delta.repo else []
    return catalog.BYTES_PER_PARAMETER[known[0].precision] if known else 2.0


@lru_cache(maxsize=64)
def _measured(place: Path, at: tuple) -> tuple[int, int] | None:
    """(numbers, bytes) of the weights in a folder; None where there are none."""
    try:
        found = open_checkpoint(place) if at else None
    except UserError:
        return None
    return (sum(prod(view.shape) for view in found.tensors.values()), found.bytes) if found else None


def quant(recovery: Recovery) -> Quant:
    """As chosen; else that of the file that is there already; else as proposed for this machine."""
    if recovery.quant:
        return recovery.quant
    made = sorted((paths.models() / recovery.name).glob(f"{recovery.name}.*.gguf"))
    there = made[0].name.removeprefix(f"{recovery.name}.").removesuffix(".gguf") if made else ""
    return there if there in ("Q8_0", "Q4_0", "F16") else proposed_quant(elements(recovery))  # type: ignore[return-value]


def proposed_quant(count: int | None, ram: int | None = None) -> Quant:
    """Q8_0 (nearly lossless) where it runs in nine tenths of the memory, else Q4_0."""
    whole = resources.ram()[0] if ram is None else ram
    return "Q8_0" if count is None or memory_to_run(count, "Q8_0") <= 0.9 * whole else "Q4_0"


def memory_to_run(count: int, precision: Quant) -> int:
    """Bytes: weights, a context of about 4,000 tokens (a tenth of a weight's size at 16 bits), the runtime."""
    return round(count * (gguf_width(precision) + 0.2) + 400_000_000)


def gguf_width(precision: Quant) -> float:
    return {"F16": 2.0}.get(precision) or catalog.BYTES_PER_PARAMETER[precision]


def stamp(place: Path) -> tuple:
    try:
        return tuple(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in place.iterdir()))
    except OSError:
        return ()


def bytes_at(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) if place.is_dir() else 0


def card_of(place: Path) -> Card:
    try:
        return read_card(place)
    except UserError:
        return Card()
