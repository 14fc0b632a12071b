"""What differs between two schemas: types and roles added, removed, renamed or told otherwise; examples; language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from core.extract.schema import FIELDS, EventType, RelationType, Role, Schema, Type

How = Literal["added", "removed", "renamed", "changed"]
What = Literal["entity", "relation", "attribute", "event", "role", "example", "language"]
ALIKE = 0.6
"""Of two names, or two descriptions, from which on one may be the other's successor."""


@dataclass(frozen=True)
class Change:
    how: How
    what: What
    name: str
    """As it is now, or was; of a role with its event before it: `attack · place`."""
    before: str = ""
    after: str = ""
    """What it was called, or what was said of it, before and after."""


def diff(before: Schema, after: Schema) -> list[Change]:
    """In the order of the newer schema; what is gone stands last of its kind."""
    made: list[Change] = []
    if before.language != after.language:
        made.append(Change("changed", "language", after.language, before.language, after.language))
    for task in FIELDS:
        made += _types(before.types(task), after.types(task))
    old = {one.text: one for one in before.examples}
    new = {one.text: one for one in after.examples}
    for text, one in new.items():
        if text not in old:
            made.append(Change("added", "example", text))
        elif old[text] != one:
            made.append(Change("changed", "example", text))
    return made + [Change("removed", "example", text) for text in old if text not in new]


def _types(before: Sequence[Type], after: Sequence[Type]) -> Iterator[Change]:
    old, new = {one.name: one for one in before}, {one.name: one for one in after}
    renamed = _renamed([one for one in before if one.name not in new], [one for one in after if one.name not in old])
    for name, one in new.items():
        known = old.get(name) or old.get(renamed.get(name, ""))
        if known is None:
            yield Change("added", _what(one), name, "", _told(one))
            continue
        if known.name != name:
            yield Change("renamed", _what(one), name, known.name, name)
        if _told(known) != _told(one):
            yield Change("changed", _what(one), name, _told(known), _told(one))
        if isinstance(one, EventType) and isinstance(known, EventType):
            yield from _roles(one.name, known.roles, one.roles)
    gone = set(renamed.values())
    yield from (
        Change("removed", _what(one), name, _told(one)) for name, one in old.items() if name not in {*new, *gone}
    )


def _roles(event: str, before: Sequence[Role], after: Sequence[Role]) -> Iterator[Change]:
    old, new = {one.name: one for one in before}, {one.name: one for one in after}
    renamed = _renamed([one for one in before if one.name not in new], [one for one in after if one.name not in old])
    for name, one in new.items():
        known = old.get(name) or old.get(renamed.get(name, ""))
        told = f"{event} · {name}"
        if known is None:
            yield Change("added", "role", told, "", one.description)
            continue
        if known.name != name:
            yield Change("renamed", "role", told, known.name, name)
        if known.description != one.description:
            yield Change("changed", "role", told, known.description, one.description)
    gone = {*new, *renamed.values()}
    yield from (
        Change("removed", "role", f"{event} · {name}", old[name].description) for name in old if name not in gone
    )


def _renamed(gone: Sequence[Any], come: Sequence[Any]) -> dict[str, str]:
    """{new name: old name}: told in the same words, or called almost the same. Each old one has one successor."""
    made: dict[str, str] = {}
    for one in come:
        left = [other for other in gone if other.name not in made.values()]
        scored = [(_likeness(other, one), other.name) for other in left]
        best = max(scored, default=(0.0, ""))
        if best[0] >= ALIKE:
            made[one.name] = best[1]
    return made


def _likeness(one: Any, other: Any) -> float:
    if one.description and one.description == other.description:
        return 1.0
    names = SequenceMatcher(None, one.name.casefold(), other.name.casefold()).ratio()
    if one.description and other.description:
        told = SequenceMatcher(None, one.description, other.description).ratio()
        return max(told, (names + told) / 2) if told >= ALIKE else 0.0
    return names


def _what(one: Type) -> What:
    if isinstance(one, RelationType):
        return "attribute" if one.is_attribute else "relation"
    return "event" if isinstance(one, EventType) else "entity"


def _told(one: Type) -> str:
    """All that is said of a type, but for its roles."""
    ends = (
        f"({one.head or '*'} → {one.tail or '*'})" if isinstance(one, RelationType) and (one.head or one.tail) else ""
    )
    examples = f"[{'; '.join(one.examples)}]" if one.examples else ""
    return " ".join(part for part in (ends, one.description, examples) if part)
