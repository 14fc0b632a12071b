"""One shard read, mended, judged and masked: texts that passed go into parts, all others are counted by their rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.launchers.corpus import BuildRequest, CorpusSettings, Dropped, Source
from train.corpus import dropped, filters, ingest, parts, pii
from train.corpus.ingest import Row
from train.corpus.repair import repair
from train.corpus.sources import Shard

EMPTY = "empty"
_LOST = "\ufffd"


@dataclass(frozen=True)
class CleanTask:
    request: BuildRequest
    shard: Shard
    work: Path

    @property
    def told(self) -> Path:
        return self.work / f"{self.shard.name}.json"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a row: its text as it goes on, or the outcome and rule that it is left out by."""

    text: str
    language: str = ""
    outcome: str = ""
    rule: str = ""
    told: str = ""
    repaired: tuple[str, ...] = ()
    masked: Counter[str] | None = None


def judge(row: Row, source: Source, settings: CorpusSettings) -> Judged:
    """Pure: looking and building ask the same."""
    if row.bad:
        return Judged(row.text, outcome="filtered" if row.bad == EMPTY else "unreadable", rule=row.bad, told=row.told)
    text, done = repair(row.text) if settings.repair else (row.text.strip(), ())
    if row.broken_bytes:
        done = ("broken_bytes", *done)
    if not text:
        return Judged("", outcome="filtered", rule=EMPTY, repaired=done)
    limits, lists = _judged_by(settings.rules, settings.words if settings.harmful else None, settings.harmful)
    seen = filters.looked_at(text, source.language)
    if drop := filters.judge(seen, limits, lists, quality=settings.quality):
        return Judged(text, seen.language, "filtered", drop.rule, drop.told, done)
    if settings.repair and _LOST in text:
        text = text.replace(_LOST, "")
    masked: Counter[str] = Counter()
    if settings.mask:
        text, masked = pii.mask(text, settings.mask)
    return Judged(text, seen.language, repaired=done, masked=masked)


def clean(task: CleanTask) -> dict[str, Any]:
    """Read the shard; what it yielded stands in its JSON file, which goes last, and is not done again where it does."""
    earlier = parts.read_json(task.told)
    if earlier is not None:
        return earlier
    request, shard = task.request, task.shard
    source = request.sources[shard.source]
    books = _Books(dropped.Samples(request.samples, request.mask))
    writer: parts.PartWriter | None = None
    try:
        for place, piece in enumerate(shard.pieces):
            for row in ingest.rows(source, piece, request.longest_line << 20):
                if not isinstance(row, Row):
                    books.read(row)
                    continue
                made = judge(row, source, request)
                books.row(row, made, source.name)
                if made.outcome:
                    continue
                if writer is None:
                    writer = parts.PartWriter(task.work, f"{shard.name}-{len(books.parts):04d}", near=request.near)
                writer.add(parts.Kept(place, row.offset, row.size, made.language, made.text))
                if writer.is_full:
                    books.closed(writer)
                    writer = None
        if writer is not None:
            books.closed(writer)
    except BaseException as error:
        if writer is not None:
            writer.drop(error)
        raise
    parts.write_json(task.told, books.told())
    return books.told()


class _Books:
    """What is counted of a shard."""

    def __init__(self, samples: dropped.Samples) -> None:
        self._samples = samples
        self._files: list[dict[str, Any]] = []
        self._left: dict[str, dict[str, list[int]]] = {"filtered": {}, "unreadable": {}}
        self._repaired: Counter[str] = Counter()
        self._masked: Counter[str] = Counter()
        self.parts: list[dict[str, Any]] = []

    def read(self, read: ingest.Read) -> None:
        damage = read.damage.to_dict() if read.damage else None
        self._files.append({"file": read.file, "bytes": read.bytes, "rows": read.rows, "damage": damage})

    def row(self, row: Row, made: Judged, source: str) -> None:
        self._repaired.update(made.repaired)
        self._masked.update(made.masked or ())
        if not made.outcome:
            return
        tally = self._left[made.outcome].setdefault(made.rule, [0, 0])
        tally[0] += 1
        tally[1] += row.size
        mark = dropped.mark(row.file, row.offset)
        if self._samples.wants(source, made.outcome, made.rule, mark) and (made.text or made.told):
            self._samples.add(
                Dropped(
                    source=source,
                    outcome=made.outcome,  # type: ignore[arg-type]
                    rule=made.rule,
                    file=row.file,
                    offset=row.offset,
                    size=row.size,
                    told=made.told,
                    text=made.text,
                    mark=mark,
                )
            )

    def closed(self, writer: parts.PartWriter) -> None:
        writer.close()
        self.parts.append({"name": writer.name, "documents": writer.documents, "bytes": writer.bytes})

    def told(self) -> dict[str, Any]:
        return {
            "files": self._files,
            **self._left,
            "repaired": dict(self._repaired),
            "masked": dict(self._masked),
            "parts": self.parts,
            "samples": [one.model_dump(mode="json") for one in self._samples.all()],
        }


@lru_cache(maxsize=4)
def _judged_by(rules: Path | None, words: Path | None, harmful: bool) -> tuple[Any, Any]:
    return filters.read_limits(rules), filters.read_lists(words) if harmful else ()
