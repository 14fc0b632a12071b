"""`python -m core corpus build`: many sources of text to packed samples, with a ledger of where every byte went.

Clean a shard, find copies across all, pack a part: each step leaves whole files in OUT/work and is passed over where
they are there, so a build that was killed goes on, and ends in the same bytes. Where: docs/guide/corpus.md.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core import resources
from core.errors import UserError
from core.launchers.corpus import BUILD, DROPPED, LEDGER, TOKENS, WORK, BuildRequest, Dropped, Ledger
from core.launchers.corpus import ledger as read_ledger
from core.operation import Needs, Progress, Result, operation
from train.corpus import clean, dedupe, dropped, executor, filters, ledger, pack_part, parts, sources
from train.corpus.executor import Executor
from train.corpus.parts import Part
from train.corpus.sources import Shard

VERSION = 1
WORKER = 700_000_000
"""Bytes that a worker may come to hold: a part's index, a tokenizer, a text of the longest kind."""
ELSEWHERE = {"out", "executor", "workers", "keep_work"}
"""Settings that change nothing of what is made."""


class BuildResult(Result):
    out: Path
    documents: int
    tokens: int
    samples: int
    rows: int
    fill: float
    """Share of the rows' places that hold tokens."""
    filtered: int
    duplicates: int
    unreadable: int
    bytes_read: int
    seconds: float


def estimate(request: BuildRequest) -> Needs:
    size = sum(shard.size for shard in _shards(request))
    workers = request.workers or (resources.cores() if request.executor == "local" else 1)
    return Needs(ram=workers * WORKER, disk=3 * size // 2, disk_at=request.out)


def plan(request: BuildRequest) -> list[str]:
    lines = []
    shards = _shards(request)
    for number, source in enumerate(request.sources):
        own = [shard for shard in shards if shard.source == number]
        files = {piece.file for shard in own for piece in shard.pieces}
        size = resources.size(sum(shard.size for shard in own))
        lines.append(f"{source.name}: {len(files)} files, about {size}, {len(own)} shards, weight {source.weight:g}")
    return lines


@operation("corpus", "build", estimate=estimate, plan=plan)
def run(request: BuildRequest, progress: Progress) -> BuildResult:
    started = time.monotonic()
    request.out.mkdir(parents=True, exist_ok=True)
    with _alone(request.out):
        for half in (
            *request.out.rglob(f".*{parts.HALF}"),
            *request.out.rglob(".*.part"),
        ):  # of a build that was killed
            half.unlink(missing_ok=True)
        made = _built(request, progress)
    return _result(request, made, time.monotonic() - started)


def _shards(request: BuildRequest) -> list[Shard]:
    if not request.sources:
        raise UserError(
            "No source is named.",
            remedy="Name them in the file that --config names: sources, each with a name and a path.",
        )
    return sources.shards(request.sources, request.shard_size << 20)


def _built(request: BuildRequest, progress: Progress) -> Ledger:
    from train.corpus.shard import Packing
    from train.corpus.tokens import open_tokenizer

    Packing(request.length, request.packing, request.overlap)  # refuses what can't be packed, before hours of cleaning
    shards = _shards(request)
    vocabulary = open_tokenizer(request.tokenizer).vocabulary.fingerprint
    _claim(request, shards, vocabulary)
    work = request.out / WORK
    finished = read_ledger(request.out)
    if finished is None:
        work.mkdir(exist_ok=True)
        parts.write_json(work / "plan.json", [shard.told() for shard in shards])
        total = sum(shard.size for shard in shards)
        with executor.open_executor(request.executor, request.workers) as hands:
            finished = _stages(request, shards, vocabulary, hands, _Bar(progress, total))
    if not request.keep_work:
        shutil.rmtree(work, ignore_errors=True)
    return finished


def _stages(request: BuildRequest, shards: list[Shard], vocabulary: str, hands: Executor, bar: _Bar) -> Ledger:
    work = request.out / WORK
    bar.say(f"cleaning {len(shards)} shards")
    cleaned = dict(_done_or_made(hands, clean.clean, [clean.CleanTask(request, one, work) for one in shards], bar,
                                 lambda task: task.shard.number, lambda task: task.shard.size))  # fmt: skip
    for one in (one for told in cleaned.values() for one in told["files"]):
        if one["damage"]:
            bar.say(str(UserError.from_dict(one["damage"])))
    known = _parts(shards, cleaned)
    parts.write_json(work / dedupe.PARTS, [asdict(part) for part in known])
    documents = sum(part.documents for part in known)
    if documents:
        bar.say(f"looking for copies among {documents} documents")
    todo = dedupe.tasks(work, documents, exact=request.exact, near=request.near, similarity=request.similarity)
    for _ in hands.each(dedupe.find, [task for task in todo if documents and not task.told.exists()]):
        bar.tick()
    bar.say(f"packing {len(known)} parts")
    files = [tuple(piece.file for piece in shard.pieces) for shard in shards]
    tasks = [pack_part.PackTask(request, part, work, request.out, files[part.shard]) for part in known]
    scale = bar.total / max(1, sum(part.bytes for part in known))
    told = dict(_done_or_made(hands, pack_part.pack, tasks, bar, lambda task: task.part.name,
                              lambda task: task.part.bytes * scale))  # fmt: skip
    packed = [(part.source, told[part.name]) for part in known]
    return _close(request, shards, cleaned, packed, vocabulary)


def _done_or_made(
    hands: Executor,
    job: Callable[[Any], dict[str, Any]],
    tasks: Sequence[Any],
    bar: _Bar,
    key: Callable[[Any], Any],
    size: Callable[[Any], float],
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(key, what the task told) of all, those of an earlier attempt first."""
    missing = []
    for task in tasks:
        earlier = parts.read_json(task.told)
        if earlier is None:
            missing.append(task)
        else:
            bar.add(size(task))
            yield key(task), earlier
    for task, told in hands.each(_Tagged(job), missing):
        bar.add(size(task))
        yield key(task), told


class _Tagged:
    """A job whose results name their task: they come in any order."""

    def __init__(self, job: Callable[[Any], Any]) -> None:
        self._job = job

    def __call__(self, task: Any) -> tuple[Any, Any]:
        return task, self._job(task)


def _parts(shards: list[Shard], cleaned: ledger.Cleaned) -> list[Part]:
    made: list[Part] = []
    first = 0
    for shard in shards:
        for one in cleaned[shard.number]["parts"]:
            made.append(Part(one["name"], shard.number, shard.source, one["documents"], one["bytes"], first))
            first += one["documents"]
    return made


def _close(
    request: BuildRequest,
    shards: list[Shard],
    cleaned: ledger.Cleaned,
    packed: list[tuple[int, dict[str, Any]]],
    vocabulary: str,
) -> Ledger:
    """Prove the books, then write samples and ledger."""
    made = ledger.added_up(request, shards, cleaned, packed, vocabulary)
    ledger.prove(made, shards, cleaned, packed)
    ledger.prove_stores(made, request.out / TOKENS)
    samples = dropped.Samples(request.samples)
    for told in (*(cleaned[shard.number] for shard in shards), *(told for _, told in packed)):
        samples.update(Dropped.model_validate(one) for one in told["samples"])
    with parts.written(request.out / DROPPED) as file:
        for one in samples.all():
            file.write(one.model_dump_json().encode("utf-8", "replace") + b"\n")
    with parts.written(request.out / LEDGER) as file:
        file.write(made.model_dump_json(indent=1).encode("utf-8", "replace"))
    return made


def _claim(request: BuildRequest, shards: list[Shard], vocabulary: str) -> None:
    """Write down what is being built; a folder that holds another corpus is left as it is."""
    settings = request.model_dump(mode="json", exclude=ELSEWHERE)
    content = {
        "version": VERSION,
        "request": settings,
        "judged_by": filters.fingerprint(request.rules, request.words),
        "files": hashlib.sha256(sources.told(shards).encode("utf-8", "replace")).hexdigest(),
        "tokenizer": vocabulary,
    }
    place = request.out / BUILD
    earlier = parts.read_json(place)
    if earlier is None:
        if any(one.name != LOCK for one in request.out.iterdir()):
            raise UserError(
                "{out} is not empty, and what it holds is no corpus of this program.",
                remedy="Choose a new folder.",
                out=request.out,
            )
        parts.write_json(place, content)
    elif earlier != json.loads(json.dumps(content)):
        differing = [name for name in content if earlier.get(name) != content[name]]
        inner = [name for name in settings if (earlier.get("request") or {}).get(name) != settings[name]]
        raise UserError(
            "{out} holds a corpus of other settings or files: {differing} differ.",
            remedy="Choose a new folder, or remove this one first.",
            out=request.out,
            differing=", ".join(inner if differing == ["request"] else [*inner, *differing]),
        )


LOCK = ".lock"


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            "Another build is writing {out}.", remedy="Wait for its end, or choose another folder.", out=out
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Bar:
    """Bytes of text, once for cleaning and once for packing."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self.total, self._done = progress, total, 0.0

    def add(self, size: float) -> None:
        self._done += size
        self.tick()

    def tick(self) -> None:
        self._progress.step(min(self._done, 2 * self.total), 2 * self.total, "bytes")

    def say(self, line: str) -> None:
        self._progress.log(line)


def _result(request: BuildRequest, made: Ledger, seconds: float) -> BuildResult:
    own = made.sources
    rows = sum(one.rows for one in own)
    if not rows:
        raise UserError(
            "No document is left to pack: {filtered} were filtered, {duplicates} were copies, {unreadable} unreadable.",
            remedy="Look at them in {file}; loosen the rules, or correct the sources, and build into a new folder.",
            filtered=sum(_documents(one.filtered) for one in own),
            duplicates=sum(_documents(one.duplicates) for one in own),
            unreadable=sum(_documents(one.unreadable) for one in own),
            file=request.out / DROPPED,
        )
    tokens = sum(one.tokens for one in own)
    return BuildResult(
        out=request.out,
        documents=sum(one.packed.documents for one in own),
        tokens=tokens,
        samples=sum(one.samples for one in own),
        rows=rows,
        fill=round(tokens / (rows * made.length), 4),
        filtered=sum(_documents(one.filtered) for one in own),
        duplicates=sum(_documents(one.duplicates) for one in own),
        unreadable=sum(_documents(one.unreadable) for one in own),
        bytes_read=sum(one.read.bytes for one in own),
        seconds=round(seconds, 1),
    )


def _documents(tallies: dict[str, Any]) -> int:
    return sum(one.documents for one in tallies.values())
