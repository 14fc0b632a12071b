"""An entity type's attributes, as people write them, made the relations that they are: with this head and no tail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_relations(data: Any) -> Any:
    """A schema's parsed JSON whose entity types have no `attributes` any more.

    One that several entity types have is one relation with all of them as its heads. Anything that isn't shaped so
    is left for the schema's own checks to refuse.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("entities"), list | tuple):
        return data
    made: dict[str, dict[str, Any]] = {}
    entities = []
    for entity in data["entities"]:
        if not (isinstance(entity, Mapping) and isinstance(entity.get("attributes"), list | tuple)):
            entities.append(entity)
            continue
        entities.append({name: value for name, value in entity.items() if name != "attributes"})
        for attribute in entity["attributes"]:
            one = {"name": attribute} if isinstance(attribute, str) else attribute
            if not isinstance(one, Mapping):
                return data
            _add(made, dict(one), str(entity.get("name", "")))
    if not made:
        return {**data, "entities": entities}
    return {**data, "entities": entities, "relations": [*data.get("relations", ()), *made.values()]}


def _add(made: dict[str, dict[str, Any]], one: dict[str, Any], owner: str) -> None:
    known = made.setdefault(str(one.get("name", "")), {**one, "head": "", "tail": ""})
    known["head"] = ", ".join(part for part in (known["head"], owner) if part)
    told = str(one.get("description", ""))
    if told and told not in str(known.get("description", "")):
        known["description"] = "; ".join(part for part in (known.get("description", ""), told) if part)
