"""The starter tuned for extraction: the adapter that came with the app, merged into it and exported for llama.cpp.

Made beside the starter, in its folder `tuned`, by which `core.models` gives it the starter's name. It is
stamped with what it was made from, so that another adapter makes it anew.
"""

from __future__ import annotations

import hashlib
import shutil
from functools import lru_cache
from pathlib import Path

from core import paths
from core.errors import UserError
from core.models import STARTER, TUNED, read_card, write_card
from core.operation import Progress
from core.weights import adapter, durable, export, hashes
from core.weights.export import Quant

ADAPTER = paths.PROJECT / "assets" / "starter-adapter"
QUANT: Quant = "Q8_0"
VERSION = 1
"""Of how it is made: raised where those made before are to be made again."""
FILE = f"{STARTER}-tuned.{QUANT}.gguf"
FILE_BYTES = 145_000_000
MERGED_BYTES = 270_000_000
SECONDS = 20
_STAMP = ".made-from"


def stamp(base: str) -> str:
    """Of the adapter's bytes, the base (its sha256) and how it is made; empty where the app has no adapter."""
    if not (ADAPTER / "adapter_config.json").is_file():
        return ""
    files = sorted(path for path in ADAPTER.iterdir() if path.is_file() and not path.name.startswith("."))
    parts = [f"{path.name} {_sha256(path, path.stat().st_size, path.stat().st_mtime_ns)}" for path in files]
    return hashlib.sha256("\n".join([*parts, base, QUANT, str(VERSION)]).encode()).hexdigest()


def is_missing(place: Path, base: str, *, again: bool = False) -> bool:
    """Whether there is an adapter of which `place`, the starter's folder, holds no whole tuned model."""
    wanted = stamp(base)
    if not wanted:
        return False
    tuned = place / TUNED
    try:
        made_from, files = (tuned / _STAMP).read_text("utf-8"), read_card(tuned).files
    except (OSError, ValueError, UserError):
        return True
    return made_from != wanted or FILE not in files or bool(hashes.broken(tuned, files, again=again))


def make(place: Path, base: str, progress: Progress) -> None:
    """Merge and export, beside the starter; killed, the next call goes on. The caller holds the starter's lock."""
    wanted = stamp(base)
    work = place / f".tuned-{wanted[:12]}"
    sweep(place, keep=work)
    merged, made = work / "merged", work / TUNED
    request = adapter.MergeRequest(base=place / "hf", adapter=(ADAPTER,), out=merged, dtype="float16")
    progress.log("merging the starter's adapter")
    try:
        adapter.merge(request, progress)
    except UserError:
        if not work.exists():
            raise
        # what a killed call left may be of a folder that was made again since
        shutil.rmtree(work)
        adapter.merge(request, progress)
    made.mkdir(exist_ok=True)
    card = read_card(merged)
    write_card(made, card.model_copy(update={"files": {}, "title": read_card(ADAPTER).title or card.title}))
    progress.log("writing it as a GGUF file")
    export.run(export.ExportRequest(model=merged, out=made / FILE, quant=QUANT), progress)
    durable.write_text(made / _STAMP, wanted)
    if (place / TUNED).exists():
        (place / TUNED).replace(work / "old")
    durable.publish(made, place / TUNED)
    hashes.remember(place / TUNED, read_card(place / TUNED).files)
    shutil.rmtree(work)


def sweep(place: Path, keep: Path | None = None) -> None:
    """Remove what killed calls left, but for `keep`."""
    for left in place.glob(".tuned-*"):
        if left != keep:
            shutil.rmtree(left, ignore_errors=True)


@lru_cache(maxsize=32)
def _sha256(path: Path, size: int, modified: int) -> str:
    """Read anew only when the file has changed since."""
    return hashes.digest(path)
