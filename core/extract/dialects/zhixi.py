"""The dialect of ZhiXi and KnowLM-13B: an instruction in Alpaca's form, answered by tuples, one a line.

    (Marie Curie,person)                                        NER
    (Marie Curie,born in,Warsaw)                                RE
    (won,award,[(Marie Curie,winner),(Nobel Prize,prize)])      EE

and `NAN` where nothing was found. Only the Alpaca frame is what the weights were trained with; the
instructions are our own wordings, in which the schema stands as a Python list or dict. Their models answer
in a dozen other shapes too: all of them are read.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from core.extract import grammar as gbnf
from core.extract import salvage
from core.extract.answer import Found, Reading
from core.extract.examples import said
from core.extract.normal import Source, tidy
from core.extract.salvage_names import is_word, spelled
from core.extract.schema import RelationType, Schema, Task, label
from core.extract.tasks.ee import EVENTS, SAME_ROLE
from core.extract.tasks.re import PAIRS
from core.inference.decoding import Decoding
from core.inference.prompting import alpaca

VERSION = 1
STOP: tuple[str, ...] = ("\n### ",)
WHOLE = True
BARS = False
WORDED = False
VARIANTS = 3
NONE = "NAN"
LONGEST_LINE = 2000

DECODING = Decoding(temperature=0.2, beams=2, repetition_penalty=1.3, max_tokens=512, seed=0)
"""Its authors used beams 2 to 4, temperatures 0.2 to 0.4, this penalty and this length."""

FORMATS: dict[str, dict[Task, str]] = {
    "en": {
        "ner": "(entity,entity type)",
        "re": "(head entity,relation,tail entity)",
        "ee": "(trigger,event type,[(argument,argument role)])",
    },
    "zh": {
        "ner": "(实体,实体类型)",
        "re": "(头实体,关系,尾实体)",
        "ee": "(触发词,事件类型,[(论元,论元角色)])",
    },
}
WORDINGS: dict[str, dict[Task, tuple[str, ...]]] = {
    "en": {
        "ner": (
            "Find the entities in the input text. The entity types are {schema}. Write each one as {format}, one a "
            "line. Where there are none, answer NAN.",
            "Which entities of these types does the input name: {schema}? Give every entity on its own line in the "
            "form {format}; answer NAN if it names none.",
            "Read the input and mark all entities whose type is one of {schema}. Use the form {format} for each, and "
            "NAN if there is nothing to mark.",
        ),
        "re": (
            "Find the relation triples in the input text. The relations are {schema}. Write each one as {format}, one "
            "a line. Where there are none, answer NAN.",
            "Which of these relations does the input state, and between what: {schema}? Give every triple on its own "
            "line in the form {format}; answer NAN if it states none.",
            "Build knowledge graph triples from the input, with relations out of {schema} only. Use the form {format} "
            "for each, and NAN if there is nothing to build.",
        ),
        "ee": (
            "Find the events in the input text. The event types with their argument roles are {schema}. Write each "
            "one as {format}, one a line. Where there are none, answer NAN.",
            "Which events of these types does the input report, and who or what takes part in them: {schema}? Give "
            "every event on its own line in the form {format}; answer NAN if it reports none.",
            "Read the input and list its events. Types and roles may only be those of {schema}. Use the form {format} "
            "for each, and NAN if there is nothing to list.",
        ),
    },
    "zh": {
        "ner": (
            "请找出输入文本中的实体，实体类型限于{schema}。每个实体单独一行，写成{format}的形式；没有则回答NAN。",
            "输入中出现了哪些属于{schema}这些类型的实体？请按{format}的格式逐行列出，若没有请回答NAN。",
            "阅读输入，标出类型在{schema}之内的全部实体，输出格式为{format}，不存在时输出NAN。",
        ),
        "re": (
            "请找出输入文本中的关系三元组，关系限于{schema}。每个三元组单独一行，写成{format}的形式；没有则回答NAN。",
            "输入表达了{schema}中的哪些关系，分别在谁与谁之间？请按{format}的格式逐行列出，若没有请回答NAN。",
            "根据输入构建知识图谱三元组，只使用{schema}里的关系，输出格式为{format}，不存在时输出NAN。",
        ),
        "ee": (
            "请找出输入文本中的事件，事件类型及其论元角色为{schema}。每个事件单独一行，写成{format}的形式；没有则回答NAN。",
            "输入报道了{schema}中的哪些事件，各有哪些论元？请按{format}的格式逐行列出，若没有请回答NAN。",
            "阅读输入并列出其中的事件，类型和角色只能取自{schema}，输出格式为{format}，不存在时输出NAN。",
        ),
    },
}
_OWN_SCHEMA: dict[str, dict[Task, str]] = {
    "en": {
        "ner": "The entity types are {schema}.",
        "re": "The relations are {schema}.",
        "ee": "The event types with their argument roles are {schema}.",
    },
    "zh": {"ner": "实体类型限于{schema}。", "re": "关系限于{schema}。", "ee": "事件类型及其论元角色为{schema}。"},
}
_OWN_FORMAT = {
    "en": "Write each one as {format}, one a line. Where there are none, answer NAN.",
    "zh": "每条单独一行，写成{format}的形式；没有则回答NAN。",
}
_TYPED = {"en": "Entity types of heads and tails: {ends}.", "zh": "头尾实体的类型：{ends}。"}
_DESCRIBED = {"en": "What they mean: {told}.", "zh": "含义：{told}。"}
_SHOWN = {"en": "For example, “{text}” gives:\n{answer}", "zh": "例如，“{text}”应得到：\n{answer}"}


def parts(task: Task, schema: Schema, size: int) -> list[Schema]:
    return schema.parts(task, size)


def prompt(
    task: Task, schema: Schema, text: str, *, examples: bool = False, instruction: str = "", seed: int = 0
) -> str:
    """`seed` chooses the wording: training rows take many, extraction the first unless told otherwise.

    An instruction of one's own that names all the types, as those of InstructKGC do, is not told them again.
    """
    language = "zh" if schema.language == "zh" else "en"
    listed, form = _listed(task, schema), FORMATS[language][task]
    if instruction.strip():
        told = [_own(task, schema, instruction.strip()).replace("{schema}", listed).replace("{format}", form)]
    else:
        wordings = WORDINGS[language][task]
        told = [wordings[seed % len(wordings)].format(schema=listed, format=form)]
    ends = [one for one in schema.relations if one.head or one.tail] if task == "re" else []
    if ends:
        told.append(_TYPED[language].format(ends={one.name: _ends(one) for one in ends}))
    meanings = {one.name: words for one in schema.types(task) if (words := one.told(schema.language))}
    if meanings:
        told.append(_DESCRIBED[language].format(told=meanings))
    for one in schema.examples if examples else ():
        told.append(_SHOWN[language].format(text=tidy(one.text), answer=write(task, schema, said(task, one))))
    return alpaca("\n".join(told), text)


def _own(task: Task, schema: Schema, words: str) -> str:
    """A person's own instruction, with what it lacks: the types, what answers look like."""
    language = "zh" if schema.language == "zh" else "en"
    named = "{schema}" in words or all(one.name in words for one in schema.types(task))
    shaped = "{format}" in words or _TUPLE.search(words) is not None
    lacking = [] if named else [_OWN_SCHEMA[language][task]]
    return "\n".join([words, *lacking, *([] if shaped else [_OWN_FORMAT[language]])])


_TUPLE = regex.compile(r"[(（][^()（）]{1,40}[,，][^()（）]{1,40}[)）]")


def _listed(task: Task, schema: Schema) -> str:
    if task == "ee":
        return str({one.name: [role.name for role in one.roles] for one in schema.events})
    return str([one.name for one in schema.types(task)])


def _ends(one: RelationType) -> list[str]:
    return [one.head or "*", one.tail or "*"]


def write(task: Task, schema: Schema, found: Sequence[Found]) -> str:
    known = {made.name for made in schema.types(task)}
    return "\n".join(_line(task, one) for one in found if one.type in known) or NONE


def _line(task: Task, one: Found) -> str:
    if task == "ner":
        return f"({one.text},{label(one.type)})"
    if task == "re":
        return f"({one.text},{label(one.type)},{one.parts[0][1]})"
    arguments = ",".join(f"({text},{label(role)})" for role, text in one.parts)
    return f"({one.text},{label(one.type)},[{arguments}])"


def read(task: Task, schema: Schema, answer: str, *, cut: bool = False) -> Reading:
    strict = None if cut else _strict(task, schema, answer)
    return strict if strict is not None else salvage.read(task, schema, answer, cut=cut)


def _strict(task: Task, schema: Schema, answer: str) -> Reading | None:
    """The records of an answer as `write` writes it, else None."""
    if answer.strip() in (NONE, ""):
        return Reading()
    pattern = regex.compile(_PATTERNS[task].format(types=spelled(made.name for made in schema.types(task))))
    end = r",\[" if task == "ee" else "[,)]"  # a role may be called as a type is
    mark = regex.compile(rf",(?:{spelled(made.name for made in schema.types(task))})(?={end})")
    labels = {label(made.name): made for made in schema.types(task)}
    found = []
    for line in answer.strip().splitlines():
        if len(line) > LONGEST_LINE or len(mark.findall(line)) != 1:
            return None
        match = pattern.fullmatch(line.rstrip())
        made = labels.get(label(match["type"])) if match else None
        if match is None or made is None or not is_word(match["text"]):
            return None
        parts: list[tuple[str, str]] = []
        if task == "re":
            parts = [("", match["tail"])]
        elif task == "ee" and match["rest"]:
            arguments = regex.split(r"(?<=\)),(?=\()", match["rest"])
            pairs = [argument[1:-1].rpartition(",") for argument in arguments]
            roles = {label(role.name): role.name for one in schema.events if one is made for role in one.roles}
            if not all(text and role in roles for text, _, role in pairs):
                return None
            parts = [(roles[role], text) for text, _, role in pairs]
        if not all(is_word(text) for _, text in parts):
            return None
        found.append(Found(made.name, match["text"], tuple(parts)))
    return Reading(tuple(found))


_PATTERNS: dict[Task, str] = {
    "ner": r"\((?<text>.+),(?<type>{types})\)",
    "re": r"\((?<text>.+?),(?<type>{types}),(?<tail>.+)\)",
    "ee": r"\((?<text>.+?),(?<type>{types}),\[(?<rest>.*)\]\)",
}


def decoding(room: int, *, beams: bool) -> Decoding:
    """The authors' settings, on one beam where the engine or a grammar can't have several."""
    most = min(room, DECODING.max_tokens)
    return DECODING.model_copy(update={"max_tokens": most} | ({} if beams else {"beams": 1}))


def grammar(task: Task, schema: Schema, source: Source) -> str:
    """`NAN`, or lines of tuples: entities and events by type, relations in any order of types."""
    return _grammar(task, schema, gbnf.verbatim(source))


def outline(task: Task, schema: Schema) -> str:
    return _grammar(task, schema, gbnf.Anything(r"[^\n]"))


def quotes(task: Task, found: Sequence[Found], source: Source) -> bool:
    return gbnf.quotes(gbnf.verbatim(source), found)


def _grammar(task: Task, schema: Schema, spans: gbnf.Spans) -> str:
    if not spans.possible:
        return f"root ::= {gbnf.literal(NONE)}\n"
    names = [gbnf.literal(f",{label(one.name)}") for one in schema.types(task)]
    if task == "ner":
        kinds = " | ".join(names)
        records, most = [f'record ::= "(" span ({kinds}) ")"'], 8 * len(names)
    elif task == "re":
        kinds = " | ".join(names)
        records, most = [f'record ::= "(" span ({kinds}) "," span ")"'], PAIRS * len(names)
    else:
        records, most = [f"record ::= {' | '.join(f'e{number}' for number in range(len(names)))}"], EVENTS * len(names)
        for number, (event, name) in enumerate(zip(schema.events, names, strict=True)):
            roles = " | ".join(gbnf.literal(f",{label(role.name)}") for role in event.roles)
            several = SAME_ROLE * len(event.roles)
            some = f'(p{number} ("," p{number}){{0,{max(1, several - 1)}}})?' if roles else ""
            records.append(f'e{number} ::= "(" span {name} ",[" {some} "])"')
            if roles:
                records.append(f'p{number} ::= "(" span ({roles}) ")"')
    root = f'root ::= {gbnf.literal(NONE)} | record ("\\n" record){{0,{max(1, min(most, 60) - 1)}}}'
    return "\n".join([root, *records, *spans.free()]) + "\n"
