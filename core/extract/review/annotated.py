"""Whole annotations of documents (Label Studio's) as what a second reviewer said of a review's sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from core.extract.review.book import Book
from core.extract.review.package import PackedRecord, PackedUnit
from core.extract.review.splits import text_hash
from core.extract.review.values import Kind, Value, content, places, values
from core.records import Extraction


def packed(book: Book, rows: Iterable[Extraction]) -> Iterator[tuple[str, PackedUnit]]:
    """(annotator, sentence): what is in the annotation was accepted, what is not was rejected, the rest was added.

    A record without a place in its text can't be drawn there, so nothing is said about it. Documents are found by
    their text, among several with the same one by the row, then the id.
    """
    for annotated in rows:
        row = _row(book, annotated)
        if row is None:
            start, end = 0, len(annotated.text)
            yield (
                _annotator(annotated),
                PackedUnit(row=-1, document=annotated.id, start=start, end=end, text=annotated.text),
            )
            continue
        told = [(kind, value) for kind, _, value in values(annotated)]
        parts = book.read("SELECT id, start, end, text FROM units WHERE row = ? ORDER BY start", [row])
        for number, (unit, start, end, text) in enumerate(parts):
            here = [(kind, value) for kind, value in told if _begins(kind, value, start, end, first=number == 0)]
            records = tuple(_records(book, unit, here, f"{row}:{start}"))
            yield (
                _annotator(annotated),
                PackedUnit(
                    row=row,
                    document=annotated.id,
                    start=start,
                    end=end,
                    text=json.loads(text),
                    whole=True,
                    records=records,
                ),
            )


def _annotator(annotated: Extraction) -> str:
    return str(annotated.provenance.get("annotator") or "Label Studio")


def _row(book: Book, annotated: Extraction) -> int | None:
    found = book.read("SELECT row, id FROM documents WHERE hash = ?", [text_hash(annotated.text)])
    said = annotated.provenance.get("row")
    best = sorted(found, key=lambda one: (str(one[0]) != str(said), one[1] != annotated.id))
    return best[0][0] if best else None


def _begins(kind: Kind, value: Value, start: int, end: int, *, first: bool) -> bool:
    held = places(kind, value)
    return start <= min(held)[0] < end if held else first


def _records(book: Book, unit: int, told: list[tuple[Kind, Value]], place: str) -> Iterator[PackedRecord]:
    left = {content(kind, value): (kind, value) for kind, value in told}
    for name, kind, origin in book.read(
        "SELECT name, kind, origin FROM records WHERE unit = ? AND origin IS NOT NULL ORDER BY place", [unit]
    ):
        value = json.loads(origin)
        if not places(kind, value):
            continue
        there = left.pop(content(kind, value), None) is not None
        yield PackedRecord(name=name, kind=kind, origin=value, state="accepted" if there else "rejected", value=value)
    for number, (kind, value) in enumerate(left.values()):
        yield PackedRecord(name=f"+{place}:{number}", kind=kind, state="accepted", value=value)
