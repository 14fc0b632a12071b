"""What each step does to a record or a sentence: accepting, editing, adding, calling whole."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from core.errors import UserError
from core.extract.review import values
from core.extract.review.values import KINDS, Kind, Value, type_of
from core.store import clean, dump

Shape = tuple[str, Value | None]
"""A record's state and value; the value None where a step leaves it as it is."""


class Action(BaseModel):
    """One step. Offsets count codepoints of the sentence (`unit`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(default_factory=lambda: secrets.token_hex(8), min_length=1, max_length=80)
    op: str
    unit: int = Field(default=0, ge=0, le=1 << 60)
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
class Step:
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


def _decide(step: Step, state: str) -> None:
    _, before, _ = step.record()
    step.change(step.action.record, (before, None), (state, None))


def _group(step: Step) -> None:
    """All undecided records that say the same, wherever they stand, and the one at hand."""
    state = step.action.state
    if state not in ("accepted", "rejected"):
        raise UserError("A group is accepted or rejected.", remedy="Load the page again.")
    kind, before, value = step.record()
    step.change(step.action.record, (before, None), (state, None))
    question = "SELECT name, state FROM records WHERE same = ? AND state IN ('pending', 'proposed')"
    for name, was in step.database.execute(question, [values.same(kind, value)]).fetchall():
        step.change(name, (was, None), (state, None))


def _edit(step: Step, edited: Callable[[Kind, Value], Value]) -> None:
    """A record that was put right is accepted as it now is."""
    kind, before, value = step.record()
    step.change(step.action.record, (before, value), ("accepted", edited(kind, value)))


def _span(step: Step) -> None:
    span = step.span(step.action.start, step.action.end)
    _edit(step, lambda kind, value: values.with_span(kind, value, step.action.part, span))


def _argument(step: Step) -> None:
    span = step.span(step.action.start, step.action.end)
    _edit(step, lambda kind, value: values.with_argument(kind, value, _named(step), span))


def _named(step: Step) -> str:
    if not step.action.type.strip():
        raise UserError("A type or role needs a name.", remedy="Choose one of the schema's.")
    return step.action.type


def _add(step: Step) -> None:
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


def _whole(step: Step) -> None:
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


def _open(step: Step) -> None:
    """Not whole after all."""
    found = step.database.execute("SELECT whole FROM units WHERE id = ?", [step.action.unit]).fetchone()
    step.wholes[str(step.action.unit)] = (found[0] if found else 0, 0)


def _take(step: Step) -> None:
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


OPERATIONS: dict[str, Callable[[Step], None]] = {
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
