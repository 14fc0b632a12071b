"""`python -m core corpus inspect DIR`: what a corpus holds: sources and their shares, lengths, samples as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from pydantic import BaseModel, Field

from core.operation import Progress, Request, Result, operation
from train.corpus.shuffle import Shuffle
from train.corpus.store import Corpus, Source

BINS = 10
SHOWN = 300  # characters of a sample


class InspectRequest(Request):
    """Look into a tokenized corpus: sources, lengths, and samples as text."""

    folder: tyro.conf.Positional[Path] = Field(
        description="Folder with .tokens files, or one of them", json_schema_extra={"picker": "folder"}
    )
    tokenizer: str = Field(
        default="",
        description="Model whose tokenizer the corpus was made with, to show samples as text",
        json_schema_extra={"picker": "model"},
    )
    samples: int = Field(default=3, ge=0, le=100, description="Samples shown of each source")
    seed: int = Field(default=0, ge=0, description="Which samples are shown", json_schema_extra={"advanced": True})
    verify: bool = Field(default=False, description="Read everything and compare its checksums")


class Shown(BaseModel):
    """A sample: its number within its file, and its text, or its ids where no tokenizer was named."""

    file: str
    number: int
    tokens: int
    context: int
    text: str


class Part(BaseModel):
    """A source. `share`: of the corpus's tokens. `lengths`: samples of up to 1/10, 2/10, … of the length."""

    name: str
    files: int
    documents: int
    samples: int
    rows: int
    tokens: int
    share: float
    fill: float
    lengths: list[int]
    shown: list[Shown]


class InspectResult(Result):
    folder: Path
    length: int
    tokenizer: str
    vocabulary: int
    sources: list[Part]

    def summary(self) -> str:
        lines = [f"{self.folder}: rows of {self.length} tokens, {self.tokenizer} ({self.vocabulary:,} token ids)"]
        for part in self.sources:
            lines.append(
                f"\n{part.name}: {part.share:.1%} of the tokens; {part.documents:,} documents, "
                f"{part.samples:,} samples, {part.rows:,} rows, {part.tokens:,} tokens, rows {part.fill:.2%} full"
            )
            lines += _bars(part.lengths, self.length)
            lines += [
                f"  {one.file} #{one.number} ({one.tokens} tokens, {one.context} of context): {one.text}"
                for one in part.shown
            ]
        return "\n".join(lines)


def _bars(counts: list[int], length: int) -> list[str]:
    most = max([1, *counts])
    return [
        f"  ≤ {length * (at + 1) // BINS:>6} tokens {count:>9,} {'█' * round(30 * count / most)}"
        for at, count in enumerate(counts)
    ]


@operation("corpus", "inspect")
def run(request: InspectRequest, progress: Progress) -> InspectResult:
    tokenizer = None
    if request.tokenizer:
        from train.corpus.tokens import open_tokenizer

        tokenizer = open_tokenizer(request.tokenizer, fast=False)
    corpus = Corpus(request.folder, fingerprint=tokenizer.vocabulary.fingerprint if tokenizer else "")
    if request.verify:
        stores = [store for source in corpus.sources.values() for store in source.stores]
        for done, store in enumerate(stores):
            store.check_sums()
            progress.step(done + 1, len(stores), "files")
    whole = sum(source.tokens for source in corpus.sources.values())
    return InspectResult(
        folder=request.folder,
        length=corpus.length,
        tokenizer=corpus.vocabulary.name,
        vocabulary=corpus.vocabulary.size,
        sources=[_part(source, corpus.length, whole, request, tokenizer) for source in corpus.sources.values()],
    )


def _part(source: Source, length: int, whole: int, request: InspectRequest, tokenizer: object) -> Part:
    heads = [store.head for store in source.stores]
    counts = np.zeros(BINS, np.int64)
    for store in source.stores:
        bins = np.minimum((np.maximum(store.lengths, 1) * BINS - 1) // length, BINS - 1)
        counts += np.bincount(bins, minlength=BINS)
    return Part(
        name=source.name,
        files=len(heads),
        documents=sum(head.documents for head in heads),
        samples=sum(head.samples for head in heads),
        rows=len(source),
        tokens=source.tokens,
        share=source.tokens / max(1, whole),
        fill=source.tokens / max(1, len(source) * length),
        lengths=counts.tolist(),
        shown=_shown(source, request, tokenizer),
    )


def _shown(source: Source, request: InspectRequest, tokenizer: object) -> list[Shown]:
    """Samples drawn without replacement, the same ones for the same seed."""
    ends = np.cumsum([store.head.samples for store in source.stores])
    total = int(ends[-1])
    made = []
    for number in Shuffle(total, (request.seed, "shown"))(np.arange(min(request.samples, total))).tolist():
        at = int(np.searchsorted(ends, number, "right"))
        store, inside = source.stores[at], number - (int(ends[at - 1]) if at else 0)
        ids = store.sample(inside)
        text = tokenizer.decode(ids) if tokenizer is not None else " ".join(map(str, ids[:80].tolist()))  # type: ignore[attr-defined]
        made.append(
            Shown(
                file=store.path.name,
                number=inside,
                tokens=len(ids),
                context=int(store.sample_context[inside]),
                text=text if len(text) <= SHOWN else text[:SHOWN] + "…",
            )
        )
    return made
