"""A recovery from end to end: what was chosen, which steps that makes, and how far they are.

    recoveries/NAME.json   the choices (Recovery); nothing about states
    recoveries/NAME/       what is downloaded and made on the way
    models/NAME/           what comes out: hf/ in full precision, and NAME.QUANT.gguf

How far a step is, is read off its output: weights are whole once their manifest and every file it names
are there, a download once its card is. What was removed after its use counts as spent.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import paths, resources
from core.errors import UserError
from core.models import Card, read_card
from core.operation import Request
from core.weights import catalog, durable, hashes, stream
from core.weights.adapter import MergeRequest, plan_merge
from core.weights.adapter_file import open_adapter
from core.weights.checkpoint import open_checkpoint
from core.weights.delta import RecoverRequest, plan_recover
from core.weights.download import DownloadRequest
from core.weights.dtypes import DtypeChoice
from core.weights.export import ExportRequest, plan_export
from core.weights.sample_family import SampleFamilyRequest
from core.weights.sample_family import estimate as sample_needs
from core.weights.sources import SourceName
from core.weights.verify import VerifyRequest

Family = Literal["merged", "zhixi-13b", "own", "sample"]
"""merged: published whole, so that it is only downloaded and quantized."""
Key = Literal["base", "delta", "recover", "merge", "export", "verify"]
Quant = Literal["Q8_0", "Q4_0", "F16"]
State = Literal["done", "spent", "next", "waiting", "wrong"]

ZHIXI_BASE, ZHIXI_DIFFS = "llama-13b", ("zhixi-13b-diff-fp16", "zhixi-13b-diff")
ZHIXI_LORA, ZHIXI_MERGED = "zhixi-13b-lora", "knowlm-13b-zhixi"
REPOSITORY = r"^([A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*)?$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._\-]*$"
FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja", "LICENSE*")


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


@dataclass(frozen=True)
class Step:
    key: Key
    state: State
    out: Path
    size: int = 0
    """Bytes that lie there."""
    error: UserError | None = None
    """Why it can't be done with these choices."""

    @property
    def over(self) -> bool:
        return self.state in ("done", "spent")


@dataclass(frozen=True)
class Spent:
    """Something made or downloaded here that no later step needs."""

    key: str
    """A step's, or `adapter`."""
    path: Path
    bytes: int


# --- the choices, as a file ---------------------------------------------------------------------


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
            remedy="Remove this file and begin the recovery anew: what was made is found again.",
            file=file,
            why=str(error).splitlines()[0],
        ) from error


def write(recovery: Recovery) -> None:
    durable.write_text(folder() / f"{recovery.name}.json", recovery.model_dump_json(indent=1))


def begin(recovery: Recovery) -> Recovery:
    """Write a new one. Raises UserError where its name is taken, by another recovery or by a model."""
    taken = paths.models() / recovery.name
    if (folder() / f"{recovery.name}.json").exists() or (taken.is_dir() and any(taken.iterdir())):
        raise UserError("The name “{name}” is taken.", remedy="Choose another name.", name=recovery.name)
    write(recovery)
    return recovery


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
            "“{text}” is neither a folder nor a repository.",
            remedy="Write the folder's whole path, or a repository as owner/name.",
            text=text,
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


# --- where things are ---------------------------------------------------------------------------


def workplace(recovery: Recovery) -> Path:
    return (recovery.folder or folder()) / recovery.name


def part_folder(recovery: Recovery, part: Part, key: str) -> Path:
    """A download keeps its repository's name, by which its published sum is known."""
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


# --- how far it is ------------------------------------------------------------------------------


def steps(recovery: Recovery, *, deep: bool = True) -> list[Step]:
    """Every step with its state. `deep` also asks whether the parts fit together and outputs are of these inputs."""
    found: dict[str, Step] = {}
    for key in reversed(keys(recovery)):
        out = out_of(recovery, key)
        there = _is_there(recovery, key)
        state: State = "done" if there else "waiting"
        if not there and any(found[later].over for later in _users(recovery, key)):
            state = "spent"
        found[key] = Step(key, state, out, _bytes_at(out) if there else 0)
    order = [found[key] for key in keys(recovery)]
    return [_judged(recovery, step, found, deep=deep) for step in order]


def remaining(recovery: Recovery) -> list[Key]:
    return [step.key for step in steps(recovery, deep=False) if not step.over]


def not_chosen(recovery: Recovery) -> list[Key]:
    """The steps for which a folder or repository has still to be named, and is still needed."""
    left = remaining(recovery)
    parts: tuple[tuple[Key, Part | None], ...] = (
        ("base", recovery.base), ("delta", recovery.delta), ("merge", recovery.adapter),
    )  # fmt: skip
    return [key for key, part in parts if part is not None and key in left and not part.chosen]


def _judged(recovery: Recovery, step: Step, found: dict[str, Step], *, deep: bool) -> Step:
    """With what speaks against it, or `next` where all that it needs is there."""
    ready = all(found[before].state == "done" for before in _inputs(recovery, step.key))
    error = _wrong_folder(recovery, step) if not step.over else None
    if error is None and deep and ready:
        error = _misfit(recovery, step)
    if error is not None:
        return Step(step.key, "wrong", step.out, step.size, error)
    return step if step.over or not ready else Step(step.key, "next", step.out, step.size)


def _inputs(recovery: Recovery, key: Key) -> tuple[Key, ...]:
    if key in ("base", "delta"):
        return ()
    order = keys(recovery)
    return ("base", "delta") if key == "recover" else (order[order.index(key) - 1],)


def _users(recovery: Recovery, key: Key) -> list[Key]:
    return [later for later in keys(recovery) if key in _inputs(recovery, later) and later != "verify"]


def _is_there(recovery: Recovery, key: Key) -> bool:
    if key in ("base", "delta"):
        part: Part = getattr(recovery, key)
        return part.chosen and _part_error(recovery, part, key) is None and _is_whole(recovery, part, key)
    if key in ("recover", "merge"):
        return manifest(out_of(recovery, key), f"weights {key}") is not None
    model = paths.models() / recovery.name
    gguf = out_of(recovery, "export")
    known = _card(model).files.get(gguf.name)
    if key == "export":
        return known is not None and gguf.is_file()
    return known is not None and all(hashes.remembered(place, name) for place, name in _to_verify(recovery))


def _to_verify(recovery: Recovery) -> list[tuple[Path, str]]:
    """(folder, file) of everything that is to be read again."""
    gguf, full = out_of(recovery, "export"), full_precision(recovery)
    made = manifest(full, "") or {"files": _card(full).files}
    return [(gguf.parent, gguf.name), *((full, name) for name in made["files"])]


def _is_whole(recovery: Recovery, part: Part, key: str) -> bool:
    """A person's own folder is taken as it is; what is downloaded or made here is whole once its last file is there."""
    place = part_folder(recovery, part, key)
    if recovery.family == "sample":  # its adapter is made last
        return recovery.adapter is not None and manifest(recovery.adapter.folder or place, "") is not None
    if part.folder:
        return True
    known = _card(place).files
    return bool(known) and all((place / name).is_file() for name in known)


def manifest(place: Path, operation: str) -> dict | None:
    """The manifest of weights made here, once every file it names is there; None before. "": of any operation."""
    try:
        made = json.loads((place / stream.MANIFEST).read_text("utf-8"))
        files = made["files"]
        whole = all((place / name).is_file() for name in files) and (len(files) < 2 or (place / stream.INDEX).is_file())
        return made if whole and operation in ("", made["operation"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _wrong_folder(recovery: Recovery, step: Step) -> UserError | None:
    """Why the chosen folder of an own part can't be used. What is yet to be downloaded or made is no error."""
    part = {"base": recovery.base, "delta": recovery.delta, "merge": recovery.adapter}.get(step.key)
    if part is None or part.folder is None or recovery.family == "sample":
        return None
    return _part_error(recovery, part, "adapter" if step.key == "merge" else step.key)


def _part_error(recovery: Recovery, part: Part, key: str) -> UserError | None:
    place = part_folder(recovery, part, key)
    return _error_in(place, key == "adapter", _stamp(place))


@lru_cache(maxsize=64)
def _error_in(place: Path, is_adapter: bool, stamp: tuple) -> UserError | None:
    """Read anew only when the folder has changed since."""
    try:
        open_adapter(place) if is_adapter else open_checkpoint(place)
    except UserError as error:
        return error
    return None


def _stamp(place: Path) -> tuple:
    try:
        return tuple(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in place.iterdir()))
    except OSError:
        return ()


def _misfit(recovery: Recovery, step: Step) -> UserError | None:
    """Whether the inputs belong together, asked of the operation's own plan; and whether an output is theirs."""
    try:
        if step.key == "recover":
            plan = plan_recover(_recover(recovery))
        elif step.key == "merge" and _adapter_is_there(recovery):
            plan = plan_merge(_merge(recovery))
        elif step.key == "export" and step.state != "done":
            plan_export(_export(recovery))
            return None
        else:
            return None
    except UserError as error:
        return error if step.state != "done" else None
    made = manifest(step.out, f"weights {step.key}") if step.state == "done" else None
    if made is not None and made["fingerprint"] != plan.fingerprint:
        return UserError(
            "{out} was made from other inputs than these.",
            remedy="Remove it and make it again, or choose the inputs that it was made from.",
            out=step.out,
        )
    return None


def _adapter_is_there(recovery: Recovery) -> bool:
    part = recovery.adapter
    return (
        part is not None
        and part.chosen
        and _part_error(recovery, part, "adapter") is None
        and _is_whole(recovery, part, "adapter")
    )


# --- what to run --------------------------------------------------------------------------------


def requests(recovery: Recovery, key: Key) -> list[Request]:
    """The operations that make up a step, as far as they are still to be done."""
    if key in ("base", "delta"):
        if recovery.family == "sample":
            return [SampleFamilyRequest(out=workplace(recovery) / "family")]
        return _download(recovery, getattr(recovery, key), key)
    if key == "recover":
        return [_recover(recovery)]
    if key == "merge" and recovery.adapter is not None:
        fetched = [] if _adapter_is_there(recovery) else _download(recovery, recovery.adapter, "adapter")
        return [*fetched, _merge(recovery)]
    if key == "export":
        return [_export(recovery)]
    return [VerifyRequest(folder=place) for place in dict.fromkeys(place for place, _ in _to_verify(recovery))]


def _download(recovery: Recovery, part: Part, key: str) -> list[Request]:
    if not part.repo or part.folder:
        return []
    known = catalog.of_repository(part.repo)
    there = known[0].sources.get("modelscope") if known and recovery.source == "modelscope" else None
    return [
        DownloadRequest(
            repo=there or part.repo,
            out=part_folder(recovery, part, key),
            source=recovery.source,
            include=known[0].include if known else FILES,
            exclude=known[0].exclude if known else (),
        )
    ]  # fmt: skip


def _recover(recovery: Recovery) -> RecoverRequest:
    base, delta = out_of(recovery, "base"), out_of(recovery, "delta")
    return RecoverRequest(base=base, delta=delta, out=out_of(recovery, "recover"), dtype=recovery.dtype)


def _merge(recovery: Recovery) -> MergeRequest:
    adapter = part_folder(recovery, recovery.adapter or Part(), "adapter")
    return MergeRequest(base=out_of(recovery, "recover"), adapter=(adapter,), out=out_of(recovery, "merge"))


def _export(recovery: Recovery) -> ExportRequest:
    return ExportRequest(model=full_precision(recovery), out=out_of(recovery, "export"), quant=quant(recovery))


def final_card(recovery: Recovery) -> Card:
    """What the recovered model says of itself."""
    if recovery.family in ("merged", "zhixi-13b"):
        return catalog.find(ZHIXI_MERGED).card({}).model_copy(update={"title": "ZhiXi 13B"})
    made = _card(full_precision(recovery))
    return made.model_copy(update={"title": made.title if recovery.family == "sample" else recovery.name, "files": {}})


def model_ref(recovery: Recovery) -> str:
    """What Chat is to load: the folder's name, or the file's path where the folder holds several."""
    gguf = out_of(recovery, "export")
    return recovery.name if len(list(gguf.parent.glob("*.gguf"))) == 1 else str(gguf)


# --- sizes and the precision --------------------------------------------------------------------


def elements(recovery: Recovery) -> int | None:
    """Numbers in the model; None while no part of it is here and nothing tells its size."""
    for place in (out_of(recovery, "base"), out_of(recovery, "delta"), full_precision(recovery)):
        if (measured := _measured(place, _stamp(place))) is not None:
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
    if (measured := _measured(place, _stamp(place))) is not None:
        return measured[1] / measured[0]
    known = catalog.of_repository(recovery.delta.repo) if recovery.delta.repo else []
    return catalog.BYTES_PER_PARAMETER[known[0].precision] if known else 2.0


@lru_cache(maxsize=64)
def _measured(place: Path, stamp: tuple) -> tuple[int, int] | None:
    """(numbers, bytes) of the weights in a folder; None where there are none."""
    try:
        found = open_checkpoint(place) if stamp else None
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


# --- taking away --------------------------------------------------------------------------------


def spent_inputs(recovery: Recovery) -> list[Spent]:
    """What was downloaded or made here and has served. A person's own folders are never among them."""
    over = {step.key: step.over for step in steps(recovery, deep=False)}
    served: list[tuple[str, Path, bool]] = []
    if recovery.family != "merged":
        served += [(key, out_of(recovery, key), over["recover"]) for key in ("base", "delta")]
    if recovery.adapter is not None:
        served += [
            ("recover", out_of(recovery, "recover"), over["merge"]),
            ("adapter", part_folder(recovery, recovery.adapter, "adapter"), over["merge"]),
        ]
    served.append(("merge", full_precision(recovery), over["verify"]))
    return [
        Spent(key, place, _bytes_at(place))
        for key, place, has_served in served
        if has_served and place.is_dir() and _is_ours(recovery, place)
    ]


def remove_spent(recovery: Recovery, wanted: Iterable[str]) -> None:
    """Remove these of the spent inputs; others are left alone."""
    chosen = set(wanted)
    for spent in spent_inputs(recovery):
        if spent.key in chosen:
            _remove(spent.path)


def undo(recovery: Recovery, key: Key) -> None:
    """Remove what a step made and what was made of that; inputs stay."""
    order = keys(recovery)
    for later in order[order.index(key) :]:
        if later in ("recover", "merge", "export"):
            _remove(out_of(recovery, later))


def forget(recovery: Recovery) -> None:
    """Remove the choices and what was made on the way; the model that came out stays."""
    if _is_ours(recovery, workplace(recovery)):
        _remove(workplace(recovery))
    (folder() / f"{recovery.name}.json").unlink(missing_ok=True)


def _is_ours(recovery: Recovery, place: Path) -> bool:
    own = (workplace(recovery), paths.models() / recovery.name)
    return any(place.absolute().is_relative_to(root.absolute()) for root in own)


def _remove(place: Path) -> None:
    """Gone under its name at once, so that a kill half-way leaves nothing that looks whole."""
    if not place.exists():
        return
    grave = place.rename(place.with_name(f".removed-{secrets.token_hex(4)}"))
    shutil.rmtree(grave, ignore_errors=True) if grave.is_dir() else grave.unlink()


def _bytes_at(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) if place.is_dir() else 0


def _card(place: Path) -> Card:
    try:
        return read_card(place)
    except UserError:
        return Card()
