"""Deciding: each step is an event that says who, when and why, and that can be undone and done again.

Steps carry a name given by whoever asks, so that one sent twice is done once. A step that no longer fits what is
there is refused, alone: those beside it are done.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from core.errors import UserError
from core.extract.review import values
from core.extract.review.book import Book, recount
from core.extract.review.steps import OPERATIONS, Action, Shape, Step
from core.extract.review.values import Kind, type_of
from core.store import clean, dump

__all__ = ["Action", "Outcome", "Shape", "apply", "write"]


@dataclass
class Outcome:
    """`done`: names of the steps that are stored, be it since earlier."""

    done: list[str] = field(default_factory=list)
    refused: dict[str, UserError] = field(default_factory=dict)
    units: set[int] = field(default_factory=set)


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
    step = Step(database, action, who)
    if action.op in ("undo", "redo"):
        return _back(step) if action.op == "undo" else _again(step)
    work = OPERATIONS.get(action.op)
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


# Undoing and doing again


def _back(step: Step) -> set[int]:
    """Undo a step, whichever: what it touched must still be as it left it."""
    seq, changes, unit = _event(step, undone=False)
    told = json.loads(changes)
    touched = _restore(step, told, unit, before=0, after=1)
    own = _last(step.database)
    step.database.execute("UPDATE events SET undone_by = ? WHERE seq = ?", [own, seq])
    step.database.execute("UPDATE events SET undoes = ? WHERE seq = ?", [seq, own])
    step.database.execute("UPDATE disputes SET settled = NULL WHERE settled = ?", [seq])
    return touched


def _again(step: Step) -> set[int]:
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


def _event(step: Step, *, undone: bool) -> tuple[int, str, int]:
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


def _restore(step: Step, told: dict[str, Any], unit: int, *, before: int, after: int) -> set[int]:
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
