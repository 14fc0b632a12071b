"""Deciding: each step is an event that says who, when and why, and that can be undone and done again.

Steps carry a name given by whoever asks, so that one sent twice is done once. A step that no longer fits what is
there is refused, alone: those beside it are done.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError
from core.extract.review import values
from core.extract.review.book import Book, recount
from core.extract.review.values import KINDS, Kind, Value, type_of
from core.store import clean, dump

Shape = tuple[str, Value | None]
"""A record's state and value; the value None where a step leaves it as it is."""


class Action(BaseModel):
    """One step. Offsets count codepoints of the sentence (`unit`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(default_factory=lambda: secrets.token_hex(8), min_length=1, max_length=80)
    op: str
    unit: int = 0
    record: str = Field(default="", max_length=200)
    why: str = Field(default="", max_length=2000)
    part: str = Field(default="", max_length=40)
    type: str = Field(default="", max_length=400)
    """A type, or an argument's role."""
    kind: str = ""
    start: int | None = None
    end: int | None = None
    tail: tuple[int, int] | None = None
    """Of a relation that is added; `start` and `end` are its head's."""
    state: str = ""
    of: str = Field(default="", max_length=80)
    """The step that is undone or done again; empty: the last one of this person."""


@dataclass
class Outcome:
    """`done`: names of the steps that are stored, be it since earlier."""

    done: list[str] = field(default_factory=list)
    refused: dict[str, UserError] = field(default_factory=dict)
    units: set[int] = field(default_factory=set)


@dataclass
class _Step:
    """What a step changes, gathered before anything is written."""

    database: sqlite3.Connection
    action: Action
    who: str
    records: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    wholes: dict[str, tuple[int, int]] = field(default_factory=dict)
    settle: bool = True

    def record(self, name: str = "") -> tuple[Kind, str, Value]:
        found = self.database.execute(
            "SELECT kind, state, value FROM records WHERE name = ? AND state != 'removed'",
            [name or self.action.record],
        ).fetchone()
        if found is None:
            raise UserError("This record is no longer there.", remedy="Load the page again to see what is there now.")
        return found[0], found[1], json.loads(found[2])

    def change(self, name: str, before: Shape, after: Shape) -> None:
        self.records[name] = (before, after)

    def span(self, start: int | None, end: int | None) -> Value:
        """The sentence's own words between two offsets, with their place in the document."""
        found = self.database.execute("SELECT start, text FROM units WHERE id = ?", [self.action.unit]).fetchone()
        text = json.loads(found[1]) if found else ""
        if found is None or start is None or end is None or not 0 <= start < end <= len(text):
            raise UserError(
                "The offsets {start} to {end} lie outside the sentence.",
                remedy="Select words of the sentence and try again.",
                start=start,
                end=end,
            )
        return {"text": text[start:end], "start": found[0] + start, "end": found[0] + end}


def apply(book: Book, actions: Iterable[Action | dict[str, Any]], who: str) -> Outcome:
    """Do the steps in turn, in one transaction. Never raises for a step: what was refused says why."""
    made = Outcome()
    with book.writing() as database:
        for given in actions:
            try:
                action = given if isinstance(given, Action) else Action.model_validate(given)
            except ValidationError as error:
                made.refused[str(dict(given).get("id", ""))] = _malformed(error)
                continue
            if database.execute("SELECT 1 FROM events WHERE action = ?", [action.id]).fetchone():
                made.done.append(action.id)
                made.units.add(action.unit)
                continue
            database.execute("SAVEPOINT step")
            try:
                made.units |= _do(database, action, who)
                made.done.append(action.id)
            except UserError as error:
                database.execute("ROLLBACK TO step")
                made.refused[action.id] = error
            database.execute("RELEASE step")
    return made


def _malformed(error: ValidationError) -> UserError:
    first = error.errors()[0]
    return UserError(
        "A step is not well-formed: {where}: {why}.",
        remedy="Load the page again.",
        where=".".join(map(str, first["loc"])),
        why=first["msg"],
    )


def _do(database: sqlite3.Connection, action: Action, who: str) -> set[int]:
    step = _Step(database, action, who)
    if action.op in ("undo", "redo"):
        return _back(step) if action.op == "undo" else _again(step)
    work = _OPERATIONS.get(action.op)
    if work is None:
        raise UserError("There is no step “{op}”.", remedy="Load the page again.", op=action.op)
    work(step)
    return write(step.database, action, who, step.records, step.wholes, settle=step.settle)


def write(
    database: sqlite3.Connection,
    action: Action,
    who: str,
    records: dict[str, tuple[Shape, Shape]],
    wholes: dict[str, tuple[int, int]],
    *,
    settle: bool = True,
    undoes: int | None = None,
) -> set[int]:
    """The event and what follows from it; the units it touched."""
    changes = dump({"records": records, "wholes": wholes})
    seq = database.execute(
        "INSERT INTO events (action, at, who, why, op, unit, changes, undoes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [action.id, time.time(), clean(who), clean(action.why), action.op, action.unit, changes, undoes],
    ).lastrowid
    touched = {action.unit} if action.unit else set()
    for name, (_, after) in records.items():
        touched.add(_set(database, name, after, clean(who), clean(action.why)))
        if settle:
            database.execute("UPDATE disputes SET settled = ? WHERE record = ? AND settled IS NULL", [seq, name])
    for number, (_, whole) in wholes.items():
        by = clean(who) if whole else ""
        database.execute("UPDATE units SET whole = ?, whole_by = ? WHERE id = ?", [whole, by, int(number)])
        touched.add(int(number))
    for unit in touched:
        recount(database, unit)
    return touched


def _set(database: sqlite3.Connection, name: str, after: Shape, who: str, why: str) -> int:
    state, value = after
    fields, given = ["state = ?", "decided_by = ?", "why = ?"], [state, who, why]
    if value is not None:
        kind: Kind = database.execute("SELECT kind FROM records WHERE name = ?", [name]).fetchone()[0]
        fields += ["value = ?", "type = ?", "same = ?"]
        given += [dump(value), clean(type_of(kind, value)), values.same(kind, value)]
    sql = f"UPDATE records SET {', '.join(fields)} WHERE name = ? RETURNING unit"  # noqa: S608 fixed names
    return database.execute(sql, [*given, name]).fetchone()[0]


# Deciding on what is there


def _decide(step: _Step, state: str) -> None:
    _, before, _ = step.record()
    step.change(step.action.record, (before, None), (state, None))


def _group(step: _Step) -> None:
    """All undecided records that say the same, wherever they stand, and the one at hand."""
    state = step.action.state
    if state not in ("accepted", "rejected"):
        raise UserError("A group is accepted or rejected.", remedy="Load the page again.")
    kind, before, value = step.record()
    step.change(step.action.record, (before, None), (state, None))
    question = "SELECT name, state FROM records WHERE same = ? AND state IN ('pending', 'proposed')"
    for name, was in step.database.execute(question, [values.same(kind, value)]).fetchall():
        step.change(name, (was, None), (state, None))


def _edit(step: _Step, edited: Callable[[Kind, Value], Value]) -> None:
    """A record that was put right is accepted as it now is."""
    kind, before, value = step.record()
    step.change(step.action.record, (before, value), ("accepted", edited(kind, value)))


def _span(step: _Step) -> None:
    span = step.span(step.action.start, step.action.end)
    _edit(step, lambda kind, value: values.with_span(kind, value, step.action.part, span))


def _argument(step: _Step) -> None:
    span = step.span(step.action.start, step.action.end)
    _edit(step, lambda kind, value: values.with_argument(kind, value, _named(step), span))


def _named(step: _Step) -> str:
    if not step.action.type.strip():
        raise UserError("A type or role needs a name.", remedy="Choose one of the schema's.")
    return step.action.type


def _add(step: _Step) -> None:
    """A record that the model has not found. Its name is the step's own, so later steps can speak of it."""
    action = step.action
    if action.kind not in get_args(Kind):
        raise UserError(
            "There is no kind of record “{kind}”.",
            remedy="Choose one of: {known}.",
            kind=action.kind,
            known=", ".join(KINDS),
        )
    span, kind = step.span(action.start, action.end), action.kind
    value: Value
    if kind == "entity":
        value = {**span, "type": _named(step)}
    elif kind == "relation":
        tail = step.span(*(action.tail or (None, None)))
        value = {"head": span, "relation": _named(step), "tail": tail}
    else:
        value = {"type": _named(step), "trigger": span, "arguments": []}
    insert(step.database, f"+{action.id}", action.unit, kind, value, "removed")
    step.change(f"+{action.id}", ("removed", value), ("accepted", value))


def insert(database: sqlite3.Connection, name: str, unit: int, kind: str, value: Value, state: str) -> None:
    """A record without an origin: not the model's."""
    place = database.execute("SELECT coalesce(max(place), -1) + 1 FROM records WHERE unit = ?", [unit]).fetchone()[0]
    told: Kind = kind  # type: ignore[assignment] # checked by who calls
    database.execute(
        "INSERT INTO records (name, unit, kind, type, same, state, value, place) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [name, unit, kind, clean(type_of(told, value)), values.same(told, value), state, dump(value), place],
    )


def _whole(step: _Step) -> None:
    """The sentence is whole: all is decided, nothing is missing. With `state` accepted, what is left is accepted."""
    unit = step.action.unit
    found = step.database.execute("SELECT whole FROM units WHERE id = ?", [unit]).fetchone()
    if found is None:
        raise UserError("This sentence is no longer there.", remedy="Load the page again to see what is there now.")
    question = "SELECT name FROM records WHERE unit = ? AND state = 'pending'"
    open_ = [name for (name,) in step.database.execute(question, [unit])]
    if open_ and step.action.state != "accepted":
        raise UserError(
            "{count} records of this sentence are not decided yet.",
            remedy="Accept or reject them first, or accept all that is left in one go.",
            count=len(open_),
        )
    for name in open_:
        step.change(name, ("pending", None), ("accepted", None))
    step.wholes[str(unit)] = (found[0], 1)


def _open(step: _Step) -> None:
    """Not whole after all."""
    found = step.database.execute("SELECT whole FROM units WHERE id = ?", [step.action.unit]).fetchone()
    step.wholes[str(step.action.unit)] = (found[0] if found else 0, 0)


def _take(step: _Step) -> None:
    """The other reviewer's decision (`of` names the person) in the place of one's own."""
    question = "SELECT state, value FROM opinions WHERE record = ? AND who = ?"
    theirs = step.database.execute(question, [step.action.record, step.action.of]).fetchone()
    if theirs is None:
        raise UserError(
            "{who} has said nothing about this record.",
            remedy="Decide it yourself.",
            who=step.action.of or "–",
        )
    _, before, value = step.record()
    state = "rejected" if theirs[0] in ("rejected", "missing") else "accepted"
    if theirs[1] is None or state == "rejected":
        step.change(step.action.record, (before, None), (state, None))
    else:
        step.change(step.action.record, (before, value), (state, json.loads(theirs[1])))


_OPERATIONS: dict[str, Callable[[_Step], None]] = {
    "accept": lambda step: _decide(step, "accepted"),
    "reject": lambda step: _decide(step, "rejected"),
    "group": _group,
    "span": _span,
    "type": lambda step: _edit(step, lambda kind, value: values.with_type(kind, value, _named(step))),
    "swap": lambda step: _edit(step, values.swapped),
    "argument": _argument,
    "role": lambda step: _edit(step, lambda kind, value: values.with_role(kind, value, step.action.part, _named(step))),
    "drop": lambda step: _edit(step, lambda kind, value: values.without_argument(kind, value, step.action.part)),
    "add": _add,
    "whole": _whole,
    "open": _open,
    "take": _take,
}


# Undoing and doing again


def _back(step: _Step) -> set[int]:
    """Undo a step, whichever: what it touched must still be as it left it."""
    seq, changes, unit = _event(step, undone=False)
    told = json.loads(changes)
    touched = _restore(step, told, unit, before=0, after=1)
    own = _last(step.database)
    step.database.execute("UPDATE events SET undone_by = ? WHERE seq = ?", [own, seq])
    step.database.execute("UPDATE events SET undoes = ? WHERE seq = ?", [seq, own])
    step.database.execute("UPDATE disputes SET settled = NULL WHERE settled = ?", [seq])
    return touched


def _again(step: _Step) -> set[int]:
    """Do again what was undone."""
    seq, changes, unit = _event(step, undone=True)
    told = json.loads(changes)
    touched = _restore(step, told, unit, before=1, after=0)
    step.database.execute("UPDATE events SET undone_by = NULL WHERE seq = ?", [seq])
    step.database.execute("UPDATE events SET undoes = ? WHERE seq = ?", [seq, _last(step.database)])
    names = list(told["records"])
    step.database.executemany(
        "UPDATE disputes SET settled = ? WHERE record = ? AND settled IS NULL", [(seq, name) for name in names]
    )
    return touched


def _last(database: sqlite3.Connection) -> int:
    return database.execute("SELECT max(seq) FROM events").fetchone()[0]


def _event(step: _Step, *, undone: bool) -> tuple[int, str, int]:
    state = "undone_by IS NOT NULL" if undone else "undone_by IS NULL"
    which, given = ("action = ?", step.action.of) if step.action.of else ("who = ?", step.who)
    order = "undone_by" if undone else "seq"
    found = step.database.execute(
        f"SELECT seq, changes, unit FROM events WHERE {which} AND {state}"  # noqa: S608 fixed words
        f" AND op NOT IN ('undo', 'redo') ORDER BY {order} DESC LIMIT 1",
        [given],
    ).fetchone()
    if found is None and undone:
        raise UserError("There is nothing to do again.", remedy="Only what was undone can be done again.")
    if found is None:
        raise UserError("There is nothing to undo.", remedy="The history shows every step and those undone.")
    return found


def _restore(step: _Step, told: dict[str, Any], unit: int, *, before: int, after: int) -> set[int]:
    """Put back shape number `before` of what now has shape number `after`."""
    records: dict[str, tuple[Shape, Shape]] = {}
    for name, shapes in told["records"].items():
        wanted, expected = shapes[before], shapes[after]
        now = step.database.execute("SELECT state, value FROM records WHERE name = ?", [name]).fetchone()
        fits = now is not None and now[0] == expected[0]
        if not fits or (expected[1] is not None and json.loads(now[1]) != expected[1]):
            raise _changed_since()
        records[name] = ((expected[0], expected[1]), (wanted[0], wanted[1]))
    wholes = {}
    for number, pair in told["wholes"].items():
        now = step.database.execute("SELECT whole FROM units WHERE id = ?", [int(number)]).fetchone()
        if now is None or now[0] != pair[after]:
            raise _changed_since()
        wholes[number] = (pair[after], pair[before])
    action = step.action.model_copy(update={"unit": unit})
    return write(step.database, action, step.who, records, wholes, settle=False)


def _changed_since() -> UserError:
    return UserError(
        "What this step changed was changed again since.",
        remedy="Undo the later steps first, or decide the record anew.",
    )
