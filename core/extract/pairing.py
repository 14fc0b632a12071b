"""Rows of gold and of predictions brought together, from files in any order.

By id where all files have ids (and by source and id where all name a source, as IEPile does), else
by text, the second of two equal texts with the second. Streams: it holds only the rows whose
partner has not come yet, which is next to none where the files are in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from core.errors import UserError
from core.records import Extraction

Key = tuple[str, ...]
Pair = tuple[Extraction, ...]
"""Gold first, then a prediction of each file."""
MISSING: dict[str, Any] = {"missing": True}
"""The provenance of an empty prediction that stands for none, this very object."""
_NAMED = 5  # rows that an error names


def pair(sides: Sequence[Iterable[Extraction]], *, merge: bool = False, allow_missing: bool = False) -> Iterator[Pair]:
    """`sides`: gold, then predictions. Raises UserError: a row on one side only, double ids, differing texts.

    `merge`: predicted rows of one id (and source) are one row, and a gold row that is repeated counts once, as
    in the published IEPile scorer, whose files have a row a call; holds all rows.
    `allow_missing`: a gold row without a prediction meets an empty one. Ids of which none is shared
    (row numbers on one side, say) are not what joins: then texts do.
    """
    by, streams = _peek(sides)
    join = _Join(by, len(sides))
    yield from join.run([_merged(stream, side) for side, stream in enumerate(streams)] if merge else streams)
    if by != "text" and not join.paired:
        again = _Join("text", len(sides))
        yield from again.run(join.held(side) for side in range(len(sides)))
        join = again if again.paired else join
    yield from join.rest(allow_missing)


def _peek(sides: Sequence[Iterable[Extraction]]) -> tuple[str, list[Iterator[Extraction]]]:
    """What all sides can be joined by, going by their first rows, and the sides with those put back."""
    streams = [iter(side) for side in sides]
    first = [list(islice(stream, 1)) for stream in streams]
    whole: list[Iterator[Extraction]] = [chain(rows, stream) for rows, stream in zip(first, streams, strict=True)]
    return _naming([row for rows in first for row in rows]), whole


def _naming(rows: Sequence[Extraction]) -> str:
    if not all(row.id for row in rows):
        return "text"
    return "source" if all(_source(row) for row in rows) else "id"


def _source(row: Extraction) -> str:
    return str(row.provenance.get("source") or "")


def _key(row: Extraction, by: str) -> Key:
    if by == "text":
        return (row.text,)
    if not row.id:
        raise UserError(
            "A row has no id, though the others have one: “{text}”",
            remedy="Give every row an id, or none.",
            text=row.text[:80],
        )
    return (_source(row), row.id) if by == "source" else (row.id,)


def _merged(rows: Iterator[Extraction], side: int) -> Iterator[Extraction]:
    """One row of each id. Rows without ids stay as they are: equal texts may be different rows."""
    by, (stream,) = _peek([rows])
    if by == "text":
        return stream
    held: dict[Key, Extraction] = {}
    for row in stream:
        known = held.setdefault(key := _key(row, by), row)
        if known is row:
            continue
        if side > 0:
            held[key] = _together(known, row)
        elif _records(known) != _records(row):
            raise _double(row, side)
    return iter(held.values())


def _records(row: Extraction) -> tuple[object, ...]:
    return row.text, row.entities, row.relations, row.events


def _together(one: Extraction, other: Extraction) -> Extraction:
    _same_text((one, other))
    return replace(
        one,
        entities=one.entities + other.entities,
        relations=one.relations + other.relations,
        events=one.events + other.events,
        error=one.error or other.error,
    )


@dataclass
class _Join:
    by: str
    sides: int
    paired: int = 0
    _waiting: dict[tuple[Key, int], list[Extraction | None]] = field(default_factory=dict)

    def run(self, streams: Iterable[Iterator[Extraction]]) -> Iterator[Pair]:
        """Read the sides in turn; yield what is complete."""
        seen: list[Counter[Key]] = [Counter() for _ in range(self.sides)]
        going = dict(enumerate(streams))
        while going:
            for side in list(going):
                row = next(going[side], None)
                if row is None:
                    del going[side]
                    continue
                key = _key(row, self.by)
                seen[side][key] += 1
                if seen[side][key] > 1 and self.by != "text":
                    raise _double(row, side)
                if pair := self._place((key, seen[side][key]), side, row):
                    yield pair

    def _place(self, key: tuple[Key, int], side: int, row: Extraction) -> Pair | None:
        places = self._waiting.setdefault(key, [None] * self.sides)
        places[side] = row
        if any(place is None for place in places):
            return None
        del self._waiting[key]
        self.paired += 1
        return _same_text(tuple(place for place in places if place is not None))

    def held(self, side: int) -> Iterator[Extraction]:
        return iter([row for places in self._waiting.values() if (row := places[side]) is not None])

    def rest(self, allow_missing: bool) -> Iterator[Pair]:
        """What found no partner: an error, or gold rows with empty predictions."""
        lost = [row for places in self._waiting.values() if places[0] is None for row in places if row is not None]
        if lost:
            raise UserError(
                "{count} of the predicted rows are not in the gold, among them {rows}.",
                remedy="Score predictions made from the gold's own texts, with the same ids where both have ids.",
                count=len(lost),
                rows=_named(lost),
            )
        bare = [row for places in self._waiting.values() if (row := places[0]) is not None]
        if bare and not allow_missing:
            raise UserError(
                "{count} of the gold rows have no prediction, among them {rows}.",
                remedy="Let the run finish, or allow missing rows: they then count as rows where nothing was found.",
                count=len(bare),
                rows=_named(bare),
            )
        for places in self._waiting.values():
            gold = places[0]
            if gold is not None:
                yield _same_text(
                    (gold, *(row or Extraction(gold.id, gold.text, provenance=MISSING) for row in places[1:]))
                )


def _same_text(rows: Pair) -> Pair:
    for row in rows[1:]:
        if row.text != rows[0].text:
            raise UserError(
                "Gold and prediction have different texts for the row {id}: “{gold}” and “{pred}”",
                remedy="Score predictions made from the gold's own texts; give the column of ids when extracting.",
                id=row.id,
                gold=rows[0].text[:60],
                pred=row.text[:60],
            )
    return rows


def _double(row: Extraction, side: int) -> UserError:
    return UserError(
        "The id {id} occurs twice in the gold." if side == 0 else "The id {id} occurs twice in the predictions.",
        remedy="Give each row an id of its own. Only the iepile rules put rows of one id together.",
        id=row.id,
    )


def _named(rows: Sequence[Extraction]) -> str:
    shown = [row.id or f"“{row.text[:40]}”" for row in rows[:_NAMED]]
    return ", ".join(shown) + (" …" if len(rows) > _NAMED else "")
