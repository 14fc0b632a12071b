"""What a second reviewer said, beside what the first said: taken in, compared, and listed where they differ.

Nothing of the first's is overwritten. Where the first has said nothing, the other's decisions may be taken over, in
one step that can be undone; where they differ, both stay to be seen until somebody settles it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from core.errors import UserError
from core.extract.review.book import Book, recount
from core.extract.review.decide import Action, Shape, write
from core.extract.review.package import PackedRecord, PackedUnit
from core.extract.review.steps import insert
from core.extract.review.values import Kind, Value, content
from core.store import clean, dump

DECIDED = ("accepted", "rejected")


@dataclass
class Merged:
    units: int = 0
    """Sentences that both have."""
    unknown: int = 0
    """Sentences that are not here, or with another text."""
    opinions: int = 0
    filled: int = 0
    """Decisions taken over where there was none."""
    disputes: int = 0


@dataclass
class _Taking:
    database: sqlite3.Connection
    who: str
    fill: bool
    made: Merged = field(default_factory=Merged)
    records: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    wholes: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Mine:
    name: str
    kind: Kind
    state: str
    origin: Value | None
    value: Value
    by: str


def take(book: Book, units: Iterable[PackedUnit], who: str, *, fill: bool) -> Merged:
    """Take in what `who` said. Said again, it replaces what they had said before, not what anybody else did."""
    with book.writing() as database:
        _another(database, clean(who))
        taking = _Taking(database, clean(who), fill)
        for unit in units:
            found = database.execute(
                "SELECT id, text, whole, whole_by FROM units WHERE row = ? AND start = ? AND end = ?",
                [unit.row, unit.start, unit.end],
            ).fetchone()
            if found is None or clean(json.loads(found[1])) != clean(unit.text):
                taking.made.unknown += 1
                continue
            taking.made.units += 1
            _unit(taking, found[0], unit, whole=bool(found[2]), whole_by=found[3])
        if taking.made.unknown and not taking.made.units:
            raise UserError(
                "None of the sentences is in this review.",
                remedy="Choose the run that the package was made from.",
            )
        if taking.records or taking.wholes:
            taking.made.filled = len(taking.records)
            write(database, Action(op="merge"), taking.who, taking.records, taking.wholes, settle=False)
    return taking.made


def _another(database: sqlite3.Connection, who: str) -> None:
    """Raises UserError where that name has decided here: whose decision is whose could not be told."""
    if database.execute("SELECT 1 FROM events WHERE who = ? AND op != 'merge' LIMIT 1", [who]).fetchone():
        raise UserError(
            "Both reviewers are called {who}.",
            remedy="Give the second reviewer another name with --who, or beside the file on the Review page.",
            who=who,
        )


def _unit(taking: _Taking, unit: int, theirs: PackedUnit, *, whole: bool, whole_by: str) -> None:
    mine = _mine(taking.database, unit)
    if theirs.whole:
        taking.database.execute("INSERT OR IGNORE INTO wholes VALUES (?, ?)", [taking.who, unit])
    said: set[str] = set()
    for record in theirs.records:
        if record.state not in DECIDED:
            continue
        name = _name(record, mine, taking.who)
        said.add(name)
        _opinion(taking, unit, name, record.state, record.value or record.origin or {}, record.why)
        here = mine.get(name)
        if here is None:
            _proposed(taking, unit, name, record, ours_whole=whole)
        elif here.state == "pending":
            _fill(taking, here, record)
        else:
            _compare(taking, unit, here, record.state, record.value or record.origin or {})
    if theirs.whole:
        for name in mine.keys() - said:  # they call the sentence whole without it
            here = mine[name]
            if here.origin is None and here.state == "accepted" and here.by != taking.who:
                _opinion(taking, unit, name, "missing", None, "")
                _dispute(taking, unit, name)
    if theirs.whole and taking.fill and not whole:
        taking.wholes[str(unit)] = (0, 1)
    recount(taking.database, unit)


def _mine(database: sqlite3.Connection, unit: int) -> dict[str, _Mine]:
    return {
        name: _Mine(name, kind, state, json.loads(origin) if origin else None, json.loads(value), by)
        for name, kind, state, origin, value, by in database.execute(
            "SELECT name, kind, state, origin, value, decided_by FROM records WHERE unit = ? AND state != 'removed'",
            [unit],
        )
    }


def _name(record: PackedRecord, mine: dict[str, _Mine], who: str) -> str:
    """The record here that theirs is about: the model's own, or one that says the same at the same place."""
    if record.origin is not None and record.name in mine:
        return record.name
    told = content(record.kind, record.value or {})
    return next((name for name, one in mine.items() if content(one.kind, one.value) == told), f"{record.name}@{who}")


def _opinion(taking: _Taking, unit: int, name: str, state: str, value: Value | None, why: str) -> None:
    told = dump(value) if value is not None else None
    taking.database.execute(
        "INSERT OR REPLACE INTO opinions VALUES (?, ?, ?, ?, ?, ?)", [taking.who, name, unit, state, told, clean(why)]
    )
    taking.made.opinions += 1


def _proposed(taking: _Taking, unit: int, name: str, record: PackedRecord, *, ours_whole: bool) -> None:
    """A record that only they have."""
    if record.state != "accepted" or record.value is None:
        return
    fill = taking.fill and not ours_whole
    insert(taking.database, name, unit, record.kind, record.value, "removed" if fill else "proposed")
    if fill:
        taking.records[name] = (("removed", record.value), ("accepted", record.value))
    else:
        _dispute(taking, unit, name)


def _fill(taking: _Taking, here: _Mine, record: PackedRecord) -> None:
    if not taking.fill:
        return
    value = record.value if record.state == "accepted" else None
    before = here.value if value is not None else None
    taking.records[here.name] = (("pending", before), (record.state, value))


def _compare(taking: _Taking, unit: int, here: _Mine, state: str, value: Value) -> None:
    if here.by == taking.who and here.state != "proposed":
        return
    same_value = content(here.kind, here.value) == content(here.kind, value)
    if here.state == "proposed" or here.state != state or (state == "accepted" and not same_value):
        _dispute(taking, unit, here.name)
    else:
        gone = "DELETE FROM disputes WHERE who = ? AND record = ? AND settled IS NULL"
        taking.database.execute(gone, [taking.who, here.name])


def _dispute(taking: _Taking, unit: int, name: str) -> None:
    made = taking.database.execute(
        "INSERT OR IGNORE INTO disputes (who, record, unit) VALUES (?, ?, ?)", [taking.who, name, unit]
    )
    taking.made.disputes += made.rowcount


# How far they agree


@dataclass(frozen=True)
class Agreement:
    """`kappa` and `span_f1` are None where there is nothing to compare, or chance alone would agree always."""

    who: str
    records: int
    """The model's records that both decided, each on their own."""
    same: int
    kappa: float | None
    sentences: int
    """That both called whole."""
    span_f1: float | None
    open: int
    """Disagreements that nobody has settled."""


def reviewers(book: Book) -> list[str]:
    return [who for (who,) in book.read("SELECT DISTINCT who FROM opinions ORDER BY who")]


def agreement(book: Book, who: str) -> Agreement:
    """Of the review's own decisions, as they are now, with those of `who`. What came from `who` counts on no side."""
    pairs = [
        (_category(mine, origin, value), _category(theirs, origin, other))
        for mine, origin, value, theirs, other in book.read(
            "SELECT r.state, r.origin, r.value, o.state, o.value FROM records r JOIN opinions o ON o.record = r.name"
            " WHERE o.who = ? AND r.decided_by != ? AND r.origin IS NOT NULL AND r.state IN ('accepted', 'rejected')"
            " AND o.state IN ('accepted', 'rejected')",
            [who, who],
        )
    ]
    both = book.read(
        "SELECT u.id FROM units u JOIN wholes w ON w.unit = u.id"
        " WHERE w.who = ? AND u.whole_by != ? AND u.whole AND u.pending = 0",
        [who, who],
    )
    units = [unit for (unit,) in both]
    ours, theirs_ = _spans(book, units, ""), _spans(book, units, who)
    open_ = book.read("SELECT count(*) FROM disputes WHERE who = ? AND settled IS NULL", [who])[0][0]
    told = len(ours) + len(theirs_)
    return Agreement(
        who=who,
        records=len(pairs),
        same=sum(one == other for one, other in pairs),
        kappa=kappa(pairs),
        sentences=len(units),
        span_f1=2 * len(ours & theirs_) / told if told else None,
        open=open_,
    )


def kappa(pairs: list[tuple[str, str]]) -> float | None:
    """Cohen's kappa: agreement beyond what chance gives two people who choose each answer as often as they do."""
    if not pairs:
        return None
    seen = sum(one == other for one, other in pairs) / len(pairs)
    names = {name for pair in pairs for name in pair}
    count = len(pairs)
    chance = sum(
        sum(one == name for one, _ in pairs) / count * (sum(other == name for _, other in pairs) / count)
        for name in names
    )
    return None if chance >= 1 else (seen - chance) / (1 - chance)


def _category(state: str, origin: str, value: str | None) -> str:
    if state == "rejected":
        return "rejected"
    return "accepted" if value is None or json.loads(value) == json.loads(origin) else "corrected"


def _spans(book: Book, units: list[int], who: str) -> set[tuple[Any, ...]]:
    """Every span of the accepted records of these sentences, with what it is a span of."""
    from core.extract.review.values import spans, type_of

    found: set[tuple[Any, ...]] = set()
    for start in range(0, len(units), 500):
        piece = units[start : start + 500]
        marks = ", ".join("?" * len(piece))
        if who:
            rows = book.read(
                "SELECT o.unit, r.kind, o.value FROM opinions o JOIN records r ON r.name = o.record"  # noqa: S608 only marks
                f" WHERE o.who = ? AND o.state = 'accepted' AND o.unit IN ({marks})",
                [who, *piece],
            )
        else:
            rows = book.read(
                f"SELECT unit, kind, value FROM records WHERE state = 'accepted' AND unit IN ({marks})",  # noqa: S608
                piece,
            )
        for unit, kind, told in rows:
            value = json.loads(told)
            for part, one in spans(kind, value):
                name = one["role"] if part.startswith("argument:") else part
                place = (one.get("start"), one.get("end")) if one.get("start") is not None else one["text"]
                found.add((unit, kind, type_of(kind, value), name, place))
    return found
