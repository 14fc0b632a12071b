"""Types under other names: a schema in which each type is called by one of its wordings, and the way back."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from core.extract.schema import EntityType, EventType, RelationType, Role, Schema, label

HERE = Path(__file__).parent
Wordings = Mapping[str, Sequence[Sequence[str]]]
"""Key of a type -> its [name, description] pairs, the usual one first."""


@dataclass(frozen=True)
class Asked:
    """A schema, and what it calls each key (a role's key is `event key, role key`)."""

    schema: Schema
    names: dict[str, str]
    roles: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Style:
    """How a schema is written: the share of types under their usual name, the share with a description."""

    usual: float
    described: float
    coded: str = ""
    """Not empty: names are this and a number, so that only the descriptions tell the types."""

    @classmethod
    def draw(cls, rng: random.Random) -> Style:
        if rng.random() < 0.2:
            return cls(0.5, 1.0, rng.choice(("type ", "T", "class ", "X", "kind ", "label_")))
        usual = 1.0 if rng.random() < 0.4 else 0.25
        described = rng.choices([1.0, 0.0, 0.5], [0.45, 0.35, 0.2])[0]
        return cls(usual, described)


@cache
def dataset(name: str) -> dict[str, Any]:
    """The wordings of a published data set's types."""
    return json.loads((HERE / "wordings" / f"{name}.json").read_text(encoding="utf-8"))


def entities(wordings: Wordings, keys: Sequence[str], style: Style, rng: random.Random) -> Asked:
    chosen = _chosen(wordings, keys, style, rng)
    made = tuple(EntityType(name=name, description=told) for name, told in chosen.values())
    return Asked(Schema(entities=made), {key: name for key, (name, _) in chosen.items()})


def relations(
    wordings: Wordings,
    keys: Sequence[str],
    style: Style,
    rng: random.Random,
    ends: Mapping[str, tuple[str, str]] | None = None,
) -> Asked:
    """`ends`: key -> what may stand as head and as tail, where that is told."""
    chosen = _chosen(wordings, keys, style, rng)
    made = []
    for key, (name, told) in chosen.items():
        head, tail = (ends or {}).get(key, ("", ""))
        made.append(RelationType(name=name, description=told, head=head, tail=tail))
    return Asked(Schema(relations=tuple(made)), {key: name for key, (name, _) in chosen.items()})


def events(types: Mapping[str, Any], keys: Sequence[str], style: Style, rng: random.Random) -> Asked:
    """`types`: key -> templates.EventType. Now and then a role isn't asked for."""
    chosen = _chosen({key: types[key].wordings for key in keys}, keys, style, rng)
    made: list[EventType] = []
    names: dict[tuple[str, str], str] = {}
    fewer = rng.random() < 0.15
    for key, (name, told) in chosen.items():
        wordings = types[key].roles
        asked = [role for role in wordings if not fewer or rng.random() < 0.7] or list(wordings)
        roles = _chosen(wordings, asked, replace(style, coded=""), rng)
        made.append(
            EventType(
                name=name,
                description=told,
                roles=tuple(Role(name=called, description=what) for called, what in roles.values()),
            )
        )
        names |= {(key, role): called for role, (called, _) in roles.items()}
    return Asked(Schema(events=tuple(made)), {key: name for key, (name, _) in chosen.items()}, names)


def _chosen(wordings: Wordings, keys: Sequence[str], style: Style, rng: random.Random) -> dict[str, tuple[str, str]]:
    """A wording a key, all names distinct, in a new order; a key whose every name is taken is left out."""
    taken: set[str] = set()
    made: dict[str, tuple[str, str]] = {}
    for key in rng.sample(list(keys), len(keys)):
        options = list(wordings[key])
        if rng.random() >= style.usual:
            rng.shuffle(options)
        if style.coded:
            options = [[f"{style.coded}{number}", told] for _, told in options if told for number in [len(made) + 1]]
        for name, told in options:
            if label(name).casefold() not in taken:
                taken.add(label(name).casefold())
                made[key] = (name, told if rng.random() < style.described else "")
                break
    return made
