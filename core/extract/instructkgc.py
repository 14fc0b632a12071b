"""InstructKGC, the CCKS 2023 task: rows whose instruction says what to look for, and what is handed in.

    {"id", "cate", "instruction", "input", "output", "kg"}      training rows; test rows have id, instruction, input
    已知候选的关系列表：['父母', '配偶'] …                          the schema, a Python list …
    抽取实体类型为{'人类','组织'},关系类型为{'属于','获奖'} …        … or sets, of entity types and of relations
    (头,关系,尾)(头,关系,尾)                                      `output`; `kg` has the same as lists

About a tenth of the rows ask for completion: their `miss_input` lacks a piece of the text, and triples that only
knowledge of the world gives are wanted still. Format: zjunlp/DeepKE, example/llm/InstructKGC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex

from core.errors import UserError
from core.extract import salvage
from core.extract.encodings import encoding_of
from core.extract.schema import Schema, from_json, label
from core.records import Extraction, Relation, Span

Triple = tuple[str, str, str]
_LISTED = regex.compile(r"[\[{［｛]([^\[\]{}［］｛｝]*)[\]}］｝]")
_QUOTED = regex.compile(r"'([^']*)'|\"([^\"]*)\"|[‘’]([^‘’]*)[‘’]|[“”]([^“”]*)[“”]")
_RELATIONS = regex.compile(r"关系|谓词|predicate|relation", regex.I)
_ENTITIES = regex.compile(r"实体|entit", regex.I)
_COMPLETION = regex.compile(r"补全|补齐|补充缺失|缺失|complet(?:e|ion)|missing", regex.I)
_HAN = regex.compile(r"\p{Han}")


@dataclass(frozen=True)
class Row:
    number: int
    id: str
    text: str
    instruction: str
    schema: Schema
    completion: bool
    """Whether triples are wanted that the text doesn't hold."""
    kg: tuple[Triple, ...] | None = None
    """What is right, where the row tells."""


def rows(path: Path) -> Iterator[Row]:
    """Streams JSON lines; a JSON list is read whole. Raises UserError, with the row's number, at the first bad one."""
    for number, data in enumerate(_objects(Path(path)), start=1):
        yield _row(data, number, path)


def is_row(data: Any) -> bool:
    """Whether it is a row of this kind: an instruction and an input, and nothing of our own."""
    return isinstance(data, dict) and "instruction" in data and ("input" in data or "miss_input" in data)


def schema_of(instruction: str) -> Schema:
    """The types that an instruction lists. Raises UserError where it lists no relations."""
    found: dict[str, dict[str, str]] = {"entities": {}, "relations": {}}
    end = 0
    for match in _LISTED.finditer(instruction):
        names = _names(match.group(1))
        if names:
            field = "entities" if _before(instruction[end : match.start()]) == "entities" else "relations"
            for name in names:
                found[field].setdefault(label(name).casefold(), name)
        end = match.end()
    if not found["relations"]:
        raise UserError(
            "The instruction lists no relations: “{instruction}”",
            remedy="It needs a list or set of names in brackets, such as ['父母', '配偶'].",
            instruction=instruction[:200],
        )
    language = "zh" if _HAN.search(instruction) else "en"
    return from_json(
        {"language": language, **{field: list(names.values()) for field, names in found.items()}}, "instruction"
    )


def wants_completion(data: dict[str, Any]) -> bool:
    """Whether a row says that its text lacks something: by a `miss_input`, or in its instruction's words."""
    asks = _LISTED.sub("", str(data.get("instruction") or ""))  # a relation may be called so
    return bool(str(data.get("miss_input") or "").strip()) or _COMPLETION.search(asks) is not None


def written(triples: Sequence[Triple]) -> str:
    """`output`: the triples one after the other."""
    return "".join(f"({head},{relation},{tail})" for head, relation, tail in triples)


def triples_of(output: str, schema: Schema) -> tuple[Triple, ...]:
    """What an `output` says, in whatever shape a model wrote it."""
    found = salvage.read("re", schema, output).found
    return tuple((one.text, one.type, one.parts[0][1]) for one in found)


def submission(made: Extraction) -> dict[str, Any]:
    """A row to hand in. Said twice counts once, as in a graph."""
    triples = list(dict.fromkeys((one.head.text, one.relation, one.tail.text) for one in made.relations))
    return {"id": made.id, "output": written(triples), "kg": [list(triple) for triple in triples]}


def gold(path: Path) -> Iterator[Extraction]:
    """The rows' own triples as records without places, to score by words."""
    for row in rows(path):
        if row.kg is None:
            raise UserError(
                "Row {row} of {path} has neither kg nor output, so nothing can be scored by it.",
                remedy="Score with training rows, which tell what is right.",
                row=row.number,
                path=path,
            )
        yield as_records(row.id, row.text, row.kg)


def as_records(row_id: str, text: str, triples: Sequence[Triple]) -> Extraction:
    unique = dict.fromkeys(triples)
    relations = tuple(Relation(Span(head), name, Span(tail)) for head, name, tail in unique)
    return Extraction(row_id, text, relations=relations)


def _row(data: Any, number: int, path: Path) -> Row:
    if not is_row(data) or not str(data.get("instruction") or "").strip():
        raise UserError(
            "Row {row} of {path} is no row of InstructKGC.",
            remedy="Each needs id, instruction and input.",
            row=number,
            path=path,
        )
    missing = str(data.get("miss_input") or "")
    text = missing if missing.strip() else str(data.get("input") or "")
    instruction = str(data["instruction"])
    try:
        schema = schema_of(instruction)
    except UserError as error:
        raise UserError(
            "Row {row} of {path}: {why}", remedy=error.remedy, row=number, path=path, why=str(error)
        ) from error
    kg = _kg(data, schema)
    return Row(number - 1, str(data.get("id") or number), text, instruction, schema, wants_completion(data), kg)


def _kg(data: dict[str, Any], schema: Schema) -> tuple[Triple, ...] | None:
    listed = data.get("kg")
    if isinstance(listed, list):
        parts = [list(one.values()) if isinstance(one, dict) else one for one in listed]
        whole = [one for one in parts if isinstance(one, list) and len(one) == 3]
        return tuple((str(head), str(name), str(tail)) for head, name, tail in whole)
    output = data.get("output")
    return triples_of(output, schema) if isinstance(output, str) else None


def _names(inside: str) -> list[str]:
    quoted = [next((group for group in match.groups() if group is not None), "") for match in _QUOTED.finditer(inside)]
    names = quoted or regex.split("[,，、;；]", inside)
    return [name.strip() for name in names if any(char.isalnum() for char in name) and len(name) <= 60]


def _before(words: str) -> str:
    """What the words before a list say that it lists: the last they name."""
    relation = max((match.start() for match in _RELATIONS.finditer(words)), default=-1)
    entity = max((match.start() for match in _ENTITIES.finditer(words)), default=-1)
    return "entities" if entity > relation else "relations"


def _objects(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise UserError("There is no file {path}.", remedy="Check the name and the folder.", path=path)
    encoding = encoding_of(path)
    with path.open(encoding=encoding, errors="replace", newline="\n") as file:
        first = next((line for line in file if line.strip()), "")
        file.seek(0)
        if first.lstrip("\ufeff \t").startswith("["):
            yield from _parsed(file.read(), 1, path)
            return
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _parsed(line, number, path)


def _parsed(text: str, line: int, path: Path) -> Any:
    try:
        return json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            "Line {line} of {path} is not JSON: {why}.",
            remedy="Give JSON lines, a row each, or one JSON list.",
            line=line,
            path=path,
            why=str(error) or "nested too deep",
        ) from error
