"""Which sentences are looked at, and in which order; and a sentence as it is shown, with all that is known of it."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.extract.review.book import Book
from core.extract.review.values import spans

Todo = Literal["todo", "decided", "reviewed", "changed", "disputed", "all"]
"""`decided`: all its records are, but nobody has called it whole. `changed`: a person corrected, rejected or added."""
Order = Literal["confidence", "file"]
MODEL_SAID = "origin IS NOT NULL"

_STATES: dict[Todo, str] = {
    "todo": "NOT (u.whole AND u.pending = 0)",
    "decided": "NOT u.whole AND u.pending = 0 AND u.records > 0",
    "reviewed": "u.whole AND u.pending = 0",
    "changed": "EXISTS (SELECT 1 FROM records r WHERE r.unit = u.id AND (r.state = 'rejected' OR"
    " r.state = 'accepted' AND (r.origin IS NULL OR r.origin != r.value)))",
    "disputed": "EXISTS (SELECT 1 FROM disputes d WHERE d.unit = u.id AND d.settled IS NULL)",
    "all": "1",
}
# Without a confidence first: nothing speaks for those. Sentences without records last.
_ORDERS: dict[Order, str] = {
    "confidence": "u.records = 0, u.confidence IS NOT NULL, u.confidence, u.row, u.start",
    "file": "u.row, u.start",
}


@dataclass(frozen=True)
class Filter:
    """`rows`: first and last ones of the input, from 0. `bare`: sentences without records, too."""

    state: Todo = "todo"
    types: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    rows: tuple[tuple[int, int], ...] = ()
    order: Order = "confidence"
    bare: bool = True


@dataclass(frozen=True)
class Counts:
    units: int
    reviewed: int
    records: int
    """What the model said."""
    decided: int
    disputed: int


def ids(book: Book, filter: Filter) -> array[int]:
    """The sentences' numbers in their order: a queue that stays as it is while its sentences are decided."""
    where, values = [_STATES[filter.state]], list[object]()
    if filter.types:
        marks = ", ".join("?" * len(filter.types))
        where.append(
            f"EXISTS (SELECT 1 FROM records r WHERE r.type IN ({marks}) AND r.unit = u.id AND r.state != 'removed')"  # noqa: S608 only marks
        )
        values += filter.types
    if filter.models:
        where.append(f"d.model IN ({', '.join('?' * len(filter.models))})")
        values += filter.models
    if filter.rows:
        where.append("(" + " OR ".join(["u.row BETWEEN ? AND ?"] * len(filter.rows)) + ")")
        values += [row for reach in filter.rows for row in reach]
    if not filter.bare:
        where.append("u.records > 0")
    question = (
        "SELECT u.id FROM units u JOIN documents d ON d.row = u.row"  # noqa: S608 fixed words and marks
        f" WHERE {' AND '.join(where)} ORDER BY {_ORDERS[filter.order]}"
    )
    return array("q", (number for (number,) in book.read(question, values)))


def counts(book: Book) -> Counts:
    ((made, reviewed),) = book.read("SELECT count(*), coalesce(sum(whole AND pending = 0), 0) FROM units")
    states = dict(book.read(f"SELECT state, count(*) FROM records WHERE {MODEL_SAID} GROUP BY state"))  # noqa: S608
    disputed = book.read("SELECT count(*) FROM disputes WHERE settled IS NULL")[0][0]
    said = sum(states.values())
    return Counts(made, reviewed, said, said - states.get("pending", 0), disputed)


def types(book: Book) -> dict[str, list[str]]:
    """The types that occur, of each kind."""
    found: dict[str, list[str]] = defaultdict(list)
    for kind, type in book.read("SELECT DISTINCT kind, type FROM records ORDER BY kind, type"):
        found[kind].append(type)
    return dict(found)


def models(book: Book) -> list[str]:
    return [model for (model,) in book.read("SELECT DISTINCT model FROM documents ORDER BY model")]


def read(book: Book, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The sentences as plain data; offsets count from the sentence's start. In the order asked for; lost ones left out.

    A record's `twins`: how many say the same in the whole run, and how many of those are undecided.
    """
    if not numbers:
        return []
    marks = ", ".join("?" * len(numbers))
    found: dict[int, dict[str, Any]] = {}
    for row in book.read(
        "SELECT u.id, u.row, u.start, u.text, u.whole, u.whole_by, u.confidence, d.id, d.model"  # noqa: S608 only marks
        f" FROM units u JOIN documents d ON d.row = u.row WHERE u.id IN ({marks})",
        list(numbers),
    ):
        names = ("id", "row", "start", "text", "whole", "whole_by", "confidence", "document", "model")
        unit = dict(zip(names, row, strict=True))
        found[row[0]] = unit | {"text": json.loads(row[3]), "whole": bool(row[4]), "records": []}
    twins = _twins(book, list(numbers))
    others = _others(book, list(numbers))
    for unit, name, kind, state, confidence, origin, value, by, why, same in book.read(
        "SELECT unit, name, kind, state, confidence, origin, value, decided_by, why, same FROM records"  # noqa: S608 only marks
        f" WHERE unit IN ({marks}) AND state != 'removed' ORDER BY unit, place",
        list(numbers),
    ):
        if unit not in found:
            continue
        start = found[unit]["start"]
        found[unit]["records"].append(
            {
                "name": name,
                "kind": kind,
                "state": state,
                "confidence": confidence,
                "value": _shown(kind, json.loads(value), start),
                "added": origin is None,
                "edited": origin is not None and origin != value,
                "by": by,
                "why": why,
                "same": same,
                "twins": twins.get(same, (1, 0)),
                "others": [
                    one | {"value": _shown(kind, one["value"], start) if one["value"] else None}
                    for one in others.get(name, ())
                ],
            }
        )
    return [found[number] for number in numbers if number in found]


def _twins(book: Book, numbers: list[int]) -> dict[str, tuple[int, int]]:
    marks = ", ".join("?" * len(numbers))
    rows = book.read(
        "SELECT same, count(*), sum(state IN ('pending', 'proposed')) FROM records WHERE same IN"  # noqa: S608 only marks
        f" (SELECT same FROM records WHERE unit IN ({marks})) AND state != 'removed' GROUP BY same",
        numbers,
    )
    return {same: (all, open) for same, all, open in rows}


def _others(book: Book, numbers: list[int]) -> dict[str, list[dict[str, Any]]]:
    """What other reviewers said, of records that are disputed still."""
    marks = ", ".join("?" * len(numbers))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, who, state, value, why in book.read(
        "SELECT o.record, o.who, o.state, o.value, o.why FROM opinions o JOIN disputes d"  # noqa: S608 only marks
        f" ON d.record = o.record AND d.who = o.who AND d.settled IS NULL WHERE o.unit IN ({marks})",
        numbers,
    ):
        found[name].append({"who": who, "state": state, "value": json.loads(value) if value else None, "why": why})
    return found


def _shown(kind: Any, value: dict[str, Any], start: int) -> dict[str, Any]:
    for _, one in spans(kind, value):
        if one.get("start") is not None:
            one |= {"start": one["start"] - start, "end": one["end"] - start}
    return value


@dataclass(frozen=True)
class Step:
    """An event, for a list of what was done. `record`: what it was about, in words; `undone`: by a later one."""

    seq: int
    action: str
    at: float
    who: str
    why: str
    op: str
    unit: int
    records: int
    record: str
    undone: bool


def history(book: Book, limit: int = 50, who: str = "", before: int = 1 << 62) -> list[Step]:
    """The latest steps first, those that undo others left out: an undone step says so itself."""
    rows = book.read(
        "SELECT seq, action, at, who, why, op, unit, changes, undone_by FROM events"
        " WHERE op NOT IN ('undo', 'redo') AND seq < ? AND (? = '' OR who = ?) ORDER BY seq DESC LIMIT ?",
        [before, who, who, limit],
    )
    return [
        Step(seq, action, at, by, why, op, unit, len(names), _told(book, names, unit), undone is not None)
        for seq, action, at, by, why, op, unit, changes, undone in rows
        for names in [list(json.loads(changes)["records"])]
    ]


def _told(book: Book, names: list[str], unit: int) -> str:
    """The first record in words; the sentence's beginning where a step is about the sentence."""
    if names:
        found = book.read("SELECT kind, value FROM records WHERE name = ?", [names[0]])
        if found:
            kind, value = found[0][0], json.loads(found[0][1])
            words = [one["text"] for _, one in spans(kind, value)]
            middle = value.get("relation") or value["type"]
            return " → ".join([words[0], middle, *words[1:]]) if kind == "relation" else f"{middle}: {words[0]}"
    found = book.read("SELECT text FROM units WHERE id = ?", [unit])
    return json.loads(found[0][0])[:80] if found else ""
