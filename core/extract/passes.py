"""Several passes over the same text that differ: the types in another order, answers drawn instead of the likeliest.

What all passes say is surer than what one of them says (confidence.py counts the votes).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.extract.schema import FIELDS, Schema, Task
from core.inference.decoding import Decoding

if TYPE_CHECKING:
    from core.extract.calls import Part

TEMPERATURE = 0.7
"""Of the passes behind the first."""


@dataclass(frozen=True)
class Pass:
    """Which pass, from 0, and how its answers are drawn. The first is the one that a run of one pass makes."""

    number: int = 0
    temperature: float = 0.0

    def decoding(self, usual: Decoding) -> Decoding:
        """The dialect's, or one draw at this temperature; the same pass draws the same."""
        if not self.temperature:
            return usual
        return usual.model_copy(update={"temperature": self.temperature, "beams": 1, "seed": self.number})


FIRST = Pass()


def spread(parts: Sequence[Part], passes: int, temperature: float = TEMPERATURE) -> list[Part]:
    """The parts of each pass, one pass after the other. Behind the first, types come in an order of the pass's own."""
    made = list(parts)
    for number in range(1, passes):
        one = Pass(number, temperature)
        made += [
            replace(part, number=len(made) + at, schema=shuffled(part.task, part.schema, number), turn=one)
            for at, part in enumerate(parts)
        ]
    return made


def shuffled(task: Task, schema: Schema, seed: int) -> Schema:
    """The task's types in another order, each seed its own; as they are where there is only one."""
    types = list(schema.types(task))
    random.Random(seed).shuffle(types)
    if seed and len(types) > 1 and tuple(types) == schema.types(task):
        types = [*types[1:], types[0]]
    return schema.model_copy(update={FIELDS[task]: tuple(types)})
