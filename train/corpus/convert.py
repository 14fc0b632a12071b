"""`python -m core corpus convert`: KnowLM's .bin, .idx and .dis into token stores, and token stores into those."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from core.errors import UserError
from core.operation import Needs, Progress, Request, Result, operation
from train.corpus import knowlm
from train.corpus.store import SUFFIX, Corpus


class ConvertRequest(Request):
    """Convert a tokenized corpus from KnowLM's format, or into it."""

    from_: Annotated[Literal["knowlm", "studio"], tyro.conf.arg(name="from")] = Field(
        description="What the source is: KnowLM's .bin, .idx and .dis, or a folder of this program's .tokens files"
    )
    source: Path = Field(description="The files' PREFIX, or the folder", json_schema_extra={"picker": "file"})
    out: Path = Field(
        description="Folder for the .tokens files, or the PREFIX to write", json_schema_extra={"picker": "folder"}
    )
    tokenizer: str = Field(
        default="",
        description="Model whose tokenizer made KnowLM's tokens: its name, folder or tokenizer.json",
        json_schema_extra={"picker": "model"},
    )
    names: tuple[str, ...] = Field(
        default=(),
        description="Names of KnowLM's kinds of sources, in their order; without, source-1, source-2 and so on",
    )


class ConvertResult(Result):
    out: Path
    samples: int
    tokens: int
    sources: dict[str, int]

    def summary(self) -> str:
        shares = ", ".join(f"{name} {count:,}" for name, count in self.sources.items())
        return f"{self.out}: {self.samples:,} samples, {self.tokens:,} tokens ({shares})"


def estimate(request: ConvertRequest) -> Needs:
    if request.from_ == "knowlm":
        sizes = [path.stat().st_size for path in knowlm.files(request.source).values() if path.is_file()]
    else:
        sizes = [path.stat().st_size for path in request.source.rglob(f"*{SUFFIX}")]
    return Needs(disk=2 * sum(sizes) + 100_000, disk_at=request.out.parent)


@operation("corpus", "convert", estimate=estimate)
def run(request: ConvertRequest, progress: Progress) -> ConvertResult:
    if request.from_ == "studio":
        return _to_knowlm(request, progress)
    return _from_knowlm(request, progress)


def _from_knowlm(request: ConvertRequest, progress: Progress) -> ConvertResult:
    if not request.tokenizer:
        raise UserError(
            "KnowLM's files don't say which tokenizer made them.", remedy="Name the model with --tokenizer."
        )
    from train.corpus.tokens import open_tokenizer

    samples = knowlm.read(request.source)
    vocabulary = open_tokenizer(request.tokenizer, fast=False).vocabulary
    largest = int(samples.tokens.max(initial=0))
    if largest >= vocabulary.size:
        raise UserError(
            "The token {token} is not one of the vocabulary's {size}.",
            remedy="Use the tokenizer that made these tokens.",
            token=largest,
            size=vocabulary.size,
        )
    names = request.names or tuple(f"source-{number + 1}" for number in range(len(samples.counts)))
    if len(set(names)) != len(samples.counts):
        raise UserError(
            "There are {kinds} kinds of sources, and {names} different names.",
            remedy="Name each of them once with --names.",
            kinds=len(samples.counts),
            names=len(set(names)),
        )
    _refuse_mixing(request.out)
    total = len(samples.lengths)
    for done in knowlm.to_stores(samples, request.out, vocabulary, names, max(samples.longest, 8)):
        progress.step(done, total, "samples")
    sources = dict(zip(names, samples.counts, strict=True))
    return ConvertResult(out=request.out, samples=total, tokens=int(samples.lengths.sum()), sources=sources)


def _refuse_mixing(out: Path) -> None:
    if out.is_dir() and any(out.rglob(f"*{SUFFIX}")):
        raise UserError("{out} holds token stores already.", remedy="Choose a new folder, or empty this one.", out=out)


def _to_knowlm(request: ConvertRequest, progress: Progress) -> ConvertResult:
    corpus = Corpus(request.source)
    sources = {name: sum(one.head.samples for one in own.stores) for name, own in corpus.sources.items()}
    tokens = sum(source.tokens for source in corpus.sources.values())
    for done in knowlm.write(corpus, request.out):
        progress.step(done, sum(sources.values()), "samples")
    return ConvertResult(out=request.out, samples=sum(sources.values()), tokens=tokens, sources=sources)
