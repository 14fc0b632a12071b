"""Gold as a table, CSV or Excel, a row a record, as a person makes one in a spreadsheet.

    id, text, entity, type [, start, end]            ner
    id, text, head, relation, tail                   re
    id, text, event_type, trigger, role, argument    ee

Rows of one id (without ids: of one text) are one document; a row whose record is empty says that its text has none.
`id` may be left out, and the columns may have their Chinese names. A cell that holds a JSON list
(`entity`, `relation` or `event` as IEPile writes them) stands for all records of its row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract import tables
from core.extract.schema import Task
from core.extract.tables import Row

SUFFIXES = (".csv", ".tsv", ".tab", ".xlsx", ".xlsm")
_NAMES = {
    "id": ("id", "编号"),
    "text": ("text", "sentence", "文本", "句子"),
    "entity": ("entity", "实体"),
    "type": ("type", "entity_type", "类型", "实体类型"),
    "start": ("start", "起始"),
    "end": ("end", "结束"),
    "head": ("head", "头实体"),
    "relation": ("relation", "关系"),
    "tail": ("tail", "尾实体"),
    "event": ("event", "事件"),
    "event_type": ("event_type", "type", "事件类型"),
    "trigger": ("trigger", "event_trigger", "触发词"),
    "role": ("role", "角色"),
    "argument": ("argument", "论元"),
}
_NEEDED: dict[Task, tuple[str, ...]] = {
    "ner": ("entity", "type"),
    "re": ("head", "relation", "tail"),
    "ee": ("event_type", "trigger"),
}
RAW: dict[Task, str] = {"ner": "entity", "re": "relation", "ee": "event"}
TEMPLATES: dict[Task, tuple[tuple[str, ...], ...]] = {
    "ner": (("id", "text", "entity", "type"), ("1", "Ann met Bo in Rome.", "Ann", "person"),
            ("1", "Ann met Bo in Rome.", "Rome", "place"), ("2", "Nothing is in this one.", "", "")),
    "re": (("id", "text", "head", "relation", "tail"), ("1", "Ann was born in Rome.", "Ann", "born in", "Rome"),
           ("2", "Nothing is in this one.", "", "", "")),
    "ee": (("id", "text", "event_type", "trigger", "role", "argument"),
           ("1", "Ann married Bo in Rome.", "wedding", "married", "spouse", "Ann"),
           ("1", "Ann married Bo in Rome.", "wedding", "married", "place", "Rome"),
           ("2", "Nothing is in this one.", "", "", "", "")),
}  # fmt: skip
"""How such a table begins, for those who make one."""


def is_table(path: Path) -> bool:
    """A workbook, or a CSV whose header names a text; a file of tokens and tags under that name is none."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        columns = tables.layout_of(path, named=_NAMES["text"]).columns
    except UserError:
        return path.suffix.lower() in (".xlsx", ".xlsm")
    return any(column.strip().casefold() in _NAMES["text"] for column in columns)


def rows(path: Path, task: Task) -> Iterator[dict[str, Any]]:
    """IEPile's raw rows, one a document. Raises UserError: columns that are missing, a line that can't be read."""
    layout = tables.layout_of(path, named=_NAMES["text"])
    column = _columns(layout.columns)
    raw = RAW[task]
    lists = raw in column
    if "text" not in column or not (lists or all(name in column for name in _NEEDED[task])):
        raise UserError(
            "{path} has not the columns of gold for the task {task}; it has {found}.",
            remedy="Give it the columns text and {needed}, a row a record.",
            path=path,
            task=task,
            found=", ".join(layout.columns),
            needed=", ".join(_NEEDED[task]),
        )
    made: dict[str, dict[str, Any]] = {}
    for row in tables.rows(layout):
        if row.error:
            raise row.error
        cells = {name: row.cells.get(own, "") for name, own in column.items()}
        text, name = cells["text"], cells.get("id", "").strip()
        if not text.strip():
            continue
        document = made.setdefault(name or text, {"id": name or None, "text": text, raw: []})
        if document["text"] != text:
            raise UserError(
                "Line {line} of {path} has another text than the rows before it with the id {id}.",
                remedy="Give each text an id of its own; all rows of one text have the same.",
                line=row.line,
                path=path,
                id=name,
            )
        document[raw] += _records(cells, task, row, path)
    yield from (_events(document) if task == "ee" else document for document in made.values())


def _columns(found: tuple[str, ...]) -> dict[str, str]:
    """Our names to the file's own."""
    known = {own.strip().casefold(): own for own in reversed(found)}
    return {
        name: known[one]
        for name, names in _NAMES.items()
        if (one := next((one for one in names if one in known), None))
    }


def _records(cells: Mapping[str, str], task: Task, row: Row, path: Path) -> list[dict[str, Any]]:
    whole = cells.get(RAW[task], "").strip()
    if whole.startswith("["):
        try:
            found = json.loads(whole)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and all(isinstance(one, dict) for one in found):
            return found
    if task == "ner" and cells.get("type", "").strip() and cells["entity"].strip():
        return [{"entity": cells["entity"], "entity_type": cells["type"].strip(), **_place(cells, row, path)}]
    if task == "re" and all(cells.get(name, "").strip() for name in _NEEDED["re"]):
        return [{name: cells[name].strip() for name in _NEEDED["re"]}]
    if task == "ee" and all(cells.get(name, "").strip() for name in _NEEDED["ee"]):
        return [{name: cells.get(name, "").strip() for name in ("event_type", "trigger", "role", "argument")}]
    if any(cells.get(name, "").strip() for name in _NEEDED[task]):
        raise UserError(
            "Line {line} of {path} is only part of a record.",
            remedy="Fill {needed}, or leave them all empty where there is nothing in the text.",
            line=row.line,
            path=path,
            needed=", ".join(_NEEDED[task]),
        )
    return []


def _place(cells: Mapping[str, str], row: Row, path: Path) -> dict[str, int]:
    start, end = cells.get("start", "").strip(), cells.get("end", "").strip()
    if not start and not end:
        return {}
    try:
        return {"start": int(float(start)), "end": int(float(end))}
    except (ValueError, OverflowError) as error:
        raise UserError(
            "Line {line} of {path} has the place {start} to {end}, which are not two numbers.",
            remedy="Count Unicode characters from 0, or leave both empty: the words are then looked for.",
            line=row.line,
            path=path,
            start=start or "–",
            end=end or "–",
        ) from error


def _events(document: dict[str, Any]) -> dict[str, Any]:
    """Rows of one trigger and type are one event."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    whole = [one for one in document["event"] if "event_trigger" in one]
    for one in document["event"]:
        if "event_trigger" in one:
            continue
        event = made.setdefault(
            (one["event_type"], one["trigger"]),
            {"event_type": one["event_type"], "event_trigger": one["trigger"], "arguments": []},
        )
        if one["role"] and one["argument"]:
            event["arguments"].append({"role": one["role"], "argument": one["argument"]})
    return {**document, "event": [*whole, *made.values()]}
