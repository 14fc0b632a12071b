"""IEPile's ways of writing a schema: the three lines of schema.json, and what stands under "schema" in a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from core.extract.schema import Schema, ends


def three_lines(types: Any, names: Any, roles: Any) -> dict[str, Any] | None:
    """`types; roles or relations; {type: roles}`; None where the lines are something else.

    SPO and KG write their types `head_relation_tail`. KG's map holds an entity type's attributes, EE's a type's roles.
    """
    if not (_texts(types) and _texts(names) and isinstance(roles, Mapping)):
        return None
    if roles:
        if set(types) & set(roles) or not types:
            return {"events": [{"name": name, "roles": list(roles.get(name, ()))} for name in [*types] or list(roles)]}
        return {"entities": [{"name": owner, "attributes": list(named)} for owner, named in roles.items()]}
    triples = [triple for one in types if (triple := _triple(one, names)) is not None]
    if types and len(triples) == len(types):
        return {"relations": _merged(triples)}
    return {"entities": list(dict.fromkeys(types)), "relations": list(dict.fromkeys(names))}


def listed(data: list[Any]) -> dict[str, Any] | None:
    """A list as a prompt's "schema" has it: names, SPO triples, events, entity types with attributes."""
    if _texts(data):
        return {"entities": list(dict.fromkeys(data))}
    rows = [one for one in data if isinstance(one, Mapping)]
    if not rows or len(rows) != len(data):
        return None
    if all("predicate" in one for one in rows):
        return {
            "relations": _merged(
                (str(one.get("subject_type", "")), str(one["predicate"]), str(one.get("object_type", "")))
                for one in rows
            )
        }
    if all("event_type" in one for one in rows):
        return {"events": [{"name": str(one["event_type"]), "roles": _roles(one.get("arguments"))} for one in rows]}
    if all("entity_type" in one for one in rows):
        return {
            "entities": [{"name": str(one["entity_type"]), "attributes": _roles(one.get("attributes"))} for one in rows]
        }
    return None


def mapped(data: Mapping[str, Any]) -> dict[str, Any]:
    """`{type: description}`, `{event type: [roles]}` or `{event type: {its name: description, arguments: …}}`."""
    made: dict[str, list[Any]] = {"entities": [], "events": []}
    for name, value in data.items():
        if isinstance(value, Mapping) and ("arguments" in value or "trigger" in value):
            told = value.get(name) or value.get("description") or ""
            made["events"].append({"name": name, "description": told, "roles": _roles(value.get("arguments"))})
        elif isinstance(value, list):
            made["events"].append({"name": name, "roles": _roles(value)})
        else:
            made["entities"].append({"name": name, "description": value if isinstance(value, str) else ""})
    return made


def written(schema: Schema) -> str:
    """Three JSON lines. IEPile has one kind of types a file: events, else relations or attributes, else entities."""
    if schema.events:
        roles = {event.name: [role.name for role in event.roles] for event in schema.events}
        named = list(dict.fromkeys(role for names in roles.values() for role in names))
        lines: list[Any] = [list(roles), named, roles]
    elif schema.relations and all(one.is_attribute for one in schema.relations):
        owners: dict[str, list[str]] = {}
        for one in schema.relations:
            for head in ends(one.head):
                owners.setdefault(head, []).append(one.name)
        triples = [f"{owner}_{name}_" for owner, names in owners.items() for name in names]
        lines = [triples, [one.name for one in schema.relations], owners]
    elif schema.relations:
        typed = all(one.head and one.tail for one in schema.relations)
        triples = [
            f"{head}_{one.name}_{tail}"
            for one in schema.relations
            for head in ends(one.head)
            for tail in ends(one.tail)
        ]
        lines = [triples if typed else [], [one.name for one in schema.relations], {}]
    else:
        lines = [[one.name for one in schema.entities], [], {}]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _triple(text: str, names: list[str]) -> tuple[str, str, str] | None:
    """`head_relation_tail` at a relation's name, since a type may hold an underscore itself."""
    for name in names:
        head, sign, tail = text.partition(f"_{name}_")
        if sign and head:
            return head, name, tail
    return None


def _merged(triples: Iterable[tuple[str, str, str]]) -> list[dict[str, str]]:
    """One relation a name, with all the heads and tails that it has."""
    heads: dict[str, list[str]] = {}
    tails: dict[str, list[str]] = {}
    for head, name, tail in triples:
        heads.setdefault(name, []).append(head)
        tails.setdefault(name, []).append(tail)

    def together(parts: list[str]) -> str:
        return ", ".join(dict.fromkeys(part for part in parts if part))

    return [{"name": name, "head": together(heads[name]), "tail": together(tails[name])} for name in heads]


def _roles(value: Any) -> list[dict[str, str]]:
    if isinstance(value, Mapping):
        return [
            {"name": str(name), "description": told if isinstance(told, str) and told != name else ""}
            for name, told in value.items()
        ]
    return [{"name": str(one)} for one in value] if isinstance(value, list) else []
