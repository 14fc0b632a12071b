"""Rows of other people's training files as talks: what is asked and what is answered, whatever the format.

Formats (formats.md, "Fine-tuning data"): Alpaca `instruction, input, output`; ShareGPT `conversations`
(`from`, `value`); OpenAI `messages` (`role`, `content`); IEPile `instruction, output`; InstructIE `text,
relation` and our own `records.jsonl`, both asked by the studio dialect; and plain `prompt, completion` (or `answer`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.extract import tables
from core.extract.answer import Found
from core.extract.dialects import studio
from core.extract.normal import normalise, tidy
from core.extract.schema import Schema, Task, from_json
from core.extract.tasks import ee, ner
from core.extract.tasks import re as relations
from core.records import Extraction

Format = Literal["auto", "alpaca", "sharegpt", "messages", "iepile", "instructie", "records", "prompts"]
READ = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
_WORDS: dict[Task, Callable[[Any], list[Found]]] = {"ner": ner.words, "re": relations.words, "ee": ee.words}


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Talk:
    """Messages in turn, the assistant's to be learned; or, with `bare`, one prompt as it stands and its answer.

    `where`: file name and line, for what is said about it.
    """

    where: str
    messages: tuple[Message, ...]
    bare: bool = False
    instruction: str = ""
    """Alpaca's two fields, for models that are asked in that form."""
    input: str = ""
    sentence: str = ""
    """What several talks are about, where a row makes several: they stay on one side of a split."""


@dataclass(frozen=True, slots=True)
class Refused:
    where: str
    why: UserError


def files(data: Iterable[Path]) -> list[Path]:
    """The files that were named, and those of the folders that were. Raises UserError: none, or not there."""
    found: list[Path] = []
    for path in data:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in READ and file.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise UserError("There is no file {path}.", remedy="Choose a file or a folder of files.", path=path)
    if not found:
        raise UserError(
            "There are no training data in {path}.",
            remedy="Choose .json, .jsonl or .csv files, or a folder that holds some.",
            path=", ".join(map(str, data)) or "–",
        )
    return found


def read(
    path: Path, format_: Format = "auto", *, fields: Mapping[str, str] | None = None, schema: Schema | None = None
) -> Iterator[Talk | Refused]:
    """The talks of a file, streamed. `fields` maps our names to the file's. Raises UserError: of no known shape."""
    renamed = dict(fields or {})
    reader: Callable[[str, dict[str, Any], Schema | None], Iterable[Talk]] | None = None
    layout = tables.layout_of(path, named=tuple(renamed.values()))
    for row in tables.rows(layout):
        where = f"{path.name}:{row.line}"
        if row.error:
            yield Refused(where, row.error)
            continue
        cells: dict[str, Any] = dict(row.cells)
        cells |= {ours: cells[theirs] for ours, theirs in renamed.items() if theirs in cells}
        if reader is None:
            ours = [ours for ours, theirs in renamed.items() if theirs in layout.columns]
            reader = _READERS[format_ if format_ != "auto" else guess(path, [*layout.columns, *ours])]
        try:
            yield from reader(where, cells, schema)
        except UserError as error:
            yield Refused(where, error)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            yield Refused(where, _shapeless(where, error))


def format_of(path: Path, *, fields: Mapping[str, str]) -> Format:
    """The format that a file's first rows speak for. Raises UserError if they speak for none."""
    columns = tables.layout_of(path, named=tuple(fields.values())).columns
    return guess(path, [*columns, *(ours for ours, theirs in fields.items() if theirs in columns)])


def guess(path: Path, cells: Sequence[str]) -> Format:
    """The format that these fields speak for. Raises UserError if they speak for none."""
    for format_, needed in _TELLING:
        if all(name in cells for name in needed):
            return format_
    raise UserError(
        "The rows of {path} have the fields {found}, which are those of no known format.",
        remedy="Name the fields that hold the question and the answer, for example instruction=question and "
        "output=answer, or choose the format.",
        path=path,
        found=", ".join(cells) or "–",
    )


def _alpaca(where: str, cells: dict[str, Any], _schema: Schema | None) -> Iterable[Talk]:
    instruction, given = str(cells["instruction"]), str(cells.get("input") or "")
    asked = f"{instruction}\n\n{given}" if given else instruction
    answer = _answer(where, cells, "output")
    before = [("system", str(cells["system"]))] if cells.get("system") else []
    for question, reply in _parsed(cells.get("history") or "[]"):
        before += [("user", question), ("assistant", reply)]
    if before:
        yield _conversation(where, [*before, ("user", asked), ("assistant", answer)])
        return
    yield Talk(where, (Message("user", asked), Message("assistant", answer)), instruction=instruction, input=given)


def _prompts(where: str, cells: dict[str, Any], _schema: Schema | None) -> Iterable[Talk]:
    answer = _answer(where, cells, "completion" if "completion" in cells else "answer")
    yield Talk(where, (Message("user", str(cells["prompt"])), Message("assistant", answer)), bare=True)


def _messages(where: str, cells: dict[str, Any], _schema: Schema | None) -> Iterable[Talk]:
    yield _conversation(where, [(turn["role"], turn["content"]) for turn in _parsed(cells["messages"])])


def _sharegpt(where: str, cells: dict[str, Any], _schema: Schema | None) -> Iterable[Talk]:
    turns = [(turn["from"], turn["value"]) for turn in _parsed(cells["conversations"])]
    if cells.get("system"):
        turns.insert(0, ("system", str(cells["system"])))
    yield _conversation(where, turns)


def _iepile(where: str, cells: dict[str, Any], _schema: Schema | None) -> Iterable[Talk]:
    """The instruction is a JSON string that holds instruction, schema and input; it is asked as it stands."""
    instruction = str(cells["instruction"])
    answer = _answer(where, cells, "output")
    yield Talk(where, (Message("user", instruction), Message("assistant", answer)), instruction=instruction)


def _instructie(where: str, cells: dict[str, Any], schema: Schema | None) -> Iterable[Talk]:
    """Rows `text, relation`: asked for the relations of the schema, or of the row where there is none."""
    told = [(one["head"], one["relation"], one["tail"]) for one in _parsed(cells["relation"])]
    if schema is None:
        names = list(dict.fromkeys(name for _, name, _ in told))
        schema = from_json({"relations": names}, name=where) if names else None
    if schema is None:
        raise UserError("A row without relations needs a schema.", remedy="Name the schema that it was asked for.")
    found = [Found(name, tidy(head), (("", tidy(tail)),)) for head, name, tail in told]
    text = normalise(str(cells["text"])).text
    prompt = studio.prompt("re", schema, text)
    yield Talk(where, (Message("user", prompt), Message("assistant", studio.write("re", schema, found))))


def _records(where: str, cells: dict[str, Any], schema: Schema | None) -> Iterable[Talk]:
    """A row of an extraction run: one talk for each task that the schema has types for."""
    if schema is None:
        raise UserError("Rows of records need a schema.", remedy="Name the schema that they were extracted with.")
    told = {name: _parsed(cells.get(name) or "[]") for name in ("entities", "relations", "events") if cells.get(name)}
    row = Extraction.from_dict({"id": cells.get("id", where), "text": cells["text"], **told})
    text = normalise(row.text).text
    of: dict[Task, Any] = {"ner": row.entities, "re": row.relations, "ee": row.events}
    for task in schema.tasks:
        answer = studio.write(task, schema, _WORDS[task](of[task]))
        prompt = studio.prompt(task, schema, text)
        yield Talk(where, (Message("user", prompt), Message("assistant", answer)), sentence=text)


_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
}


def _conversation(where: str, turns: list[tuple[str, Any]]) -> Talk:
    made = []
    for role, content in turns:
        if role not in _ROLES:
            raise UserError(
                "{where}: a turn has the role “{role}”.",
                remedy="Use system, user (human) and assistant (gpt).",
                where=where,
                role=role,
            )
        made.append(Message(_ROLES[role], _text(content)))
    if not any(message.role == "assistant" and message.content.strip() for message in made):
        raise _no_answer(where, "assistant")
    return Talk(where, tuple(made))


def _answer(where: str, cells: Mapping[str, Any], name: str) -> str:
    answer = str(cells[name])
    if not answer.strip():
        raise _no_answer(where, name)
    return answer


def _text(content: Any) -> str:
    """A turn's words: a string, none at all (a tool is called instead), or OpenAI's list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        return "".join(part["text"] for part in content)
    raise ValueError("a turn holds something else than text")


def _parsed(value: Any) -> Any:
    """Nested JSON comes from the table reader as its text."""
    return json.loads(value) if isinstance(value, str) else value


def _no_answer(where: str, name: str) -> UserError:
    return UserError(
        "{where}: there is no answer to learn: {field} is empty.",
        remedy="Fill it, or take the row out.",
        where=where,
        field=name,
    )


def _shapeless(where: str, error: Exception) -> UserError:
    return UserError(
        "{where}: the row has not the shape of its file's first one: {why}.",
        remedy="Correct it, or take it out.",
        where=where,
        why=f"{type(error).__name__} {error}",
    )


_READERS: dict[str, Callable[[str, dict[str, Any], Schema | None], Iterable[Talk]]] = {
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "messages": _messages,
    "iepile": _iepile,
    "instructie": _instructie,
    "records": _records,
    "prompts": _prompts,
}
_TELLING: tuple[tuple[Format, tuple[str, ...]], ...] = (
    ("messages", ("messages",)),
    ("sharegpt", ("conversations",)),
    ("iepile", ("task", "source", "instruction", "output")),
    ("alpaca", ("instruction", "output")),
    ("prompts", ("prompt", "completion")),
    ("prompts", ("prompt", "answer")),
    ("records", ("text", "entities", "relations", "events")),
    ("instructie", ("text", "relation")),
)
