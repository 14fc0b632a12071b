"""Which types are asked together, kept from call to call of a run.

A type that is added then makes a prompt of its own; those that were there keep theirs, and their answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.extract import dialects
from core.extract.calls import Part
from core.extract.schema import FIELDS, Schema, Task

Groups = Sequence[tuple[Task, Sequence[str]]]


def groups(parts: Sequence[Part]) -> list[tuple[Task, list[str]]]:
    """Of the first pass's parts: task and names of the types, as the store keeps them."""
    return [(part.task, [one.name for one in part.schema.types(part.task)]) for part in parts if not part.turn.number]


def regrouped(parts: Sequence[Part], schema: Schema, known: Groups) -> list[Part]:
    """The parts as they were before, as far as the schema still has their types, then those of its other types.

    The dialect has the last word on what can be asked together.
    """
    made: list[Part] = []
    for task, one in {part.task: part for part in reversed(parts)}.items():
        if not any(of == task for of, _ in known):
            made += [part for part in parts if part.task == task]
            continue
        types = {each.name: each for each in schema.types(task)}
        some = [
            [types.pop(name) for name in dict.fromkeys(names) if name in types] for of, names in known if of == task
        ]
        dialect = dialects.find(one.dialect)
        for group in (*some, list(types.values())):
            if group:
                asked = schema.model_copy(update={**_NOTHING, FIELDS[task]: tuple(group)})
                made += [replace(one, schema=part) for part in dialect.parts(task, asked, one.asking.types_per_call)]
    order = list(dict.fromkeys(part.task for part in parts))
    made.sort(key=lambda part: order.index(part.task))
    return [replace(part, number=number) for number, part in enumerate(made)]


_NOTHING = dict.fromkeys(FIELDS.values(), ())
