"""One part's texts, without its copies, through the tokenizer into a store of packed samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.launchers.corpus import TOKENS, BuildRequest, Dropped
from train.corpus import dedupe, dropped, parts
from train.corpus.document import Document
from train.corpus.parts import Kept, Part


@dataclass(frozen=True)
class PackTask:
    request: BuildRequest
    part: Part
    work: Path
    out: Path
    files: tuple[str, ...]
    """Of the part's shard."""

    @property
    def told(self) -> Path:
        return self.work / f"{self.part.name}.json"

    @property
    def store(self) -> Path:
        return self.out / TOKENS / self.request.sources[self.part.source].name / f"{self.part.name}.tokens"


def pack(task: PackTask) -> dict[str, Any]:
    """Write the part's store; what became of its texts stands in its JSON file, which goes last."""
    earlier = parts.read_json(task.told)
    if earlier is not None:
        return earlier
    books = _Books(task)
    if len(books.copies) < task.part.documents:
        books.packed(_write(task, books))
    else:
        for _ in books.documents():  # all of them copies: counted, none packed
            pass
    told = books.told()
    parts.write_json(task.told, told)
    return told


def _write(task: PackTask, books: _Books) -> Any:
    from train.corpus import shard

    request, source = task.request, task.request.sources[task.part.source]
    task.store.parent.mkdir(parents=True, exist_ok=True)
    return shard.write(
        books.documents(),
        task.store,
        _tokenizer(request.tokenizer),
        shard.Packing(length=request.length, mode=request.packing, overlap=request.overlap),
        source=source.name,
        language="" if source.language == "auto" else source.language,
    )


class _Books:
    """Hands the texts on and counts what becomes of each."""

    def __init__(self, task: PackTask) -> None:
        self._task = task
        self._source = task.request.sources[task.part.source].name
        self._samples = dropped.Samples(task.request.samples, task.request.mask)
        self.copies = dedupe.copies(task.work, task.part)
        self._left: dict[str, list[int]] = {}
        self._kept = [0, 0]
        self._text_bytes = 0
        self._made: dict[str, int] = {"tokens": 0, "samples": 0, "rows": 0, "text_bytes": 0, "documents": 0}

    def documents(self) -> Iterator[Document]:
        for number, kept in enumerate(parts.texts(self._task.work, self._task.part.name)):
            copy = self.copies.get(number)
            if copy is not None:
                self._copy(kept, *copy)
                continue
            self._kept[0] += 1
            self._kept[1] += kept.size
            self._text_bytes += len(kept.text.encode("utf-8"))
            place = f"{self._task.files[kept.file]}:{kept.offset}"
            yield Document(kept.text, self._source, place, kept.language)

    def _copy(self, kept: Kept, kind: str, of: int, alike: float) -> None:
        tally = self._left.setdefault(kind, [0, 0])
        tally[0] += 1
        tally[1] += kept.size
        file = self._task.files[kept.file]
        mark = dropped.mark(file, kept.offset)
        if self._samples.wants(self._source, "duplicates", kind, mark):
            self._samples.add(
                Dropped(
                    source=self._source,
                    outcome="duplicates",
                    rule=kind,
                    file=file,
                    offset=kept.offset,
                    size=kept.size,
                    told=f"{_place(self._task.work, of)} ({alike:.2f})",
                    text=kept.text,
                    mark=mark,
                )
            )

    def packed(self, made: Any) -> None:
        self._made = {
            "documents": made.documents,
            "tokens": made.tokens,
            "samples": made.samples,
            "rows": made.rows,
            "text_bytes": made.bytes,
        }

    def told(self) -> dict[str, Any]:
        """`text_bytes` as counted here, `made` as the store's writer counted: they must agree."""
        return {
            "packed": self._kept,
            "duplicates": self._left,
            "text_bytes": self._text_bytes,
            "made": self._made,
            "samples": [one.model_dump(mode="json") for one in self._samples.all()],
        }


def _place(work: Path, document: int) -> str:
    """FILE:OFFSET of a document that copies were found of."""
    part, number = dedupe.place_of(work, document)
    file, offset = np.load(work / f"{part.name}.place.npy", mmap_mode="r")[number].tolist()
    return f"{Path(_files(work)[part.shard][file]).name}:{offset}"


@lru_cache(maxsize=1)
def _files(work: Path) -> tuple[tuple[str, ...], ...]:
    """The files of every shard."""
    return tuple(tuple(piece["file"] for piece in shard["pieces"]) for shard in parts.read_json(work / "plan.json"))


@lru_cache(maxsize=1)
def _tokenizer(ref: str) -> Any:
    from train.corpus.tokens import open_tokenizer

    return open_tokenizer(ref)
