"""The dialect of OneKE and of models tuned on IEPile: JSON asked for in JSON, in Llama-2's chat form.

Prompt, instructions and the shapes of schema and answer are what released weights were trained with (wire
protocol, to the character): zjunlp/OneKE's model card; zjunlp/IEPile, ie2instruction/convert/utils/instruction.py.

Relations are asked for in one of three ways. KG: those with a head and no tail, which are attributes of an
entity type. SPO: with both, and without descriptions, which that shape has no place for. RE: all others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from core.extract import grammar as gbnf
from core.extract import salvage
from core.extract.answer import Found, Reading
from core.extract.dialects import _json_grammar
from core.extract.examples import said
from core.extract.normal import Source, tidy
from core.extract.schema import EventType, Schema, Task, ends
from core.inference.decoding import Decoding

VERSION = 1
STOP: tuple[str, ...] = ("[INST]",)
WHOLE = True
BARS = False
WORDED = True
VARIANTS = 1

Kind = Literal["NER", "RE", "SPO", "EE", "KG"]
SPLIT: dict[Kind, int] = {"NER": 6, "RE": 4, "SPO": 4, "EE": 4, "KG": 1}
"""Types a call: what the models were trained with."""
ABSENT = "NAN"

_BEFORE = "[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\n"
_AFTER = " [/INST]"
_INSTRUCTIONS: dict[str, dict[Kind, str]] = {
    "en": {
        "NER": (
            "You are an expert in named entity recognition. Please extract entities that match the schema definition "
            "from the input. Return an empty list if the entity type does not exist. Please respond in the format of "
            "a JSON string."
        ),
        "RE": (
            "You are an expert in relationship extraction. Please extract relationship triples that match the schema "
            "definition from the input. Return an empty list for relationships that do not exist. Please respond in "
            "the format of a JSON string."
        ),
        "SPO": (
            "You are an expert in spo(subject, predicate, object) triples extraction. Please extract SPO relationship "
            "triples that match the schema definition from the input. Return an empty list for relationships that do "
            "not exist. Please respond in the format of a JSON string."
        ),
        "EE": (
            "You are an expert in event extraction. Please extract events from the input that conform to the schema "
            "definition. Return an empty list for events that do not exist, and return NAN for arguments that do not "
            "exist. If an argument has multiple values, please return a list. Respond in the format of a JSON string."
        ),
        "KG": (
            "You are an expert in structured knowledge systems for graph entities. Based on the schema description of "
            "the input entity type, you extract the corresponding entity instances and their attribute information "
            "from the text. Attributes that do not exist should not be output. If an attribute has multiple values, a "
            "list should be returned. The results should be output in a parsable JSON format."
        ),
    },
    "zh": {
        "NER": (
            "你是专门进行实体抽取的专家。请从input中抽取出符合schema定义的实体，不存在的实体类型返回空列表。"
            "请按照JSON字符串的格式回答。"
        ),
        "RE": (
            "你是专门进行关系抽取的专家。请从input中抽取出符合schema定义的关系三元组，不存在的关系返回空列表。"
            "请按照JSON字符串的格式回答。"
        ),
        "SPO": (
            "你是专门进行SPO三元组抽取的专家。请从input中抽取出符合schema定义的spo关系三元组，不存在的关系返回空列表。"
            "请按照JSON字符串的格式回答。"
        ),
        "EE": (
            "你是专门进行事件提取的专家。请从input中抽取出符合schema定义的事件，不存在的事件返回空列表，"
            "不存在的论元返回NAN，如果论元存在多值请返回列表。请按照JSON字符串的格式回答。"
        ),
        "KG": (
            "你是一个图谱实体知识结构化专家。根据输入实体类型(entity type)的schema描述，"
            "从文本中抽取出相应的实体实例和其属性信息，不存在的属性不输出, 属性存在多值就返回列表，"
            "并输出为可解析的json格式。"
        ),
    },
}
# the Chinese is the model card's; the card has no English one, so this is ours
_IN_JSON = {"en": "Please respond in the format of a JSON string.", "zh": "请按照JSON字符串的格式回答。"}
_SEE_EXAMPLES = {"en": " You may refer to the example.", "zh": "你可以参考example进行抽取。"}


def parts(task: Task, schema: Schema, size: int) -> list[Schema]:
    """At most `size` types each, attributes by entity type and apart from other relations."""
    if task != "re":
        return schema.parts(task, size or SPLIT["NER" if task == "ner" else "EE"])
    others = tuple(made for made in schema.relations if not made.is_attribute)
    made = schema.model_copy(update={"relations": others}).parts("re", size or SPLIT["RE"]) if others else []
    owners = list(dict.fromkeys(head for one in schema.relations if one.is_attribute for head in ends(one.head)))
    step = size or SPLIT["KG"]
    for start in range(0, len(owners), step):
        attributes = [
            one.model_copy(update={"head": owner})
            for owner in owners[start : start + step]
            for one in schema.relations
            if one.is_attribute and owner in ends(one.head)
        ]
        update: dict[str, Any] = {"entities": (), "relations": tuple(attributes), "events": ()}
        made.append(schema.model_copy(update=update))
    return made


def prompt(
    task: Task, schema: Schema, text: str, *, examples: bool = False, instruction: str = "", seed: int = 0
) -> str:
    return f"{_BEFORE}{inside(task, schema, text, examples=examples, own=instruction)}{_AFTER}"


def inside(task: Task, schema: Schema, text: str, *, examples: bool = False, own: str = "") -> str:
    """The JSON inside the prompt: what IEPile's files call the instruction."""
    language, kind = "zh" if schema.language == "zh" else "en", kind_of(task, schema)
    shown = schema.examples if examples else ()
    told = _own(own, language) or _INSTRUCTIONS[language][kind]
    told += _SEE_EXAMPLES[language] if shown else ""
    asked: dict[str, Any] = {"instruction": told, "schema": _asked(kind, schema)}
    if shown:
        asked["example"] = [
            {"input": tidy(one.text), "output": _answer(kind, schema, said(task, one))} for one in shown
        ]
    return json.dumps(asked | {"input": text}, ensure_ascii=False)


def _own(words: str, language: str) -> str:
    """A person's own instruction, with a word on JSON if it has none."""
    told = words.strip().replace("{format}", "JSON")
    if not told or "json" in told.casefold():
        return told
    return told + (" " if language == "en" else "") + _IN_JSON[language]


def kind_of(task: Task, schema: Schema) -> Kind:
    if task != "re":
        return "NER" if task == "ner" else "EE"
    if schema.relations and all(one.is_attribute for one in schema.relations):
        return "KG"
    if all(one.head and one.tail and not one.told(schema.language) for one in schema.relations):
        return "SPO"
    return "RE"


def grammar(task: Task, schema: Schema, source: Source) -> str:
    return _json_grammar.grammar(kind_of(task, schema), schema, _json_grammar.verbatim(source), by_owner(schema))


def outline(task: Task, schema: Schema) -> str:
    return _json_grammar.grammar(kind_of(task, schema), schema, _json_grammar.ANYTHING, by_owner(schema))


def quotes(task: Task, found: Sequence[Found], source: Source) -> bool:
    return gbnf.quotes(gbnf.verbatim(source), found, rising=task == "ner")


def decoding(room: int, *, beams: bool) -> Decoding:
    return Decoding(max_tokens=room)


def read(task: Task, schema: Schema, answer: str, *, cut: bool = False) -> Reading:
    return salvage.read(task, schema, answer, cut=cut)


def write(task: Task, schema: Schema, found: Sequence[Found]) -> str:
    return json.dumps(_answer(kind_of(task, schema), schema, found), ensure_ascii=False)


def by_owner(schema: Schema) -> dict[str, list[str]]:
    """{entity type: its attributes}, of a part that asks for attributes."""
    made: dict[str, list[str]] = {}
    for one in schema.relations:
        for head in ends(one.head):
            made.setdefault(head, []).append(one.name)
    return made


def _one_name(text: str) -> str:
    return "/".join(ends(text))


# What is asked for


def _asked(kind: Kind, schema: Schema) -> Any:
    if kind == "NER":
        return _described(schema.entities, schema.language)
    if kind == "RE":
        return _described(schema.relations, schema.language)
    if kind == "SPO":
        return [
            {"subject_type": _one_name(one.head), "predicate": one.name, "object_type": _one_name(one.tail)}
            for one in schema.relations
        ]
    if kind == "KG":
        described = {one.name: one.told(schema.language) for one in schema.relations}
        return [
            {
                "entity_type": owner,
                "attributes": {name: described[name] or name for name in names}
                if any(described[name] for name in names)
                else names,
            }
            for owner, names in by_owner(schema).items()
        ]
    if any(one.told(schema.language) or any(role.description for role in one.roles) for one in schema.events):
        return {one.name: _described_event(one, schema.language) for one in schema.events}
    return [
        {"event_type": one.name, "trigger": True, "arguments": [role.name for role in one.roles]}
        for one in schema.events
    ]


def _described(types: Sequence[Any], language: str) -> list[str] | dict[str, str]:
    """A list of names; with descriptions, where there are any, a name's description (its name if it has none)."""
    if any(one.told(language) for one in types):
        return {one.name: one.told(language) or one.name for one in types}
    return [one.name for one in types]


def _described_event(one: EventType, language: str) -> dict[str, Any]:
    roles = {role.name: role.description or role.name for role in one.roles}
    return {one.name: one.told(language) or one.name, "trigger": True, "arguments": roles}


# What is answered


def _answer(kind: Kind, schema: Schema, found: Sequence[Found]) -> dict[str, Any]:
    if kind == "NER":
        return {made.name: [one.text for one in found if one.type == made.name] for made in schema.entities}
    if kind == "KG":
        return {owner: _owned(names, found) for owner, names in by_owner(schema).items()}
    if kind == "EE":
        return {made.name: [_event(made, one) for one in found if one.type == made.name] for made in schema.events}
    return {
        made.name: [{"subject": one.text, "object": one.parts[0][1]} for one in found if one.type == made.name]
        for made in schema.relations
    }


def _event(made: EventType, one: Found) -> dict[str, Any]:
    """All roles, absent ones as NAN; but none where all are absent."""
    arguments = {role.name: _values(one, role.name) or ABSENT for role in made.roles} if one.parts else {}
    return {"trigger": one.text, "arguments": arguments}


def _values(one: Found, role: str) -> str | list[str]:
    texts = [text for name, text in one.parts if name == role]
    return texts[0] if len(texts) == 1 else texts


def _owned(names: Sequence[str], found: Sequence[Found]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    of_these = [one for one in found if one.type in names]
    for entity in dict.fromkeys(one.text for one in of_these):
        made[entity] = {}
        for name in names:
            texts = [one.parts[0][1] for one in of_these if one.text == entity and one.type == name]
            if texts:
                made[entity][name] = texts[0] if len(texts) == 1 else texts
    return made
