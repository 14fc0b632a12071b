"""A schema as flat rows of texts that a person can edit in tables, and back: attributes beside their entity type.

Roles and attributes are `name: description; name`, examples `one; another`. A few sentences with their records are
edited as a text and the lines that an answer in the studio's format would have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import regex

from core.errors import UserError
from core.extract.answer import Found
from core.extract.dialects import studio
from core.extract.examples import said
from core.extract.ground import Finder
from core.extract.normal import normalise
from core.extract.schema import TASKS, EventType, Example, Schema, Task, ends
from core.extract.schema_files import roles_of

Row = dict[str, str]
COLUMNS = {
    "entities": ("name", "description", "examples", "attributes"),
    "relations": ("name", "description", "head", "tail", "examples"),
    "events": ("name", "description", "roles", "examples"),
}


def rows(schema: Schema) -> dict[str, list[Row]]:
    """The three tables. A relation without a tail stands with the entity types that it is an attribute of."""
    names = {one.name for one in schema.entities}
    owned = [one for one in schema.relations if one.is_attribute and set(ends(one.head)) <= names]
    return {
        "entities": [
            {
                "name": one.name,
                "description": one.description,
                "examples": "; ".join(one.examples),
                "attributes": _listed([each for each in owned if one.name in ends(each.head)]),
            }
            for one in schema.entities
        ],
        "relations": [
            {
                "name": one.name,
                "description": one.description,
                "head": one.head,
                "tail": one.tail,
                "examples": "; ".join(one.examples),
            }
            for one in schema.relations
            if one not in owned
        ],
        "events": [
            {
                "name": one.name,
                "description": one.description,
                "roles": _listed(one.roles),
                "examples": "; ".join(one.examples),
            }
            for one in schema.events
        ],
    }


def data(tables: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """What a schema's file would hold, from the tables as they are now; rows without anything are left out."""
    made: dict[str, Any] = {}
    for field, columns in COLUMNS.items():
        made[field] = []
        for row in tables.get(field, ()):
            told: dict[str, Any] = {column: str(row.get(column) or "").strip() for column in columns}
            if not any(told.values()):
                continue
            told["examples"] = [part.strip() for part in regex.split("[;；\n]", told["examples"]) if part.strip()]
            for column in ("attributes", "roles"):
                if column in told:
                    told[column] = roles_of(told[column])
            made[field].append(told)
    return made


def _listed(named: Sequence[Any]) -> str:
    return "; ".join(f"{one.name}: {one.description}" if one.description else one.name for one in named)


def example_lines(schema: Schema, example: Example) -> dict[Task, str]:
    """What is in the sentence, a task each, as a person edits it: `type: record || record`, "" for nothing."""
    answers = {task: studio.write(task, schema, said(task, example)) for task in schema.tasks}
    return {task: "" if answer == studio.NONE else answer for task, answer in answers.items()}


def example_of(schema: Schema, text: str, lines: Mapping[Task, str]) -> dict[str, Any]:
    """The example as a schema's file holds it. Raises UserError: a line that can't be read, words not in the text."""
    made: dict[str, Any] = {"text": text, "entities": {}, "relations": {}, "events": {}}
    finder = Finder(normalise(text), text)
    for task in TASKS:
        answer = lines.get(task, "").strip()
        if not answer:
            continue
        reading = studio.read(task, schema, answer)
        if not reading.readable or reading.dropped:
            raise UserError(
                "The records of the example “{text}” can't be read: {lines}",
                remedy="Write a line a type: type: record || record; a relation's record is head | tail.",
                text=text[:60],
                lines=answer[:200],
            )
        for one in reading.found:
            _check(finder, text, one)
            _add(made, schema, task, one)
    return made


def _check(finder: Finder, text: str, one: Found) -> None:
    for words in (one.text, *(part for _, part in one.parts)):
        if not finder.places(words):
            raise UserError(
                "“{words}” is not in the example “{text}”.",
                remedy="Copy the words exactly as the sentence has them: models learn from it to do so.",
                words=words,
                text=text[:60],
            )


def _add(made: dict[str, Any], schema: Schema, task: Task, one: Found) -> None:
    if task == "ner":
        made["entities"].setdefault(one.type, []).append(one.text)
    elif task == "re":
        made["relations"].setdefault(one.type, []).append([one.text, one.parts[0][1]])
    else:
        made["events"].setdefault(one.type, []).append({"trigger": one.text, **dict(one.parts)})


def kept_examples(schema: Schema, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """The examples without what the schema has no types or roles for any more: a removed type leaves no trace."""
    roles = {one.name: {role.name for role in one.roles} for one in schema.events if isinstance(one, EventType)}
    entities = {one.name for one in schema.entities}
    relations = {one.name for one in schema.relations}
    return [
        {
            "text": one.text,
            "entities": {name: list(found) for name, found in one.entities.items() if name in entities},
            "relations": {
                name: [list(pair) for pair in found] for name, found in one.relations.items() if name in relations
            },
            "events": {
                name: [
                    {role: text for role, text in event.items() if role in {"trigger", *roles[name]}} for event in found
                ]
                for name, found in one.events.items()
                if name in roles
            },
        }
        for one in examples
    ]
