"""IEPile's test rows and what a model answered to them: `id, instruction, label` and, of a prediction, `output`.

The text and the schema stand in the instruction (formats.md); a text whose schema was split has several rows of one id.
The label holds raw records, or an answer in OneKE's shape; the output is read by that dialect, with its salvage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.errors import UserError
from core.extract import dialects
from core.extract.answer import Found
from core.extract.evaluate_tables import RAW
from core.extract.schema import EntityType, EventType, RelationType, Role, Schema, Task

_RAW_KEYS = {"ner": "entity", "re": "relation", "ee": "event_trigger"}


def is_test_row(row: Mapping[str, Any]) -> bool:
    return "instruction" in row and ("label" in row or "output" in row) and "text" not in row


def raw(row: Mapping[str, Any], task: Task, *, predicted: bool) -> tuple[dict[str, Any], bool]:
    """(the raw row that it stands for, whether its answer could be read). Raises UserError where it has no text."""
    asked = _object(row["instruction"])
    if asked is None or not isinstance(asked.get("input"), str):
        raise UserError(
            "A row's instruction holds no JSON with an input: {instruction}",
            remedy="Give IEPile's test rows as they are published, or rows with text.",
            instruction=str(row["instruction"])[:80],
        )
    said = row.get("output" if predicted else "label", row.get("label" if predicted else "output"))
    records, readable = _records(said, task, _schema(asked.get("schema"), task))
    made = {"id": str(row.get("id") or ""), "text": asked["input"], RAW[task]: records}
    if row.get("source"):
        made["source"] = str(row["source"])
    return made, readable


def _records(said: Any, task: Task, schema: Schema) -> tuple[list[dict[str, Any]], bool]:
    value = said
    if isinstance(said, str):
        try:
            value = json.loads(said)
        except (ValueError, RecursionError):
            value = None
    if isinstance(value, list) and all(isinstance(one, dict) and _RAW_KEYS[task] in one for one in value):
        return value, True
    answer = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    reading = dialects.find("oneke").read(task, schema, answer)
    return [_raw(task, one) for one in reading.found], reading.readable


def _raw(task: Task, one: Found) -> dict[str, Any]:
    if task == "ner":
        return {"entity": one.text, "entity_type": one.type}
    if task == "re":
        return {"head": one.text, "relation": one.type, "tail": one.parts[0][1] if one.parts else ""}
    arguments = [{"role": role, "argument": text} for role, text in one.parts]
    return {"event_trigger": one.text, "event_type": one.type, "arguments": arguments}


def _schema(asked: Any, task: Task) -> Schema:
    """The types that the row asked for, in whichever of the published shapes."""
    listed: list[Any] = list(asked) if isinstance(asked, dict | list) else []
    if task == "ner":
        return Schema(entities=tuple(EntityType(name=str(one)) for one in listed))
    if task == "re":
        return Schema(relations=tuple(_relation(one) for one in listed))
    return Schema(events=tuple(_event(one) for one in listed if isinstance(one, dict)))


def _relation(one: Any) -> RelationType:
    if not isinstance(one, dict):
        return RelationType(name=str(one))
    head, tail = str(one.get("subject_type", "")), str(one.get("object_type", ""))
    return RelationType(name=str(one.get("predicate", "")), head=head, tail=tail)


def _event(one: Mapping[str, Any]) -> EventType:
    roles = one.get("arguments") or ()
    return EventType(name=str(one.get("event_type", "")), roles=tuple(Role(name=str(role)) for role in roles))


def _object(text: Any) -> dict[str, Any] | None:
    try:
        made = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None
