"""`models download`: a repository, or some of its files, from a hub into a folder; whole and checked, or resumable."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import Field, field_validator

from core import paths, resources
from core.errors import UserError
from core.models import Card, read_card, write_card
from core.operation import Needs, Progress, Request, Result, operation
from core.weights import catalog, hashes, names, shards, sources
from core.weights.crew import Crew
from core.weights.gate import explained
from core.weights.part import NOTES
from core.weights.sources import Listing, RemoteFile, SourceName
from core.weights.web import Patience, Web, refuse_offline

PATIENT = Patience()
_LAST = ("config.json", "*.index.json", "*-00001-of-*.gguf", "adapter_config.json")


class DownloadRequest(Request):
    """Download a model, or single files of one; started again, it goes on where it stopped."""

    repo: str = Field(
        description="Repository, as owner/name",
        pattern=r"^[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?$",
        max_length=200,
    )
    out: Path | None = Field(
        default=None,
        description="Folder to write to; left out: a folder of that name among the app's models",
        json_schema_extra={"picker": "folder"},
    )
    source: SourceName = Field(
        default="hub", description="Where from: Hugging Face, a mirror of it, or ModelScope (often faster in China)"
    )
    file: str = Field(default="", description="Only this one file of the repository")
    include: tuple[str, ...] = Field(
        default=(), description="Only files that match one of these patterns, such as *.safetensors"
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="No files that match one of these patterns", json_schema_extra={"advanced": True}
    )
    one_format: bool = Field(
        default=False,
        description="Of weights that are there in several formats only the safetensors",
        json_schema_extra={"advanced": True},
    )
    revision: str = Field(
        default="", description="Branch, tag or commit; left out: the newest", json_schema_extra={"advanced": True}
    )
    endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$",
        description="Another address of the source",
        json_schema_extra={"advanced": True},
    )
    parallel: int = Field(
        default=4, ge=1, le=16, description="Files downloaded at the same time", json_schema_extra={"advanced": True}
    )

    @field_validator("repo")
    @classmethod
    def _no_climbing(cls, repo: str) -> str:
        if ".." in repo:
            raise ValueError("not a repository's name")
        return repo

    @property
    def folder(self) -> Path:
        return self.out or paths.models() / self.repo.rsplit("/", 1)[-1].lower()

    @property
    def patterns(self) -> tuple[str, ...]:
        return (*self.include, *([_literally(self.file)] if self.file else []))


class DownloadResult(Result):
    folder: Path
    repo: str
    revision: str
    files: dict[str, str]
    """file -> sha256, all that were asked for."""
    bytes: int
    """Fetched in this call; files and parts that were here before do not count."""
    left_out: tuple[str, ...]
    """Weights that the index names and the patterns leave out."""
    seconds: float

    def summary(self) -> str:
        rate = f", {resources.size(self.bytes / max(self.seconds, 0.01))}/s" if self.bytes else ""
        lines = [f"{len(self.files)} files of {self.repo}, all checked: {self.folder}"]
        lines.append(f"downloaded {resources.size(self.bytes)} in {self.seconds:.0f} s{rate}")
        if self.left_out:
            lines.append(f"left out by your patterns, so the model is not complete: {', '.join(self.left_out)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Order:
    """A request with all that had to be asked for: what to fetch, from where."""

    request: DownloadRequest
    source: sources.Source
    endpoint: str
    web: Web
    listing: Listing
    files: tuple[RemoteFile, ...]

    def url(self, file: RemoteFile) -> str:
        return self.source.url(self.endpoint, self.request.repo, self.listing.revision, file.name)


def estimate(request: DownloadRequest) -> Needs:
    """From the catalog alone, without asking the source; the run checks the disk against the true sizes."""
    known = [entry for entry in catalog.of_repository(request.repo) if set(entry.include) == set(request.patterns)]
    if not known or (request.folder.is_dir() and any(request.folder.iterdir())):
        return Needs()
    return Needs(disk=known[0].bytes, disk_at=request.folder)


def plan(request: DownloadRequest) -> list[str]:
    order = _order(request, PATIENT, threading.Event())
    size = sum(file.size or 0 for file in order.files)
    lines = [f"{file.name}  {resources.size(file.size or 0)}" for file in order.files]
    return [*lines, f"{len(lines)} files, {resources.size(size)}, from {order.endpoint} to {request.folder}"]


@operation("models", "download", estimate=estimate, plan=plan)
def run(request: DownloadRequest, progress: Progress) -> DownloadResult:
    return download(request, progress)


def for_entry(entry: catalog.Entry, source: SourceName = "hub") -> DownloadRequest:
    """The request that fetches a catalog entry. Raises UserError for one that is not published there."""
    repository = entry.sources.get("modelscope" if source == "modelscope" else "hub")
    if repository is None:
        raise UserError(
            "{title} is not published there.",
            remedy="Choose another source, or bring its files yourself.",
            title=entry.title,
        )
    return DownloadRequest(
        repo=repository,
        source=source,
        out=paths.models() / entry.id,
        include=entry.include,
        exclude=entry.exclude,
        one_format=True,
    )


def download(request: DownloadRequest, progress: Progress, patience: Patience = PATIENT) -> DownloadResult:
    """`run`, with another patience."""
    started, stop = time.monotonic(), threading.Event()
    order = _order(request, patience, stop)
    folder = request.folder
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _sweep(folder)
        crew = Crew(order.web, folder, order.url, progress)
        present = crew.look(order.files, _cached(request))
        _check_disk(crew.missing_bytes([file for file in order.files if file.name not in present]), folder)
        first = [file for file in order.files if not names.matches(file.name, _LAST)]
        # what makes a folder look like a model comes last: half a model is never taken for one
        last = [file for file in order.files if names.matches(file.name, _LAST)]
        with explained(order.source, order.endpoint, request.repo, order.web):
            for batch in (first, last):
                present |= crew.fetch([file for file in batch if file.name not in present], request.parallel)
        left_out = shards.missing(folder, [file.name for file in order.listing.files])
        _write_card(order, folder, present)
    return DownloadResult(
        folder=folder,
        repo=request.repo,
        revision=order.listing.revision,
        files=dict(sorted(present.items())),
        bytes=crew.fetched,
        left_out=tuple(left_out),
        seconds=time.monotonic() - started,
    )


def _order(request: DownloadRequest, patience: Patience, stop: threading.Event) -> Order:
    refuse_offline()
    source = sources.source(request.source)
    endpoint = (request.endpoint or source.endpoint()).rstrip("/")
    token = source.token()
    web = Web(endpoint, token, patience, stop)
    with explained(source, endpoint, request.repo, web):
        listing = source.listing(web.json, endpoint, request.repo, request.revision)
    files = tuple(names.wanted(listing.files, request.patterns, request.exclude))
    files = tuple(names.in_one_format(files)) if request.one_format else files
    if not files:
        raise UserError(
            "{repo} holds no file that matches {patterns}.",
            remedy="Look at its files on {page}; --plan shows what a pattern takes.",
            repo=request.repo,
            patterns=", ".join(request.patterns) or "*",
            page=source.page(endpoint, request.repo),
        )
    return Order(request, source, endpoint, web, listing, files)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            "Another process is already downloading into {folder}.",
            remedy="Wait for it (see Jobs), or cancel it first.",
            folder=folder,
        ) from error
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path) -> None:
    """Remove the scraps of killed calls; their parts stay."""
    for scrap in [*folder.rglob(f".*{NOTES}.*.tmp"), *folder.glob(f".{hashes.MEMORY}.*.tmp")]:
        scrap.unlink(missing_ok=True)


def _cached(request: DownloadRequest) -> Path | None:
    """Where huggingface_hub keeps this repository's blobs, named by their hashes; None where it has none."""
    if request.source == "modelscope":
        return None
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{request.repo.replace('/', '--')}" / "blobs"
    return blobs if blobs.is_dir() else None


def _check_disk(missing: int, folder: Path) -> None:
    for shortage in resources.shortages(Needs(disk=missing or None, disk_at=folder)):
        raise shortage


def _write_card(order: Order, folder: Path, present: dict[str, str]) -> None:
    """Last of all: what the folder holds, with every file's sha256; an earlier call's other files stay listed."""
    old = read_card(folder)
    request, listing = order.request, order.listing
    files = old.files | present
    known = catalog.of_repository(request.repo)
    exact = next((entry for entry in known if set(entry.include) == set(request.patterns)), known[0] if known else None)
    if exact:
        card = exact.card(files)
    else:
        languages = tuple(code for code in listing.languages if len(code) == 2)
        card = Card(title=request.repo.rsplit("/", 1)[-1], languages=languages, license=listing.license, files=files)
        if old.title:
            card = old.model_copy(update={"files": files})
    source = f"{order.source.TITLE}: {request.repo}@{listing.revision}"
    write_card(folder, card.model_copy(update={"source": source}))
    hashes.remember(folder, present)


def _literally(name: str) -> str:
    """A name as a pattern that matches it alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
