"""`models verify`: every file of a model against the hashes that are known of it, and its weights' own structure.

Known are the hashes in its card (the hub's, where it was downloaded here), in the manifest of weights
made here, and Meta's checklist.chk. What none of them names is called unverifiable, not good.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field
from tyro.conf import Positional

from core import resources
from core.errors import UserError
from core.models import CARD, read_card
from core.operation import Needs, Progress, Request, Result, operation
from core.weights import hashes, names, shards
from core.weights.part import NOTES, SUFFIX
from core.weights.stream import MANIFEST
from core.weights.tensors import read_safetensors

CHECKLIST = "checklist.chk"
_CHECKLIST_LINE = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")
_MB = 1_000_000
_BYTES_PER_SECOND = 400_000_000


class VerifyRequest(Request):
    """Check every file of a model against its known hashes."""

    folder: Positional[Path] = Field(description="Folder to check", json_schema_extra={"picker": "folder"})


class VerifyResult(Result):
    folder: Path
    good: tuple[str, ...]
    unverifiable: tuple[str, ...]
    """No hash is known of them; where they are safetensors files their structure is sound."""
    bytes: int
    seconds: float

    def summary(self) -> str:
        lines = [f"{len(self.good)} files are as they should be ({resources.size(self.bytes)} in {self.seconds:.1f} s)"]
        if self.unverifiable:
            lines.append(f"no hash is known of: {', '.join(self.unverifiable)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Known:
    algorithm: str
    digest: str


@dataclass
class Verdict:
    """What was found: names, and why the broken ones are."""

    good: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unverifiable: list[str] = field(default_factory=list)


def estimate(request: VerifyRequest) -> Needs:
    if not request.folder.is_dir():
        return Needs()
    size = sum(path.stat().st_size for _, path in _files(request.folder))
    return Needs(seconds=1 + size / _BYTES_PER_SECOND)


@operation("models", "verify", estimate=estimate)
def run(request: VerifyRequest, progress: Progress) -> VerifyResult:
    """Raises UserError that names every broken and every missing file."""
    started = time.monotonic()
    verdict = check(request.folder, progress)
    for name, why in verdict.broken.items():
        progress.log(f"broken: {name}: {why}")
    for name in verdict.missing:
        progress.log(f"missing: {name}")
    if verdict.broken or verdict.missing:
        raise _damage(request.folder, verdict)
    return VerifyResult(
        folder=request.folder,
        good=tuple(verdict.good),
        unverifiable=tuple(verdict.unverifiable),
        bytes=sum((request.folder / name).stat().st_size for name in verdict.good),
        seconds=time.monotonic() - started,
    )


def check(folder: Path, progress: Progress) -> Verdict:
    """Read every file of a folder once, several at a time. Raises UserError where there is nothing to check."""
    if not folder.is_dir():
        raise UserError("There is no folder {path}.", remedy="Choose the folder that holds the model.", path=folder)
    known = known_hashes(folder)
    present = dict(_files(folder))
    if not known and not present:
        raise UserError(
            "The folder {path} holds no model.",
            remedy="Choose a .gguf file, or a folder with config.json and .safetensors files.",
            path=folder,
        )
    verdict = Verdict(missing=sorted(name for name in known if name not in present))
    reasons = _examine(present, known, progress)
    for inner in _folders(folder):
        _check_indexes(folder, inner, present, verdict, reasons)
    for name in sorted(present):
        if name in reasons:
            verdict.broken[name] = reasons[name]
        elif name in known:
            verdict.good.append(name)
        else:
            verdict.unverifiable.append(name)
    hashes.remember(folder, {name: known[name].digest for name in verdict.good if known[name].algorithm == "sha256"})
    return verdict


def known_hashes(folder: Path) -> dict[str, Known]:
    """File -> the hash it should have, by its own folder and those above it. Names that lead out are passed over."""
    found: dict[str, Known] = {}
    for inner in _folders(folder):  # the outermost last: it says the last word
        before = "" if inner == folder else f"{inner.relative_to(folder).as_posix()}/"
        own = {name: Known("md5", digest) for name, digest in _checklist(inner).items()}
        own |= {name: Known("sha256", digest) for name, digest in _manifest(inner).items()}
        own |= {name: Known("sha256", digest) for name, digest in read_card(inner).files.items()}
        found |= {before + name: hash_ for name, hash_ in own.items() if names.is_safe(name)}
    return found


def _examine(present: dict[str, Path], known: dict[str, Known], progress: Progress) -> dict[str, str]:
    """What is wrong with each file that something is wrong with."""
    total = sum(path.stat().st_size for path in present.values())
    moved, lock, stop = [0], threading.Lock(), threading.Event()

    def count(size: int) -> None:
        if stop.is_set():
            raise InterruptedError
        with lock:
            moved[0] += size

    with ThreadPoolExecutor(max_workers=max(2, min(8, resources.cores()))) as pool:
        pending = {pool.submit(_wrong, path, known.get(name), count): name for name, path in present.items()}
        try:
            while not all(future.done() for future in pending):
                progress.step(moved[0] // _MB, total // _MB, "MB")
                time.sleep(0.05)
            progress.step(total // _MB, total // _MB, "MB")
        except BaseException:
            stop.set()
            raise
        return {name: why for future, name in pending.items() if (why := future.result())}


def _wrong(path: Path, known: Known | None, count: Callable[[int], None]) -> str:
    """Why a file is broken; empty where nothing speaks against it."""
    try:
        if known is None:
            count(path.stat().st_size)
        elif (found := hashes.digest(path, known.algorithm, moved=count)) != known.digest.lower():
            return f"its {known.algorithm} is {found}, not {known.digest.lower()}"
        if path.suffix == ".safetensors":
            read_safetensors(path)
    except UserError as error:
        return str(error)
    except InterruptedError:
        return ""
    except OSError as error:
        return f"it can't be read: {error.strerror or error}"
    return ""


def _check_indexes(
    folder: Path, inner: Path, present: dict[str, Path], verdict: Verdict, reasons: dict[str, str]
) -> None:
    """Every shard that an index or a split file's name speaks of is here, and holds what the index says."""
    before = "" if inner == folder else f"{inner.relative_to(folder).as_posix()}/"
    spoken_of = {before + name for name in shards.parts(inner)}
    for index in shards.indexes(inner):
        name = before + index.name
        if name in reasons:  # what a broken index says is not to be believed
            continue
        try:
            files = {before + file for file in shards.indexed(index)}
        except UserError as error:
            reasons[name] = str(error)
            continue
        spoken_of |= files
        if files <= present.keys() - reasons.keys() and (lost := _not_in_shards(inner, index.name)):
            reasons[name] = f"it places tensors where they are not, for one {lost[0]}"
    verdict.missing += sorted(name for name in spoken_of if name not in present and name not in verdict.missing)


def _not_in_shards(folder: Path, index: str) -> list[str]:
    places = shards.weight_map(folder / index)
    held = {
        name: set(read_safetensors(folder / name)) for name in set(places.values()) if name.endswith(".safetensors")
    }
    return [tensor for tensor, name in places.items() if name in held and tensor not in held[name]]


def _checklist(folder: Path) -> dict[str, str]:
    """Meta's `md5  name` lines."""
    file = folder / CHECKLIST
    if not file.is_file() or file.stat().st_size > 1 << 20:
        return {}
    lines = file.read_text("utf-8", errors="replace").splitlines()
    return {found[2].strip(): found[1] for line in lines if (found := _CHECKLIST_LINE.fullmatch(line.strip()))}


def _manifest(folder: Path) -> dict[str, str]:
    file = folder / MANIFEST
    if not file.is_file():
        return {}
    try:
        made = json.loads(file.read_text("utf-8"))
        files = made.get("small_files", {}) | made["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(
            "{file} can't be read: {why}", remedy="Make or download the model again.", file=file, why=error
        ) from error


def _folders(folder: Path) -> list[Path]:
    """The folder and those inside it, the deepest first; hidden ones and links out of it left out."""
    root = folder.resolve()
    inner = {path.parent for _, path in _files(folder)} | {
        path.parent
        for name in (CARD, MANIFEST, CHECKLIST)
        for path in folder.rglob(name)
        if not _is_hidden(path.relative_to(folder)) and path.resolve().is_relative_to(root)
    }
    return sorted(inner | {folder}, key=lambda path: (-len(path.parts), path))


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The model's files by name, ours and unfinished parts left out; links out of the folder are not followed."""
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        ours = path.name in (CARD, MANIFEST, CHECKLIST) or name.endswith((SUFFIX, NOTES))
        if ours or _is_hidden(path.relative_to(folder)):
            continue
        if path.is_file() and path.resolve().is_relative_to(root):
            yield name, path


def _damage(folder: Path, verdict: Verdict) -> UserError:
    return UserError(
        "Broken in {folder}: {broken}."
        if not verdict.missing
        else "Missing from {folder}: {missing}."
        if not verdict.broken
        else "Broken in {folder}: {broken}; missing: {missing}.",
        remedy="Download again into the same folder: only these files are fetched; or make them again.",
        folder=folder,
        broken=", ".join(verdict.broken),
        missing=", ".join(verdict.missing),
    )
