"""Documents of one source into one token store: sentences, tokens, samples, rows. What a worker does with its share.

    made = shard.write(documents, path, tokenizer, Packing(length=1024), source="wiki", language="en")

Streams, within bounded memory; the same documents in the same order make the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from train.corpus import inner, pack, sentences
from train.corpus.document import Document
from train.corpus.fill import Filler
from train.corpus.pack import Mode
from train.corpus.store import Piece, Writer
from train.corpus.tokens import Cut, Tokenizer

BATCH = 1 << 19
"""Characters that are tokenized together."""


@dataclass(frozen=True, slots=True)
class Packing:
    """`overlap`: with mode even, up to so many tokens of context in front of a document's later samples."""

    length: int = 1024
    mode: Mode = "filled"
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.length < 8 or not 0 <= self.overlap <= self.length // 2:
            raise UserError(
                "Samples of {length} tokens with {overlap} of overlap can't be made.",
                remedy="Choose at least 8 tokens, and an overlap of at most half of them.",
                length=self.length,
                overlap=self.overlap,
            )
        if self.overlap and self.mode != "even":
            raise UserError(
                "The mode “{mode}” knows no overlap of its own.",
                remedy="Choose the mode “even”, or no overlap.",
                mode=self.mode,
            )


@dataclass(frozen=True, slots=True)
class Made:
    """What became of the documents. `bytes`: of their texts, in UTF-8. `repeated`: tokens that stand in a second
    sample, too. `dropped`: tokens that mode knowlm leaves out."""

    documents: int
    bytes: int
    tokens: int
    samples: int
    rows: int
    fill: float
    repeated: int = 0
    dropped: int = 0


def write(
    documents: Iterable[Document],
    path: Path,
    tokenizer: Tokenizer,
    packing: Packing,
    *,
    source: str,
    language: str = "",
    notes: dict[str, Any] | None = None,
) -> Made:
    """Writes `path`, whole or not at all. Raises UserError: a text that is no valid Unicode, a full disk."""
    told = Counts()
    settings = {"source": source, "length": packing.length, "language": language, "mode": packing.mode}
    with Writer(path, tokenizer.vocabulary, **settings) as writer:  # type: ignore[arg-type]
        for row in _rows(_tokenized(documents, tokenizer, packing, told), packing, told):
            writer.row(row)
        made = Made(
            told.documents, told.bytes, writer.tokens, writer.samples, writer.rows,
            round(writer.fill, 5), told.repeated, told.dropped,
        )  # fmt: skip
        writer.notes = {**(notes or {}), **asdict(made), "overlap": packing.overlap}
    return made


@dataclass
class Counts:
    documents: int = 0
    bytes: int = 0
    repeated: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class _Tokenized:
    """A document's ids with BOS and EOS, and where its sentences end; none is longer than a sample may be."""

    ids: np.ndarray
    ends: list[int]
    number: int


def _tokenized(
    documents: Iterable[Document], tokenizer: Tokenizer, packing: Packing, told: Counts
) -> Iterator[_Tokenized]:
    limit = packing.length - packing.overlap
    starts = sentences.knowlm_starts if packing.mode == "knowlm" else sentences.starts
    for batch in _batches(documents):
        for document in batch:
            told.bytes += _bytes(document)
        texts = [document.text for document in batch]
        for text, cut in zip(texts, tokenizer.cut(texts, [starts(text) for text in texts]), strict=True):
            number, told.documents = told.documents, told.documents + 1
            if len(cut.ids):
                ids, ends = _framed(cut, tokenizer)
                if len(ids) > limit and max(end - start for start, end in pairwise([0, *ends])) > limit:
                    ends = inner.cut_long(text, ends, limit, tokenizer, framed=len(ids) - len(cut.ids))
                yield _Tokenized(ids, ends, number)


def _framed(cut: Cut, tokenizer: Tokenizer) -> tuple[np.ndarray, list[int]]:
    """With BOS and EOS, as the model has them, in the first and the last sentence."""
    bos, eos = tokenizer.vocabulary.bos, tokenizer.vocabulary.eos
    front, count = int(bos is not None), len(cut.ids)
    ids = np.empty(front + count + (eos is not None), tokenizer.vocabulary.dtype)
    ids[front : front + count] = cut.ids
    if bos is not None:
        ids[0] = bos
    if eos is not None:
        ids[-1] = eos
    places = sorted({*cut.at.tolist()} - {0, count})  # sentences that are only white space may have no token
    return ids, [*(place + front for place in places), len(ids)]


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += len(document.text) + 1
        if size >= BATCH:
            yield held
            held, size = [], 0
    if held:
        yield held


def _bytes(document: Document) -> int:
    try:
        return len(document.text) if document.text.isascii() else len(document.text.encode())
    except UnicodeEncodeError as error:
        raise UserError(
            "The text of {id} holds half of a character.",
            remedy="Let the corpus be cleaned, which repairs such texts.",
            id=document.id,
        ) from error


def _rows(documents: Iterable[_Tokenized], packing: Packing, told: Counts) -> Iterator[list[Piece]]:
    filler = Filler(packing.length)
    for one in documents:
        if packing.mode == "filled":
            filler.add(one.ids, one.number, one.ends)
        else:
            spans = pack.pack(np.array(one.ends), packing.length, packing.mode, packing.overlap)
            told.repeated += sum(span.context for span in spans)
            for span in spans:
                ids = one.ids[span.start : span.end]
                if packing.mode == "knowlm":
                    yield [Piece(ids, one.number, span.context, span.start)]
                else:
                    filler.add(ids, one.number, [len(ids)], context=span.context, offset=span.start)
            told.dropped += len(one.ids) - sum(span.end - span.start - span.context for span in spans)
        yield from filler.rows()
    yield from filler.rows(last=True)


def documents_of(texts: Iterable[str], source: str = "texts") -> Iterator[Document]:
    """Documents that are only texts."""
    return (Document(text, source, str(number)) for number, text in enumerate(texts))
