"""Other programs' schemas as ours: IEPile's schema.json, JSON Schema, a table of types, a list of names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import regex

from core.errors import UserError
from core.extract import schema_iepile, schema_json
from core.extract.encodings import encoding_of
from core.extract.schema import FIELDS, Schema, Task, ends, from_json

Format = Literal["studio", "iepile", "json-schema", "csv", "list"]
LONGEST = 8 << 20
"""Bytes: a list of types is small."""
_WORDS: dict[Task, str] = {
    "ner": "entity|entities|ner|实体|实体类型",
    "re": "relation|relations|re|attribute|attributes|关系|关系类型|属性",
    "ee": "event|events|ee|事件|事件类型",
}
_KINDS: dict[str, Task] = {word: task for task, words in _WORDS.items() for word in words.split("|")}
_ATTRIBUTES = ("attribute", "attributes", "属性")
_COLUMNS = {
    "name": ("name", "type", "label", "名称", "类型", "类型名称"),
    "kind": ("kind", "task", "种类", "类别", "任务"),
    "description": ("description", "meaning", "definition", "描述", "说明", "含义"),
    "head": ("head", "subject", "domain", "头", "头实体", "头实体类型", "主体"),
    "tail": ("tail", "object", "range", "尾", "尾实体", "尾实体类型", "客体"),
    "roles": ("roles", "arguments", "角色", "论元", "论元角色"),
    "examples": ("examples", "example", "例", "例子", "示例"),
}
_HAN = regex.compile(r"\p{Han}")
_LINE = regex.compile(
    r"\s*(?:[-*•]\s+|\d+[.)、]\s*)?(?P<name>[^(（:：\t]+?)\s*"
    r"(?:[(（](?P<inside>[^)）]*)[)）])?\s*(?:[:：\t]\s*(?P<more>.*?))?\s*"
)
_ARROW = regex.compile(r"->|→|➜|\|")
_SECTION = regex.compile(r"(?:#+\s*|\[)?\s*(?P<kind>[\w ]+?)\s*(?:\]|[:：])?\s*")
Read = tuple[dict[str, Any], Format]


def read(path: Path, name: str = "", language: str = "") -> tuple[Schema, Format]:
    """The file's schema and what it was. Raises UserError. `language`: of its names; by their script if not given."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError("There is no file {path}.", remedy="Check the name and the folder.", path=path)
    if path.stat().st_size > LONGEST:
        raise UserError(
            "{path} is too large to be a list of types.", remedy="Choose a schema, not the data it is for.", path=path
        )
    return understood(path.read_text(encoding=encoding_of(path), errors="replace"), name or path.stem, language)


def understood(text: str, name: str, language: str = "") -> tuple[Schema, Format]:
    """As `read`, of a text that is here already."""
    text = text.lstrip("\ufeff")
    language = language or ("zh" if _HAN.search(text) else "en")
    readers: tuple[Callable[[str], Read | None], ...] = (_json, _lines_of_json, _table, _list)
    for reader in readers:
        made = reader(text)
        if made is not None:
            data, kind = made
            return from_json({"name": name, "language": language, **data}, name), kind
    raise UserError(
        "“{name}” holds no types.",
        remedy="Give a JSON schema, IEPile's schema.json, a table with a column name, or a list with a type a line.",
        name=name,
    )


def _json(text: str) -> Read | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(data, list):
        plain = all(isinstance(one, str) for one in data)
        return schema_iepile.listed(data) or _rows(data), "list" if plain else "iepile"
    if not isinstance(data, dict):
        return None
    if any(isinstance(data.get(field), list) for field in FIELDS.values()):
        return data, "studio"
    if schema_json.is_schema(data):
        return schema_json.types(data), "json-schema"
    return schema_iepile.mapped(data), "iepile"


def _lines_of_json(text: str) -> Read | None:
    """IEPile's schema.json: types; roles or relations; type → roles."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not 1 < len(lines) <= 3:
        return None
    try:
        parsed = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return None
    made = schema_iepile.three_lines(*parsed, *([{}] * (3 - len(parsed))))
    return (made, "iepile") if made is not None else None


def _table(text: str) -> Read | None:
    """A table whose header names a column of names; commas, semicolons or tabs."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    sign = max(",;\t", key=first.count)
    if sign not in first:
        return None
    try:
        rows = list(csv.reader(io.StringIO(text.strip()), delimiter=sign))
    except csv.Error:
        return None
    header = [cell.strip().casefold() for cell in rows[0]]
    columns = {
        field: next((header.index(word) for word in words if word in header), None) for field, words in _COLUMNS.items()
    }
    if columns["name"] is None or sum(at is not None for at in columns.values()) < 2:
        return None

    def cell(row: list[str], field: str) -> str:
        at = columns[field]
        return row[at].strip() if at is not None and at < len(row) else ""

    return _rows([{field: cell(row, field) for field in _COLUMNS} for row in rows[1:]]), "csv"


def _rows(rows: list[Any]) -> dict[str, Any]:
    """Types from rows with the table's columns; those without a kind are told apart by what else they have."""
    made: dict[str, list[dict[str, Any]]] = {field: [] for field in FIELDS.values()}
    for row in rows:
        if not isinstance(row, Mapping) or not str(row.get("name") or "").strip():
            continue
        told = {field: row.get(field) or "" for field in _COLUMNS}
        said = str(told["kind"]).strip().casefold()
        usual: Task = "ee" if told["roles"] else "re" if told["head"] or told["tail"] else "ner"
        task = _KINDS.get(said, usual)
        one: dict[str, Any] = {"name": str(told["name"]).strip(), "description": str(told["description"]).strip()}
        if examples := _several(told["examples"]):
            one["examples"] = examples
        if task == "re":
            one |= {"head": str(told["head"]), "tail": "" if said in _ATTRIBUTES else str(told["tail"])}
        if task == "ee":
            one["roles"] = roles_of(told["roles"]) if isinstance(told["roles"], str) else told["roles"]
        made[FIELDS[task]].append(one)
    return made


def _several(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [part.strip() for part in regex.split("[;；、\n]", str(value)) if part.strip()]


def roles_of(text: str) -> list[dict[str, str]]:
    """`place: where it was; time`; bare commas separate where there is neither `;` nor `:`."""
    signs = r"[;；\n|]" if regex.search(r"[;；:：\n|]", text) else r"[,，、]"
    parts = [regex.split(r"[:：]", part, maxsplit=1) for part in regex.split(signs, text) if part.strip()]
    return [{"name": part[0].strip(), "description": part[1].strip() if len(part) > 1 else ""} for part in parts]


def _list(text: str) -> Read | None:
    """A type a line, under `entities`, `relations`, `events` or none of them: `name (ends or roles): description`."""
    made: dict[str, list[dict[str, Any]]] = {field: [] for field in FIELDS.values()}
    current: Task | None = None
    for line in text.splitlines():
        section = _SECTION.fullmatch(line.strip()) if line.strip() else None
        if section is not None and (kind := _KINDS.get(section["kind"].strip().casefold())) is not None:
            current = kind
            continue
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if found is None or len(found["name"]) > 80:
            return None
        task, one = _of_line(found, current)
        made[FIELDS[task]].append(one)
    return (made, "list") if any(made.values()) else None


def _of_line(found: regex.Match, current: Task | None) -> tuple[Task, dict[str, Any]]:
    inside = found["inside"] or ""
    pair = _ARROW.split(inside, maxsplit=1)
    task: Task = current or ("re" if len(pair) > 1 else "ee" if len(ends(inside)) > 1 else "ner")
    one: dict[str, Any] = {"name": found["name"], "description": found["more"] or ""}
    if task == "re":
        one |= {"head": pair[0].strip(), "tail": pair[1].strip() if len(pair) > 1 else ""}
    elif task == "ee":
        one["roles"] = roles_of(inside)
    else:
        one["description"] = one["description"] or inside
    return task, one


def table(schema: Schema) -> str:
    """The schema's types as a CSV that `read` takes; sentences that are examples have no place there."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for entity in schema.entities:
        writer.writerow([entity.name, "entity", entity.description, "", "", "", "; ".join(entity.examples)])
    for one in schema.relations:
        kind = "attribute" if one.is_attribute else "relation"
        writer.writerow([one.name, kind, one.description, one.head, one.tail, "", "; ".join(one.examples)])
    for event in schema.events:
        told = "; ".join(f"{role.name}: {role.description}".removesuffix(": ") for role in event.roles)
        writer.writerow([event.name, "event", event.description, "", "", told, "; ".join(event.examples)])
    return out.getvalue()
