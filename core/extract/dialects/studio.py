"""The studio dialect, version 1: its prompt and its answer format, side by side.

An answer is one line a type that occurs, in the schema's order, `type: record || record`:

    person: Marie Curie || Pierre Curie          NER: a record is a span
    spouse: Marie Curie | Pierre Curie           RE:  head | tail
    marriage: married | who: Marie | when: 1895  EE:  trigger | role: span | role: span

and `none` where nothing was found. Normalised text holds neither `|` nor line ends, so this needs no
quotes. The text stands last in the prompt: all rows of a batch share what is before it.

Adapters are trained on these bytes: any change of `prompt` or `write` is a new VERSION
(tests/core/test_extract_studio.py pins each).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from core.extract import grammar as gbnf
from core.extract import salvage
from core.extract.answer import Found, Reading
from core.extract.examples import said as _said
from core.extract.normal import Source, tidy
from core.extract.salvage_lines import record
from core.extract.schema import Schema, Task, label
from core.extract.tasks import ee, ner
from core.extract.tasks import re as relations
from core.inference.decoding import Decoding

VERSION = 1
NONE, SEPARATOR, PART = "none", " || ", " | "
STOP: tuple[str, ...] = ("\n\n",)
WHOLE = False
BARS = True
WORDED = True
VARIANTS = 1

_BARS = re.compile(r" \|\|? ")

_ASKS: dict[str, dict[Task, str]] = {
    "en": {
        "ner": "Find the entities in the text.",
        "re": "Find the relations in the text.",
        "ee": "Find the events in the text.",
    },
    "zh": {"ner": "找出文本中的实体。", "re": "找出文本中的关系。", "ee": "找出文本中的事件。"},
}
_FORMATS: dict[str, dict[Task, str]] = {
    "en": {
        "ner": "type: entity || entity",
        "re": "relation: head | tail || head | tail",
        "ee": "type: trigger | role: argument || trigger | role: argument",
    },
    "zh": {
        "ner": "类型: 实体 || 实体",
        "re": "关系: 头 | 尾 || 头 | 尾",
        "ee": "类型: 触发词 | 角色: 论元 || 触发词 | 角色: 论元",
    },
}
_HOW: dict[str, dict[Task, str]] = {
    "en": {
        "ner": (
            "Answer with one line for each type that occurs: {format}\n"
            "Copy entities exactly from the text. If there are none, answer: none"
        ),
        "re": (
            "Answer with one line for each relation that occurs: {format}\n"
            "Copy heads and tails exactly from the text. If there are none, answer: none"
        ),
        "ee": (
            "Answer with one line for each type that occurs: {format}\n"
            "Copy triggers and arguments exactly from the text. If there are none, answer: none"
        ),
    },
    "zh": {
        "ner": "出现的每个类型写一行：{format}\n实体须与原文一字不差。没有则回答：none",
        "re": "出现的每种关系写一行：{format}\n头和尾须与原文一字不差。没有则回答：none",
        "ee": "出现的每个类型写一行：{format}\n触发词和论元须与原文一字不差。没有则回答：none",
    },
}
_LIST: dict[str, dict[Task, str]] = {
    "en": {"ner": "Types:", "re": "Relations:", "ee": "Types:"},
    "zh": {"ner": "类型：", "re": "关系：", "ee": "类型："},
}
_BETWEEN = {"en": " ", "zh": ""}
_GRAMMARS = {"ner": ner.grammar, "re": relations.grammar, "ee": ee.grammar}
_TEXT = {"en": "\nText: ", "zh": "\n文本："}
# the answer starts on a line of its own: its first line is cut into the same tokens as the others
_ANSWER = {"en": "\nAnswer:\n", "zh": "\n回答：\n"}


def parts(task: Task, schema: Schema, size: int) -> list[Schema]:
    return schema.parts(task, size)


def prompt(
    task: Task, schema: Schema, text: str, *, examples: bool = False, instruction: str = "", seed: int = 0
) -> str:
    """The whole prompt for a normalised text.

    `examples`: with the schema's, for a model that was not trained on this format. They make small models
    several times better, and cost little in a batch, whose rows share them.
    """
    language = "zh" if schema.language == "zh" else "en"
    head = "\n".join([_told(task, language, instruction), *_types(task, schema)])
    shown = schema.examples if examples else ()
    told = [f"{_asked(language, tidy(one.text))}{write(task, schema, _said(task, one))}\n" for one in shown]
    return "".join([head, *told, _asked(language, text)])


def _told(task: Task, language: str, own: str) -> str:
    form, how = _FORMATS[language][task], _HOW[language][task]
    if own.strip():
        asks = own.strip().replace("{format}", form)
        asks += "" if "{format}" in own else "\n" + how.replace("{format}", form)
    else:
        asks = _ASKS[language][task] + _BETWEEN[language] + how.replace("{format}", form)
    return f"{asks}\n{_LIST[language][task]}"


def _asked(language: str, text: str) -> str:
    return f"{_TEXT[language]}{text}{_ANSWER[language]}"


def _types(task: Task, schema: Schema) -> list[str]:
    if task == "ner":
        return [_line(made.name, made.told(schema.language)) for made in schema.entities]
    if task == "re":
        return [_line(made.name, made.told(schema.language), _ends(made.head, made.tail)) for made in schema.relations]
    return [
        line
        for made in schema.events
        for line in (
            _line(made.name, made.told(schema.language)),
            *(f"  {_line(role.name, role.description)}" for role in made.roles),
        )
    ]


def _line(name: str, description: str, aside: str = "") -> str:
    told = " ".join(description.split())
    return f"- {label(name)}{aside}{': ' + told if told else ''}"


def _ends(head: str, tail: str) -> str:
    return f" ({label(head) or '*'} | {label(tail) or '*'})" if head or tail else ""


def write(task: Task, schema: Schema, found: Sequence[Found]) -> str:
    """The answer that says this. Records keep their order within a type; texts are normalised ones."""
    made = []
    for type_ in schema.types(task):
        records = [_record(task, one) for one in found if one.type == type_.name]
        if records:
            made.append(f"{label(type_.name)}: {SEPARATOR.join(records)}")
    return "\n".join(made) or NONE


def _record(task: Task, one: Found) -> str:
    if task == "ee":
        return PART.join([one.text, *(f"{label(role)}: {text}" for role, text in one.parts)])
    return PART.join([one.text, *(text for _, text in one.parts)])


def grammar(task: Task, schema: Schema, source: Source) -> str:
    return _GRAMMARS[task](schema, gbnf.verbatim(source))


def outline(task: Task, schema: Schema) -> str:
    return _GRAMMARS[task](schema, gbnf.Anything())


def quotes(task: Task, found: Sequence[Found], source: Source) -> bool:
    return gbnf.quotes(gbnf.verbatim(source), found, rising=task == "ner")


def decoding(room: int, *, beams: bool) -> Decoding:
    return Decoding(max_tokens=room)


def read(task: Task, schema: Schema, answer: str, *, cut: bool = False) -> Reading:
    """What an answer says. Never raises. `cut`: generation ended at its limit, so the last record isn't whole."""
    strict = _strict(task, schema, answer)
    if strict is not None and not cut:
        return Reading(strict)
    made = salvage.read(task, schema, answer, cut=cut)
    return replace(made, repaired=max(1, made.repaired))  # it wasn't to the letter, or we wouldn't be here


def _strict(task: Task, schema: Schema, answer: str) -> tuple[Found, ...] | None:
    """The records of an answer that keeps to the format to the letter, else None."""
    if answer.strip() == NONE:
        return ()
    types = {label(made.name): made for made in schema.types(task)}
    found: list[Found] = []
    for line in answer.strip().split("\n"):
        name, colon, rest = line.partition(": ")
        if not colon or name not in types or not rest or "｜" in rest or "|" in _BARS.sub("", rest):
            return None
        del types[name]  # a line a type
        made = next(made for made in schema.types(task) if label(made.name) == name)
        for text in rest.split(SEPARATOR):
            one = record(task, made, text.split(PART))
            if one is None or one.dropped or one.repaired:
                return None
            found.extend(one.found)
    return tuple(found)
