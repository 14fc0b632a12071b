"""Candidate types for texts that nobody has a schema for yet: counted, with the words that they stand for.

Two ways, and it is always said which. `known`: the types of the ready-made schemas are asked for, as in any
extraction, and those that the texts have are counted; a model that was trained for extraction can do no more.
`free`: the model names kinds itself, each with words that must stand in the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import regex

from core.extract import calls
from core.extract import grammar as gbnf
from core.extract.calls import Asked, Call, Options
from core.extract.ground import Finder
from core.extract.normal import normalise
from core.extract.salvage_names import fold, is_word
from core.extract.schema import FIELDS, RelationType, Schema, Task, Type, ends, from_json, ready_made
from core.inference.decoding import Decoding
from core.models import Model
from core.records import Extraction

Method = Literal["known", "free"]
LONGEST = 2_000
"""Characters of a text that are read: enough to know what it is about."""
MOST_LINES, MOST_EXAMPLES, SHOWN = 8, 4, 3
ALIKE = 0.8
_NO_KIND = frozenset(
    ("none", "no", "nothing", "nonexistent", "unknown", "example", "kind", "无", "没有", "种类", "例子")
)
_SAYS: dict[str, dict[Task, str]] = {
    "en": {
        "ner": (
            "Which kinds of things does the text name? Answer with one line a kind: kind: example || example\n"
            "A kind is a common noun such as person, disease or product, never a name out of the text. "
            "Copy the examples exactly from the text."
        ),
        "re": (
            "Which relations does the text state? Answer with one line a relation: "
            "relation: head | tail || head | tail\n"
            "A relation is a short phrase such as works for, part of or causes. "
            "Copy heads and tails exactly from the text."
        ),
        "ee": (
            "Which kinds of events does the text report? Answer with one line a kind: kind: word || word\n"
            "A kind is a common noun such as meeting, attack or award. "
            "Copy the words that report an event exactly from the text."
        ),
    },
    "zh": {
        "ner": (
            "文本提到了哪些种类的事物？每个种类写一行：种类: 例子 || 例子\n"
            "种类用普通名词，如人物、疾病、产品，不要用文中的专名。例子须与原文一字不差。"
        ),
        "re": (
            "文本表达了哪些关系？每种关系写一行：关系: 头 | 尾 || 头 | 尾\n"
            "关系用简短的说法，如任职于、位于、导致。头和尾须与原文一字不差。"
        ),
        "ee": (
            "文本报道了哪些种类的事件？每个种类写一行：种类: 触发词 || 触发词\n"
            "种类用普通名词，如会议、袭击、获奖。触发词须与原文一字不差。"
        ),
    },
}
_TEXT = {"en": "\nText: {}\nAnswer:\n", "zh": "\n文本：{}\n回答：\n"}
_NAME = {"en": "[a-z] [a-z ]{1,28} [a-z]", "zh": "[一-龥]{2,8}"}
_NAMED = regex.compile(r"[\p{L}\p{M}][\p{L}\p{M}\p{N} /_-]{0,39}")
_BULLET = regex.compile(r"^\s*(?:[-*•]+|\d+[.)、])?\s*")


@dataclass
class Candidate:
    """A type, in how many of the texts it was found, and how often."""

    task: Task
    name: str
    texts: int = 0
    mentions: int = 0
    words: Counter[str] = field(default_factory=Counter)
    known: Type | None = None
    """Of a ready-made schema."""
    schemas: int = 1
    """How many of the ready-made ones have it: the more, the more general it is."""
    same_as: str = ""
    """A type that stands for nearly the same words, and was found as often at least: this one is left out."""

    @property
    def examples(self) -> tuple[str, ...]:
        return tuple(words for words, _ in self.words.most_common(SHOWN))


@dataclass(frozen=True)
class Proposed:
    candidates: tuple[Candidate, ...]
    """Those that most texts have first."""
    method: Method
    read: int
    """Texts."""
    calls: int
    dropped: int
    """Kinds that the model named without any words that stand in the text, or that are no names of kinds."""


def method_for(model: Model) -> Method:
    """`free` wants a model that was made to be talked to."""
    return "known" if model.card.trained_for_extraction else "free"


def propose(
    client: Asked,
    texts: Sequence[str],
    tasks: Sequence[Task],
    language: str,
    method: Method,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Proposed:
    """Raises what the client raises."""
    heads = [text[:LONGEST] for text in texts]
    return (_known if method == "known" else _free)(client, heads, tasks, language, step)


def schema_of(proposed: Proposed, name: str, language: str, *, at_least: int) -> Schema:
    """The types that so many texts have, as a schema to be looked over. Raises UserError where there are none."""
    kept = keeping(proposed, at_least)
    data: dict[str, list] = {made: [] for made in FIELDS.values()}
    names = {fold(one.name) for one in kept if one.task == "ner"}
    for one in kept:
        row: dict[str, Any] = one.known.model_dump() if one.known is not None else {"name": one.name}
        if isinstance(one.known, RelationType):
            for end in ("head", "tail"):
                row[end] = ", ".join(each for each in ends(row[end]) if fold(each) in names)
        row["examples"] = () if one.known is not None else one.examples
        data[FIELDS[one.task]].append(row)
    return from_json({"name": name, "title": name, "language": language, **data}, name)


def keeping(proposed: Proposed, at_least: int) -> list[Candidate]:
    """Those that so many texts have, without what goes by another name too."""
    return [one for one in proposed.candidates if one.texts >= at_least and not one.same_as]


# Types that are known already


def _known(
    client: Asked, texts: Sequence[str], tasks: Sequence[Task], language: str, step: Callable[[int, int], None]
) -> Proposed:
    ready = [schema for schema in ready_made() if schema.language == language]
    wanted: list[tuple[int, Call, Options]] = []
    options = Options()
    for schema in ready:
        for part in calls.parts(schema, [task for task in tasks if task in schema.tasks], options, client.model):
            for number, text in enumerate(texts):
                wanted += [(number, call, options) for call in calls.calls(text, part, options)]
    named = Counter((task, fold(one.name)) for schema in ready for task in tasks for one in schema.types(task))
    types = {
        (task, fold(one.name)): Candidate(task, one.name, known=one, schemas=named[task, fold(one.name)])
        for schema in reversed(ready)
        for task in tasks
        for one in schema.types(task)
    }
    seen: dict[tuple[Task, str], set[int]] = {}
    said: set[tuple[Task, str, int, str]] = set()

    def ask(one: tuple[int, Call, Options]) -> Extraction:
        return calls.ask(client, one[1], one[2])

    for (number, _, _), found in zip(wanted, _asked(client, ask, wanted, step), strict=True):
        for task, name, words in _records(found):
            key = (task, fold(name))
            if key not in types or (*key, number, words) in said:
                continue  # several schemas may have a type of that name: what they find together counts once
            said.add((*key, number, words))
            seen.setdefault(key, set()).add(number)
            types[key].mentions += 1
            types[key].words[words] += 1
    for key, numbers in seen.items():
        types[key].texts = len(numbers)
    return Proposed(_ordered(types[key] for key in seen), "known", len(texts), len(wanted), 0)


def _records(found: Extraction) -> Iterable[tuple[Task, str, str]]:
    yield from (("ner", one.type, one.text) for one in found.entities if one.located)
    yield from (
        ("re", one.relation, f"{one.head.text} → {one.tail.text}")
        for one in found.relations
        if one.head.located and one.tail.located
    )
    yield from (("ee", one.type, one.trigger.text) for one in found.events if one.trigger.located)


# Kinds that the model names


def _free(
    client: Asked, texts: Sequence[str], tasks: Sequence[Task], language: str, step: Callable[[int, int], None]
) -> Proposed:
    wanted = [(number, task) for task in tasks for number in range(len(texts))]
    made: dict[tuple[Task, str], Candidate] = {}
    spellings: dict[tuple[Task, str], Counter[str]] = {}
    dropped = 0

    def ask(one: tuple[int, Task]) -> str:
        return _put(client, texts[one[0]], one[1], language)

    for (number, task), answer in zip(wanted, _asked(client, ask, wanted, step), strict=True):
        here: set[str] = set()
        for name, records in _kinds(task, answer):
            located = [words for record in records if (words := _located(texts[number], record))]
            if not located or not is_kind(name):
                dropped += 1
                continue
            key = (task, merged(name))
            one = made.setdefault(key, Candidate(task, name))
            spellings.setdefault(key, Counter())[name] += 1
            one.texts += key[1] not in here
            here.add(key[1])
            one.mentions += len(located)
            one.words.update(located)
    for key, one in made.items():
        one.name = spellings[key].most_common(1)[0][0]
    return Proposed(_ordered(made.values()), "free", len(texts), len(wanted), dropped)


def question(text: str, task: Task, language: str) -> str:
    tongue = "zh" if language == "zh" else "en"
    return _SAYS[tongue][task] + _TEXT[tongue].format(normalise(text).text)


def grammar(text: str, task: Task, language: str) -> str:
    """Lines of a kind and words that stand in the text."""
    spans = gbnf.verbatim(normalise(text))
    if not spans.possible:
        return gbnf.nothing()
    part = f"span {gbnf.literal(gbnf.PART)} span" if task == "re" else "span"
    rules = [
        f'root ::= line ("\\n" line){{0,{MOST_LINES - 1}}}',
        f"line ::= kind {gbnf.literal(': ')} one ({gbnf.literal(gbnf.SEPARATOR)} one){{0,{MOST_EXAMPLES - 1}}}",
        f"one ::= {part}",
        f"kind ::= {_NAME['zh' if language == 'zh' else 'en']}",
    ]
    return "\n".join([*rules, *spans.free()]) + "\n"


def _put(client: Asked, text: str, task: Task, language: str) -> str:
    asked = question(text, task, language)
    rules = grammar(text, task, language) if client.can.get("grammar") else None
    decoding = Decoding(max_tokens=400)
    stop = () if rules else ("\n\n",)
    if calls.form(client.model, "studio") == "raw":
        return client.complete(asked, decoding, grammar=rules, stop=stop).text
    return client.chat([{"role": "user", "content": asked}], decoding, grammar=rules, stop=stop).text


def _kinds(task: Task, answer: str) -> Iterable[tuple[str, list[list[str]]]]:
    """(kind, its records as lists of words) of each line that has that shape."""
    for line in answer.splitlines():
        name, sign, rest = _BULLET.sub("", line).replace("：", ":").partition(":")
        if not sign or not rest.strip():
            continue
        records = [[part.strip() for part in one.split("|")] for one in rest.split("||")]
        yield name.strip(" *_`\"'").lower(), [one for one in records if len(one) == (2 if task == "re" else 1)]


def is_kind(name: str) -> bool:
    """Whether it can be the name of a kind: words, but not “none of these”."""
    first = name.split()[0] if name.split() else ""
    return _NAMED.fullmatch(name) is not None and is_word(name) and first not in _NO_KIND


def _located(text: str, record: Sequence[str]) -> str:
    """The record's words, "" unless all of them stand in the text."""
    finder = Finder(normalise(text), text)
    return " → ".join(record) if all(is_word(words) and finder.places(words) for words in record) else ""


def merged(name: str) -> str:
    """What makes two names one kind: letters' case and width, underscores, an English plural."""
    key = fold(name).replace("_", " ")
    if key.isascii() and key.endswith("s") and not key.endswith(("ss", "us", "is")) and len(key) > 3:
        return key[:-3] + "y" if key.endswith("ies") else key[:-1]
    return key


def _asked(client: Asked, ask: Callable, wanted: Sequence, step: Callable[[int, int], None]) -> Iterable:
    with ThreadPoolExecutor(max(1, client.parallel)) as pool:
        for done, answer in enumerate(pool.map(ask, wanted), start=1):
            step(done, len(wanted))
            yield answer


def _ordered(made: Iterable[Candidate]) -> tuple[Candidate, ...]:
    order = list(FIELDS)
    found = sorted(made, key=lambda one: (order.index(one.task), -one.texts, -one.mentions, -one.schemas, one.name))
    for at, one in enumerate(found):
        before = (other for other in found[:at] if other.task == one.task and not other.same_as)
        one.same_as = next((other.name for other in before if _alike(one, other)), "")
    return tuple(found)


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether four fifths of what one stands for, two words at least, the other stands for too."""
    shared = len(one.words.keys() & other.words.keys())
    return len(one.words) > 1 and shared >= ALIKE * len(one.words)
