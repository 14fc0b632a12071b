"""What stood before a chunk and says whom it is about: its heading, and the sentence that leads to it.

Where a model is given it, it stands in front of the chunk's own text, `…` between them, each word with its place in
the document. Relations and events may reach into it; what stands in it alone is left to the chunk whose own it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.extract.chunk import Chunk, sentences
from core.extract.headings import leads
from core.extract.normal import Source, after, normalise
from core.records import Argument, Entity, Extraction, Span

LONGEST = 160
"""Codepoints of a sentence or heading that is shown; a longer one is left out."""
PIECES_BACK = 40
"""Sentences before a chunk among which its heading is looked for."""


def with_context(text: str, cut: Sequence[Chunk]) -> list[Source]:
    """The chunks' own text, each behind its context where it has some."""
    own = [normalise(text, chunk.start, chunk.end, chunk.sentences) for chunk in cut]
    pieces = sentences(text)
    made, at = [], 0
    for chunk, source in zip(cut, own, strict=True):
        while at < len(pieces) and pieces[at][1] <= chunk.start:
            at += 1
        shown = [normalise(text, *piece) for piece in _before(text, pieces[max(0, at - PIECES_BACK) : at], chunk)]
        made.append(after([one for one in shown if one.text], source) if shown and source.text else source)
    return made


def own_records(found: Extraction, source: Source) -> Extraction:
    """Without what lies wholly in the context: entities, triggers, and relations with both ends there."""
    if not source.own:
        return found
    start = source.offsets[source.own]

    def own(span: Span | Entity | Argument) -> bool:
        return span.end is None or span.end > start

    return replace(
        found,
        entities=tuple(one for one in found.entities if own(one)),
        relations=tuple(one for one in found.relations if own(one.head) or own(one.tail)),
        events=tuple(one for one in found.events if own(one.trigger)),
    )


def _before(text: str, pieces: Sequence[tuple[int, int]], chunk: Chunk) -> list[tuple[int, int]]:
    """The last heading before the chunk, and the sentence right before it; none where it starts with a heading."""
    if not pieces or leads(text[chunk.start : (*chunk.sentences, chunk.end)[1]]):
        return []
    last = pieces[-1]
    heading = next((piece for piece in reversed(pieces) if leads(text[slice(*piece)])), None)
    chosen = [heading, last] if heading is not None and heading != last else [last]
    return [piece for piece in chosen if len(text[slice(*piece)].strip()) <= LONGEST]
