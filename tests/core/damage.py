"""Good answers in every format that salvage reads, and twenty-odd kinds of damage done to them, all from a seed.

A damage keeps the words of the records that it says it keeps; only truncation takes whole ones away.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from core.extract import schema
from core.extract.answer import Found
from core.extract.dialects import oneke, studio, zhixi
from core.extract.schema import Schema, Task

EN = schema.from_json(
    {
        "entities": ["person", "place", "organisation", "date of birth"],
        "relations": ["born in", "works for", "married to", "per:alias"],
        "events": [{"name": "award", "roles": ["winner", "prize", "date"]}, {"name": "move", "roles": ["who", "to"]}],
    },
    "en",
)
ZH = schema.from_json(
    {
        "language": "zh",
        "entities": ["人物", "地理位置", "组织机构", "时间"],
        "relations": ["出生地", "毕业院校", "配偶", "成立日期"],
        "events": [
            {"name": "组织关系-裁员", "roles": ["裁员方", "裁员人数", "时间"]},
            {"name": "财经/交易-上市", "roles": ["上市企业", "融资金额", "地点"]},
        ],
    },
    "zh",
)
KG = schema.from_json(
    {"language": "zh", "relations": [{"name": name, "head": "人物"} for name in ("别名", "父母", "职业", "国籍")]}, "kg"
)
_WORDS = {
    "en": (
        *("Marie Curie", "Pierre", "Warsaw", "O'Brien", "Nobel Prize", "3,000 dollars", "7 November 1867", "St. Louis"),
        *(
            "Acme Corp.",
            "X-15",
            "the University of Paris",
            "Bo",
            "AT&T",
            "Zoé",
            "Dr. No",
            "Alan M. Turing",
            "C++",
            "42",
        ),
        *("Lake Geneva", "won", "was awarded", "moved", "J. R. R. Tolkien", "Ann-Sofie", "10%", "Rio de Janeiro"),
    ),
    "zh": (
        *("明治天皇", "屠呦呦", "北京大学", "900余人", "5月份", "甲骨文", "《红楼梦》", "广州松日队", "1939年3月18日"),
        *(
            "裁员",
            "上市",
            "Oracle公司",
            "沙尔-奥古斯丁·圣伯夫",
            "太行山",
            "3.5亿元",
            "胡",
            "中国人民银行",
            "7天",
            "👩‍🔬研究组",
        ),
    ),
}
_ROUND = {"en": ("CKD (kidney disease)", "H2O (l)"), "zh": ("慢性肾病（CKD）", "甲骨文(Oracle)")}


@dataclass(frozen=True)
class Good:
    task: Task
    schema: Schema
    shape: str
    text: str
    records: tuple[Found, ...]
    ends: tuple[int, ...]
    """Where each record's own text ends."""
    cut: bool = False


# Good answers


def good(rng: random.Random) -> Good:
    shape = rng.choice(list(SHAPES))
    made = SHAPES[shape](rng)
    return replace(made, shape=shape)


def _records(rng: random.Random, task: Task, made: Schema, *, commas: bool, most: int = 5) -> list[Found]:
    pool = [*_WORDS[made.language], *(_ROUND[made.language] if commas else ())]
    pool = [word for word in pool if commas or "," not in word]

    def some(count: int) -> list[str]:
        return rng.sample(pool, count)

    found: list[Found] = []
    for _ in range(rng.randint(1, most)):
        kind = rng.choice(made.types(task))
        if task == "ner":
            found.append(Found(kind.name, some(1)[0]))
        elif task == "re":
            head, tail = some(2)
            found.append(Found(kind.name, head, (("", tail),)))
        else:
            roles = [role.name for role in kind.roles]  # type: ignore[union-attr]
            chosen = [role for role in roles if rng.random() < 0.7] or roles[:1]
            trigger, *texts = some(1 + len(chosen))
            found.append(Found(kind.name, trigger, tuple(zip(chosen, texts, strict=True))))
    unique = list(dict.fromkeys(found))
    order = [one.name for one in made.types(task)]
    return sorted(unique, key=lambda one: order.index(one.type))


def _language(rng: random.Random) -> Schema:
    return rng.choice((EN, ZH))


def _task(rng: random.Random) -> Task:
    return rng.choice(schema.TASKS)


def _located(text: str, pieces: list[str]) -> tuple[int, ...]:
    at, ends = 0, []
    for piece in pieces:
        at = text.index(piece, at) + len(piece)
        ends.append(at)
    return tuple(ends)


def _oneke(rng: random.Random) -> Good:
    task, made = _task(rng), _language(rng)
    records = _records(rng, task, made, commas=True)
    text = oneke.write(task, made, records)
    if rng.random() < 0.3:
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=rng.choice((1, 2, 4)))
    last = [one.parts[-1][1] if one.parts else one.text for one in records]
    if task == "ee":  # roles are written in the schema's order, absent ones as NAN: the record ends with its braces
        starts = [match.start() for match in re.finditer(r'"trigger"', text)]
        ends = tuple(text.index("}", text.index("}", start) + 1) + 1 for start in starts)
    else:
        ends = _located(text, [json.dumps(word, ensure_ascii=False) for word in last])
    return Good(task, made, "", text, tuple(records), ends)


def _kg(rng: random.Random) -> Good:
    records = _records(rng, "re", KG, commas=True)
    records = sorted(records, key=lambda one: [each.text for each in records].index(one.text))
    text = oneke.write("re", KG, records)
    return Good(
        "re",
        KG,
        "",
        text,
        tuple(records),
        _located(text, [json.dumps(records[-1].parts[0][1], ensure_ascii=False)] * 0) or (len(text),) * len(records),
    )


def _studio(rng: random.Random) -> Good:
    task, made = _task(rng), _language(rng)
    records = _records(rng, task, made, commas=True)
    text = studio.write(task, made, records)
    return Good(task, made, "", text, tuple(records), _located(text, [studio._record(task, one) for one in records]))


def _tuples(rng: random.Random) -> Good:
    task, made = _task(rng), _language(rng)
    records = _records(rng, task, made, commas=False)
    lines = [zhixi._line(task, one) for one in records]
    text = rng.choice(("\n", "\n", "", ",", "；", ";")).join(lines)
    return Good(task, made, "", text, tuple(records), _located(text, lines))


def _fields(rng: random.Random) -> Good:
    task: Task = rng.choice(("ner", "re"))
    records = _records(rng, task, ZH, commas=False)
    if task == "re":
        lines = [f"头实体是{one.text},关系是{one.type},尾实体是{one.parts[0][1]}" for one in records]
    else:
        lines = [f"实体是{one.text},实体类型是{one.type}" for one in records]
    text = rng.choice(("\n", "；")).join(lines)
    return Good(task, ZH, "", text, tuple(records), _located(text, lines))


def _colons(rng: random.Random) -> Good:
    records = _records(rng, "re", ZH, commas=False)
    lines = [f"{one.type}：{one.text},{one.parts[0][1]}" for one in records]
    text = "\n".join(lines)
    if rng.random() < 0.5:
        lines = [f"{one.type}：{one.text}，{one.parts[0][1]}" for one in records]
        text = f"输入中包含的关系三元组是：{'；'.join(lines)}。"
    return Good("re", ZH, "", text, tuple(records), _located(text, lines))


def _objects(rng: random.Random) -> Good:
    """A list of objects, in JSON or as Python prints it."""
    task, made = _task(rng), _language(rng)
    records = _records(rng, task, made, commas=True)
    if task == "ner":
        data: list = [{"entity": one.text, "type": one.type} for one in records]
    elif task == "re":
        data = [{"head": one.text, "relation": one.type, "tail": one.parts[0][1]} for one in records]
    else:
        data = [
            {
                "event_trigger": one.text,
                "event_type": one.type,
                "arguments": [{"argument": text, "role": role} for role, text in one.parts],
            }
            for one in records
        ]
    python = rng.random() < 0.5
    pieces = [repr(one) if python else json.dumps(one, ensure_ascii=False) for one in data]
    text = f"[{', '.join(pieces)}]"
    return Good(task, made, "", text, tuple(records), _located(text, pieces))


def _hashes(rng: random.Random) -> Good:
    """The older event format: 论元#角色, or as its training data had it, 角色#论元."""
    records = _records(rng, "ee", ZH, commas=False)
    swapped = rng.random() < 0.5
    lines = []
    for one in records:
        arguments = [f"{role}#{text}" if swapped else f"{text}#{role}" for role, text in one.parts]
        lines.append(f"({one.text},{one.type},{','.join(arguments)})")
    text = "\n".join(lines)
    return Good("ee", ZH, "", text, tuple(records), _located(text, lines))


SHAPES: dict[str, Callable[[random.Random], Good]] = {
    "oneke": _oneke,
    "kg": _kg,
    "studio": _studio,
    "tuples": _tuples,
    "fields": _fields,
    "colons": _colons,
    "objects": _objects,
    "hashes": _hashes,
}
QUOTED = ("oneke", "kg", "objects")

# Damage


_SIGN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[\[\]{}(),:（），：；;]')


def signs(one: Good, wanted: str) -> list[int]:
    """Places of punctuation outside the words."""
    found: list[int] = []
    for match in _SIGN.finditer(one.text):
        if match.group()[0] in "\"'":
            found += [at for at in (match.start(), match.end() - 1) if one.text[at] in wanted]
        elif match.group() in wanted:
            found.append(match.start())
    return found


def _without(one: Good, at: int) -> Good:
    return replace(one, text=one.text[:at] + one.text[at + 1 :])


def truncated(one: Good, rng: random.Random) -> Good | None:
    at = rng.randint(1, len(one.text) - 1)
    kept = tuple(record for record, end in zip(one.records, one.ends, strict=True) if end <= at)
    if one.shape == "studio" and kept and len(kept) < len(one.records) and one.text[:at].endswith(_tail_of(kept[-1])):
        kept = kept[:-1]  # nothing shows that it was whole
    if one.shape in ("studio", "fields", "colons"):
        kept = tuple(record for record, end in zip(one.records, one.ends, strict=True) if end < at - 3)[:-1]
    return replace(one, text=one.text[:at], records=kept, ends=one.ends[: len(kept)], cut=True)


def _tail_of(record: Found) -> str:
    return record.parts[-1][1] if record.parts else record.text


def repeated(one: Good, rng: random.Random) -> Good | None:
    if one.shape == "studio":
        return replace(one, text=one.text + f"\n{one.text.splitlines()[-1]}" * 60)
    if one.shape in QUOTED:
        return replace(one, text=(one.text + "\n") * 60 + one.text[: rng.randint(0, 3)])
    return replace(one, text="\n".join([one.text] * 60))


def fenced(one: Good, rng: random.Random) -> Good | None:
    return replace(one, text=f"```{rng.choice(('', 'json', 'python', 'text'))}\n{one.text}\n```")


def prose_before(one: Good, rng: random.Random) -> Good | None:
    said = rng.choice(
        (
            "Sure! Here is what I found in the text:\n\n",
            "Here's the result:\n",
            "根据输入文本，抽取结果如下：\n",
            "Based on the schema definition, the answer is as follows.\n",
        )
    )
    return replace(one, text=said + one.text)


def prose_after(one: Good, rng: random.Random) -> Good | None:
    said = rng.choice(
        (
            "\n\nI hope this helps!",
            "\nNote that some items may be missing.",
            "\n以上就是全部结果。",
            "\n\nLet me know if you need more.",
        )
    )
    return replace(one, text=one.text + said)


def single_quotes(one: Good, rng: random.Random) -> Good | None:
    if one.shape not in QUOTED or '"' not in one.text:
        return None
    return replace(one, text=_at_signs(one, '"', {'"': "'"}))


def _at_signs(one: Good, wanted: str, by: dict[str, str]) -> str:
    chars = list(one.text)
    for at in signs(one, wanted):
        chars[at] = by[chars[at]]
    return "".join(chars)


def full_width(one: Good, rng: random.Random) -> Good | None:
    if one.shape == "studio":
        return replace(one, text=one.text.replace(": ", "：").replace(" | ", "｜").replace(" || ", "｜｜"))
    wide = {"(": "（", ")": "）", ",": "，", ":": "：", "[": "［", "]": "］", "{": "｛", "}": "｝", ";": "；"}
    if one.shape == "hashes":
        wide = {"(": "（", ")": "）", ",": "，"}
    text = _at_signs(one, "".join(wide), wide)
    if one.shape in QUOTED and rng.random() < 0.5:
        quotes = iter("“”" * len(text))
        chars = list(text)
        for at in signs(one, "\"'"):
            chars[at] = next(quotes)
        text = "".join(chars)
    return replace(one, text=text)


def trailing_commas(one: Good, rng: random.Random) -> Good | None:
    if one.shape not in QUOTED:
        return replace(one, text=one.text + rng.choice((",", "，", "；", ";"))) if one.shape != "studio" else None
    chars = list(one.text)
    for at in signs(one, "]}"):
        if rng.random() < 0.5:
            chars[at] = "," + chars[at]
    return replace(one, text="".join(chars))


def missing_comma(one: Good, rng: random.Random) -> Good | None:
    places = signs(one, ",") if one.shape in QUOTED else []
    return _without(one, rng.choice(places)) if places else None


def wrong_nesting(one: Good, rng: random.Random) -> Good | None:
    pairs = [
        at
        for at in signs(one, "]})")
        if one.text[at + 1 : at + 2] in ("]", "}", ")") and one.text[at + 1] != one.text[at]
    ]
    if not pairs:
        return None
    at = rng.choice(pairs)
    return replace(one, text=one.text[:at] + one.text[at + 1] + one.text[at] + one.text[at + 2 :])


def missing_closer(one: Good, rng: random.Random) -> Good | None:
    places = signs(one, "]})") if one.shape in (*QUOTED, "tuples") else []
    return _without(one, rng.choice(places)) if places else None


def missing_opener(one: Good, rng: random.Random) -> Good | None:
    places = signs(one, "[{(") if one.shape in (*QUOTED, "tuples") else []
    return _without(one, rng.choice(places)) if places else None


def missing_quote(one: Good, rng: random.Random) -> Good | None:
    places = signs(one, "\"'") if one.shape in QUOTED else []
    return _without(one, rng.choice(places)) if places else None


def missing_quotes(one: Good, rng: random.Random) -> Good | None:
    """All of them: only words without punctuation of their own survive that."""
    plain = [word for record in one.records for word in (record.text, *(text for _, text in record.parts))]
    if one.shape not in QUOTED or any(
        re.search(r"[,:'\"()（）]", word) for word in [*plain, one.text.replace("per:", "per:")][: len(plain)]
    ):
        return None
    if "per:alias" in one.text:
        return None
    places = set(signs(one, "\"'"))
    return replace(one, text="".join(char for at, char in enumerate(one.text) if at not in places))


def duplicate_keys(one: Good, rng: random.Random) -> Good | None:
    if one.shape == "studio":
        return replace(one, text=one.text + "\n" + one.text)
    if one.shape != "oneke" or one.text.startswith("{\n"):
        return None
    return replace(one, text=one.text[:-1] + ", " + one.text[1:])


def huge_numbers(one: Good, rng: random.Random) -> Good | None:
    number = rng.choice(("1e999999", "9" * 5000, "-1E+40000", "0." + "0" * 3000 + "1"))
    if one.shape == "objects":
        return replace(
            one,
            text=one.text.replace("}", f', "confidence": {number}}}')
            if one.task != "ee"
            else one.text[:-1] + f', {{"confidence": {number}}}]',
        )
    return replace(one, text=f'{one.text[:-1]}, "confidence": {number}}}') if one.shape == "oneke" else None


def deep(one: Good, rng: random.Random) -> Good | None:
    if one.shape not in QUOTED:
        return None
    count = rng.choice((30, 100, 5000))
    return replace(one, text="[" * count + one.text + "]" * rng.choice((0, count)))


def doubled_brackets(one: Good, rng: random.Random) -> Good | None:
    places = signs(one, "]}") if one.shape in QUOTED else signs(one, "()") if one.shape == "tuples" else []
    if not places:
        return None
    at = rng.choice(places)
    return replace(one, text=one.text[:at] + one.text[at] + one.text[at:])


def odd_space(one: Good, rng: random.Random) -> Good | None:
    if one.shape not in QUOTED:
        return replace(one, text="\r\n\r\n" + one.text.replace("\n", "  \r\n\t") + "  ")
    chars = list(one.text)
    for at in signs(one, "[]{},"):
        chars[at] += rng.choice(("", "\n", "\r\n  ", "\t", "\u3000"))
    return replace(one, text="".join(chars))


def thoughts(one: Good, rng: random.Random) -> Good | None:
    return replace(one, text=f'<think>The text says: person: Nobody, {{"person": ["Nobody"]}}\n</think>\n{one.text}')


def unknown_types(one: Good, rng: random.Random) -> Good | None:
    if one.shape == "oneke" and not one.text.startswith("{\n"):
        return replace(one, text='{"animal": ["cat", "dog"], ' + one.text[1:])
    if one.shape == "studio":
        return replace(one, text="animal: cat || dog\n" + one.text)
    return replace(one, text=f"(cat,animal,dog)\n{one.text}") if one.shape == "tuples" else None


def in_a_string(one: Good, rng: random.Random) -> Good | None:
    if one.shape not in QUOTED or "'" in one.text:
        return None
    return replace(one, text=json.dumps(one.text, ensure_ascii=rng.random() < 0.5))


def titled(one: Good, rng: random.Random) -> Good | None:
    return replace(one, text=rng.choice(("Answer: ", "回答：", "Output:\n", "输出：\n")) + one.text)


KINDS: tuple[Callable[[Good, random.Random], Good | None], ...] = (
    *(truncated, repeated, fenced, prose_before, prose_after, single_quotes, full_width, trailing_commas),
    *(missing_comma, wrong_nesting, missing_closer, missing_opener, missing_quote, missing_quotes, duplicate_keys),
    *(huge_numbers, deep, doubled_brackets, odd_space, thoughts, unknown_types, in_a_string, titled),
)


def damaged(count: int, seed: int = 0) -> Iterator[tuple[str, Good, Good]]:
    """(kind, good, damaged), kinds in turn."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        kind = KINDS[made % len(KINDS)]
        one = good(rng)
        broken = kind(one, rng)
        if broken is not None:
            yield kind.__name__, one, broken
            made += 1
