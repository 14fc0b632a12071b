"""JSON Schema as a schema of ours: what its objects and lists are meant to hold, read by the usual names.

a text, or a list of texts                    an entity type, by the property's name
objects with a head and a tail (or subject …) a relation; one a name where an enum lists them
objects with a trigger, or with arguments     an event, the other properties its roles
objects with a text and an enum of types      those entity types
other objects                                 an entity type with the other properties as attributes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 12
MOST = 2_000
_HEADS = ("head", "subject", "source", "头实体", "主体")
_TAILS = ("tail", "object", "target", "尾实体", "客体")
_KINDS = ("type", "label", "relation", "predicate", "relationship", "event_type", "entity_type", "category")
_WORDS = ("text", "name", "mention", "span", "value", "title", "id", "entity", "word", "名称")
_WRAPPERS = ("entities", "relations", "relationships", "triples", "events", "items", "results", "data", "records")
Found = tuple[str, dict[str, Any]]


def is_schema(data: Mapping[str, Any]) -> bool:
    return any(name in data for name in ("$schema", "properties", "$defs", "definitions", "items"))


def types(data: Mapping[str, Any]) -> dict[str, Any]:
    """Entities, relations and events as our file has them. Names that come twice count once."""
    made: dict[str, dict[str, Any]] = {"entities": {}, "relations": {}, "events": {}}
    for field, one in _Reader(data).found():
        if len(made[field]) < MOST:
            made[field].setdefault(one["name"], one)
    return {field: list(found.values()) for field, found in made.items()}


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root

    def found(self) -> Iterator[Found]:
        root = self._meant(self.root)
        inner = self._meant(root.get("items")) if "items" in root else root
        yield from self._properties(inner, 0)

    def _properties(self, node: Mapping[str, Any], depth: int) -> Iterator[Found]:
        named = node.get("properties")
        if depth > DEEPEST or not isinstance(named, Mapping):
            return
        for name, value in named.items():
            yield from self._property(str(name), self._meant(value), depth)

    def _property(self, name: str, node: Mapping[str, Any], depth: int) -> Iterator[Found]:
        inner = self._meant(node.get("items")) if "items" in node else node
        about = _about(node) or _about(inner)
        fields = inner.get("properties")
        if not isinstance(fields, Mapping):
            listed = inner.get("enum")
            if name in _KINDS and isinstance(listed, list):
                yield from (("entities", {"name": str(one)}) for one in listed)
            elif inner.get("type") not in ("object", "boolean", "null"):
                yield "entities", {"name": name, "description": about}
            return
        lower = {str(field).casefold(): str(field) for field in fields}
        kinds = next((self._enum(fields[lower[key]]) for key in _KINDS if key in lower), [])
        about = "" if kinds else about
        if any(key in lower for key in _HEADS) and any(key in lower for key in _TAILS):
            told = {"head": self._end(fields, lower, _HEADS), "tail": self._end(fields, lower, _TAILS)}
            yield from (("relations", {"name": kind, "description": about, **told}) for kind in kinds or [name])
        elif "trigger" in lower or "arguments" in lower:
            roles = self._roles(fields, lower)
            yield from (("events", {"name": kind, "description": about, "roles": roles}) for kind in kinds or [name])
        elif kinds and any(key in lower for key in _WORDS):
            yield from (("entities", {"name": kind}) for kind in kinds)
        elif name.casefold() in _WRAPPERS:
            yield from self._properties(inner, depth + 1)
        else:
            own = [field for key, field in lower.items() if key not in _WORDS]
            attributes = [{"name": field, "description": _about(self._meant(fields[field]))} for field in own]
            yield "entities", {"name": name, "description": about, "attributes": attributes}

    def _roles(self, fields: Mapping[str, Any], lower: Mapping[str, str]) -> list[dict[str, str]]:
        inside = self._meant(fields[lower["arguments"]]) if "arguments" in lower else {}
        inside = self._meant(inside.get("items")) if "items" in inside else inside
        named = inside.get("properties")
        named = named if isinstance(named, Mapping) else {}
        if "role" in named and (listed := self._enum(named["role"])):
            return [{"name": role} for role in listed]
        others = {field: fields[field] for key, field in lower.items() if key not in ("trigger", "arguments", *_KINDS)}
        return [
            {"name": str(role), "description": _about(self._meant(value))} for role, value in (named or others).items()
        ]

    def _end(self, fields: Mapping[str, Any], lower: Mapping[str, str], keys: tuple[str, ...]) -> str:
        """The entity types that a head or tail may have, where an enum inside it says so."""
        node = self._meant(fields[lower[next(key for key in keys if key in lower)]])
        inside = node.get("properties")
        if isinstance(inside, Mapping):
            return ", ".join(next((self._enum(inside[key]) for key in _KINDS if key in inside), []))
        return ""

    def _enum(self, value: Any) -> list[str]:
        node = self._meant(value)
        listed = node.get("enum") or ([node["const"]] if "const" in node else [])
        return [str(one) for one in listed] if isinstance(listed, list) else []

    def _meant(self, value: Any) -> Mapping[str, Any]:
        """The node itself: what a $ref stands for, the one of several that isn't null."""
        for _ in range(DEEPEST):
            if not isinstance(value, Mapping):
                return {}
            told = {key: one for key, one in value.items() if key == "description"}
            ways = value.get("anyOf") or value.get("oneOf") or value.get("allOf")
            if isinstance(value.get("$ref"), str):
                value = {**self._at(value["$ref"]), **told}
            elif isinstance(ways, list) and "properties" not in value and "items" not in value:
                real = [one for one in ways if isinstance(one, Mapping) and one.get("type") != "null"]
                value = {**real[0], **told} if real else {}
            else:
                return value
        return {}

    def _at(self, ref: str) -> Mapping[str, Any]:
        node: Any = self.root
        for step in ref.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            node = node.get(key) if isinstance(node, Mapping) and key else node
        return node if isinstance(node, Mapping) else {}


def _about(node: Mapping[str, Any]) -> str:
    told = node.get("description")
    return told if isinstance(told, str) else ""
