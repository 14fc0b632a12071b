"""What to look for: entity, relation and event types with short descriptions, in a small JSON file.

    {"name": "birds", "language": "en", "entities": [{"name": "species", "description": "a kind of bird"}],
     "relations": [{"name": "eats", "description": "…", "head": "species", "tail": "food"}],
     "events": [{"name": "sighting", "description": "…", "roles": [{"name": "place"}, {"name": "time"}]}]}

A plain string stands for a type without a description; a type's own `examples` are words that it stands for,
`"attributes": ["size"]` in an entity type is short for relations with this head and no tail, and the schema's
`examples` may show a few sentences and their records (see Example). Ready-made ones lie in `assets/schemas`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from core.errors import UserError
from core.extract.attributes import as_relations
from core.paths import ASSETS

Task = Literal["ner", "re", "ee"]
TASKS: tuple[Task, ...] = ("ner", "re", "ee")
FIELDS: dict[Task, str] = {"ner": "entities", "re": "relations", "ee": "events"}
"""Where a schema holds a task's types."""
READY_MADE = ASSETS / "schemas"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class _Type(_Frozen):
    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    """Words that it stands for, told to the model behind the description."""

    def told(self, language: str) -> str:
        """What a prompt says of it: its description, then its examples; on one line, "" where there is neither."""
        listed = ("、" if language == "zh" else ", ").join(self.examples)
        said = ("如{}" if language == "zh" else "such as {}").format(listed) if listed else ""
        parts = [" ".join(part.split()) for part in (self.description, said) if part.strip()]
        return ("，" if language == "zh" else ", ").join(parts)


class EntityType(_Type):
    pass


class RelationType(_Type):
    head: str = ""
    """The head's entity type, or "" for any; several are written `person, organisation`."""
    tail: str = ""
    """As the head's. With a head and no tail it is an attribute of the head."""

    @property
    def is_attribute(self) -> bool:
        return bool(self.head) and not self.tail


class Role(_Frozen):
    name: str
    description: str = ""


class EventType(_Type):
    roles: tuple[Annotated[Role, BeforeValidator(_named)], ...] = ()


Type = EntityType | RelationType | EventType


class Example(_Frozen):
    """A sentence and what is in it, shown to models that are not trained for extraction. Empty: nothing is in it."""

    text: str
    entities: dict[str, tuple[str, ...]] = {}
    relations: dict[str, tuple[tuple[str, str], ...]] = {}
    events: dict[str, tuple[dict[str, str], ...]] = {}
    """Of each event its `trigger`, and its arguments by role."""


class Schema(_Frozen):
    name: str = ""
    title: str = ""
    language: str = "en"
    """ISO 639-1: the language of the names and descriptions, hence of the prompt."""
    entities: tuple[Annotated[EntityType, BeforeValidator(_named)], ...] = ()
    relations: tuple[Annotated[RelationType, BeforeValidator(_named)], ...] = ()
    events: tuple[Annotated[EventType, BeforeValidator(_named)], ...] = ()
    examples: tuple[Example, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _attributes(cls, data: Any) -> Any:
        return as_relations(data)

    def types(self, task: Task) -> tuple[Type, ...]:
        return self.entities if task == "ner" else self.relations if task == "re" else self.events

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks it has types for."""
        return tuple(task for task in TASKS if self.types(task))

    def parts(self, task: Task, size: int) -> list[Schema]:
        """Schemas of at most `size` types of that task each, together all of them, in order (size 0: one).

        A last part shorter than half of `size` joins the one before, as IEPile does: a call of its own is dear.
        """
        types = self.types(task)
        starts = list(range(0, len(types), size or len(types) or 1))
        if len(starts) > 1 and len(types) - starts[-1] < max(1, size // 2):
            starts.pop()
        empty: dict[str, Any] = dict.fromkeys(FIELDS.values(), ())
        return [
            self.model_copy(update=empty | {FIELDS[task]: types[start:end]})
            for start, end in zip(starts, [*starts[1:], len(types)], strict=True)
        ]

    @cached_property
    def hash(self) -> str:
        """Of all that reaches a prompt, so that a renamed file continues its runs."""
        told = to_json(self)
        del told["name"], told["title"]
        return hashlib.sha256(json.dumps(told, ensure_ascii=True, sort_keys=True).encode()).hexdigest()


def to_json(schema: Schema) -> dict[str, Any]:
    """The schema as its file holds it. What no type makes use of isn't written, so that older hashes stay true."""
    made = schema.model_dump(mode="json")
    for field in FIELDS.values():
        for one in made[field]:
            if not one["examples"]:
                del one["examples"]
    return made


def ends(text: str) -> list[str]:
    """The entity types that a relation's head or tail names: `person, organisation`."""
    return [name for name in (part.strip() for part in re.split("[,，、;；]", text)) if name]


def strays(schema: Schema) -> list[str]:
    """Heads and tails that name none of the schema's entity types, where it has any. Allowed, but often a slip."""
    known = {label(one.name).casefold() for one in schema.entities}
    named = [name for one in schema.relations for name in (*ends(one.head), *ends(one.tail))]
    return [name for name in dict.fromkeys(named) if known and label(name).casefold() not in known]


def label(name: str) -> str:
    """A name as prompts and answers write it: one line without the signs that separate.

    So `per:spouse` or `a|b`, as other schemas name them, can be used; `check` keeps labels distinct.
    """
    signs = str.maketrans({":": "-", "：": "-", "|": "/", "｜": "/"})
    return " ".join(name.translate(signs).split())


def load(name_or_path: str | Path) -> Schema:
    """A ready-made schema by its name, or a `.json` file. Raises UserError."""
    ready = READY_MADE / f"{name_or_path}.json"
    path = ready if ready.parent == READY_MADE and ready.is_file() else Path(name_or_path).expanduser()
    if not path.is_file():
        raise UserError(
            "There is no schema “{name}”.",
            remedy="Name a .json file or one of: {known}.",
            name=name_or_path,
            known=", ".join(sorted(file.stem for file in READY_MADE.glob("*.json"))),
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise UserError(
            "The schema {path} can't be read: {why}.",
            remedy="Correct the JSON there, or start from a ready-made schema.",
            path=path,
            why=error,
        ) from error
    return from_json(data, name=path.stem)


def from_json(data: Any, name: str = "") -> Schema:
    """A checked schema from parsed JSON; a bare list holds entity types. Raises UserError."""
    if isinstance(data, list):
        data = {"entities": data}
    try:
        schema = Schema.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            "The schema “{name}” is not well-formed: {where}: {why}.",
            remedy="Give it lists named entities, relations and events; every type needs a name.",
            name=name,
            where=".".join(map(str, first["loc"])) or "top level",
            why=first["msg"],
        ) from error
    return check(schema if schema.name else schema.model_copy(update={"name": name}))


def check(schema: Schema) -> Schema:
    """The schema itself, if it can be asked for. Raises UserError: no types, empty or double names."""
    if not schema.tasks:
        raise UserError(
            "The schema “{name}” has no types.",
            remedy="Add at least one entity, relation or event type, or choose a ready-made schema.",
            name=schema.name,
        )
    for task in schema.tasks:
        _distinct(schema.name, (made.name for made in schema.types(task)))
    for event in schema.events:
        _distinct(f"{schema.name}: {event.name}", (role.name for role in event.roles))
    return schema


def need(schema: Schema, task: Task) -> None:
    """Raise UserError unless the schema has types for the task."""
    if not schema.types(task):
        raise UserError(
            "The schema “{name}” has no types for the task {task}.",
            remedy="Add some to it, or choose one of the tasks it has types for: {tasks}.",
            name=schema.name,
            task=task,
            tasks=", ".join(schema.tasks),
        )


def ready_made() -> list[Schema]:
    """The schemas that come with the app, by name."""
    return [load(path.stem) for path in sorted(READY_MADE.glob("*.json"))]


def save(schema: Schema, path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    text = json.dumps(to_json(schema), ensure_ascii=False, indent=2)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def _distinct(where: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        key = label(name).casefold()
        if not key or not any(char.isalnum() for char in key):
            raise UserError(
                "The schema “{name}” has a type or role without a name.",
                remedy="Name it with at least one letter or digit, or take it out.",
                name=where,
            )
        if key in seen:
            raise UserError(
                "The schema “{name}” names “{type}” twice.",
                remedy="Rename or remove one of the two; capitals and the signs : and | don't make names differ.",
                name=where,
                type=name,
            )
        seen.add(key)
