"""Salvage: every answer shape that models are known for, damage of all kinds, and a bound on the time it takes."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.extract import schema
from core.extract.answer import Found
from core.extract.salvage import read, salvage
from core.extract.schema import Task
from tests.core import damage
from tests.core.damage import EN, KG, ZH

BIRTH, SPOUSE = Found("出生地", "甲", (("", "乙"),)), Found("配偶", "丙", (("", "丁"),))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("(甲,出生地,乙)", [BIRTH]),
        ("（甲，出生地，乙）；（丙，配偶，丁）", [BIRTH, SPOUSE]),
        ("(甲,出生地,乙)(丙,配偶,丁)", [BIRTH, SPOUSE]),
        ("(甲,出生地,乙)\n(丙,配偶,丁)", [BIRTH, SPOUSE]),
        ("头实体是甲,关系是出生地,尾实体是乙", [BIRTH]),
        ("头实体是甲，关系是出生地，尾实体是乙；头实体是丙，关系是配偶，尾实体是丁。", [BIRTH, SPOUSE]),
        ("出生地：甲,乙", [BIRTH]),
        ("出生地：甲,乙\n配偶：丙,丁", [BIRTH, SPOUSE]),
        ("{'head': '甲', 'relation': '出生地', 'tail': '乙'}", [BIRTH]),
        (
            "{'head': '甲', 'relation': '出生地', 'tail': '乙'}\n{'head': '丙', 'relation': '配偶', 'tail': '丁'}",
            [BIRTH, SPOUSE],
        ),
        (
            '[{"head": "甲", "relation": "出生地", "tail": "乙"}, {"head": "丙", "relation": "配偶", "tail": "丁"}]',
            [BIRTH, SPOUSE],
        ),
        ("输入中包含的关系三元组是：出生地：甲，乙；配偶：丙，丁。", [BIRTH, SPOUSE]),
        ("[('甲', '出生地', '乙')]", [BIRTH]),
        ('{"出生地": [{"subject": "甲", "object": "乙"}], "配偶": []}', [BIRTH]),
        ('{"出生地": [{"head": "甲", "tail": "乙"}], "配偶": [["丙", "丁"]]}', [BIRTH, SPOUSE]),
        ("出生地: 甲 | 乙", [BIRTH]),
        ("(甲（乙）,出生地,丙(丁))", [Found("出生地", "甲（乙）", (("", "丙(丁)"),))]),
        ("(Smith, John,出生地,Washington, D.C.)", [Found("出生地", "Smith, John", (("", "Washington, D.C."),))]),
        *((nothing, []) for nothing in ("NAN", "[]", "{}", "", "无", '{"出生地": [], "配偶": []}', "(甲,出生地,NAN)")),
    ],
)
def test_relations_in_every_shape(answer: str, found: list[Found]) -> None:
    reading = read("re", ZH, answer)
    assert (list(reading.found), reading.readable, reading.dropped) == (found, True, 0)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("(胡,人物)", ["胡"]),
        ("（胡，人物）；（李，人物）", ["胡", "李"]),
        ("(人物,胡)", ["胡"]),
        ("实体是胡,实体类型是人物", ["胡"]),
        ("人物：胡", ["胡"]),
        ("{'胡': '人物'}", ["胡"]),
        ("{'人物': ['胡', '李'], '时间': []}", ["胡", "李"]),
        ("[{'entity': '胡', 'type': '人物'}]", ["胡"]),
        ("[('胡', '人物'), ('李', '人物')]", ["胡", "李"]),
        ('"{\\"人物\\": [\\"胡\\"]}"', ["胡"]),
        ('{"人物": ["\\u80e1", "\\ud83d\\ude00"]}', ["胡", "😀"]),
        ('{"人物": [{"name": "胡", "role": "x"}]}', ["胡"]),
        *((nothing, []) for nothing in ("NAN", "人物：NAN", '{"人物": []}', '{"人物": "NAN"}', "(NAN,人物)")),
    ],
)
def test_entities_in_every_shape(answer: str, found: list[str]) -> None:
    reading = read("ner", ZH, answer)
    assert ([one.text for one in reading.found], reading.readable) == (found, True)
    assert {one.type for one in reading.found} <= {"人物"}


LAYOFF = Found("组织关系-裁员", "裁员", (("裁员方", "甲"), ("裁员人数", "900人")))


@pytest.mark.parametrize(
    "answer",
    [
        "(裁员,组织关系-裁员,[(甲,裁员方),(900人,裁员人数)])",
        "（裁员，组织关系-裁员，［（甲，裁员方），（900人，裁员人数）］）",
        "(裁员,组织关系-裁员,[(裁员方,甲),(裁员人数,900人)])",
        "(裁员,组织关系-裁员,甲#裁员方,900人#裁员人数)",
        "(裁员,组织关系-裁员,裁员方#甲,裁员人数#900人)",
        "(裁员,组织关系-裁员,甲#裁员方#900人#裁员人数)",
        "[('裁员', '组织关系-裁员', [('甲', '裁员方'), ('900人', '裁员人数')])]",
        "[('裁员', '组织关系-裁员', ['裁员方#甲', '900人#裁员人数'])]",
        '{"组织关系-裁员": [{"trigger": "裁员", "arguments": {"裁员方": "甲", "裁员人数": ["900人"], "时间": "NAN"}}]}',
        '[{"event_trigger": "裁员", "event_type": "组织关系-裁员", "arguments": '
        '[{"argument": "甲", "role": "裁员方"}, {"argument": "900人", "role": "裁员人数"}]}]',
        "组织关系-裁员: 裁员 | 裁员方: 甲 | 裁员人数: 900人",
        '{"type": "组织关系-裁员", "trigger": "裁员", "裁员方": "甲", "裁员人数": 900人}',
    ],
)
def test_events_in_every_shape_and_both_orders_of_arguments(answer: str) -> None:
    reading = read("ee", ZH, answer)
    assert (reading.found, reading.readable, reading.dropped) == ((LAYOFF,), True, 0)


def test_attributes_belong_to_their_entities() -> None:
    answer = '{"人物": {"明治天皇": {"别名": "睦仁", "父母": ["孝明天皇", "英照皇太后"]}, "李": {"职业": "NAN"}}}'
    told = [(one.text, one.type, one.parts[0][1]) for one in read("re", KG, answer).found]
    assert told == [("明治天皇", "别名", "睦仁"), ("明治天皇", "父母", "孝明天皇"), ("明治天皇", "父母", "英照皇太后")]
    assert read("re", KG, '{"人物": {"别名": "睦仁"}}').found == ()  # nobody says whose


def test_what_was_done_to_an_answer_is_told_by_kind() -> None:
    made = salvage("ner", EN, 'Here you are:\n```json\n{"person": ["Ann", "Bo",], "animal": ["cat"]\n```')
    assert [one.text for one in made.found] == ["Ann", "Bo"]
    assert made.repairs == {"fence": 2, "comma": 1, "brackets": 1, "prose": 1}
    assert (made.dropped, made.left_out, made.reading.repaired) == (1, ("cat",), 5)


@pytest.mark.parametrize(
    "answer", ["I can not do that.", "????", '{"error": "no idea"}', "<html>", "(cat,animal)", "3.14"]
)
def test_what_can_not_be_read_is_not_the_same_as_nothing(answer: str) -> None:
    for task in schema.TASKS:
        made = salvage(task, EN, answer)
        assert (made.found, made.readable) == ((), False), answer


def check(count: int, seed: int) -> None:
    wanted: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    invented, examples = 0, []
    for kind, good, broken in damage.damaged(count, seed):
        got = set(salvage(broken.task, broken.schema, broken.text, cut=broken.cut).found)
        lost, extra = set(broken.records) - got, got - set(good.records)
        if broken.cut:  # an event may come with the arguments that it had when it was cut
            extra = {one for one in extra if not any(_begins(one, record) for record in good.records)}
        wanted[kind] += len(broken.records)
        missing[kind] += len(lost)
        invented += len(extra)
        if lost or extra:
            examples.append((kind, good.shape, broken.text[-300:], lost, extra))
    assert len(wanted) >= 20
    share = 1 - sum(missing.values()) / sum(wanted.values())
    print(f"{count} answers, {sum(wanted.values())} records, {share:.4%} recovered, {invented} invented")
    assert share >= 0.98, examples[:5]
    assert invented == 0, [one for one in examples if one[4]][:5]


def _begins(one: Found, whole: Found) -> bool:
    return (one.type, one.text) == (whole.type, whole.text) and set(one.parts) <= set(whole.parts)


def test_records_survive_twenty_kinds_of_damage_and_none_is_invented() -> None:
    check(500, seed=2026)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_records_survive_in_five_thousand_damaged_answers(seed: int) -> None:
    check(5000, seed)


def test_good_answers_in_all_shapes_lose_nothing() -> None:
    import random

    rng = random.Random(5)
    for _ in range(200):
        one = damage.good(rng)
        made = salvage(one.task, one.schema, one.text)
        assert set(made.found) == set(one.records), one.text
        assert made.dropped == 0


def test_a_role_that_is_called_as_an_event_type_makes_no_event_of_its_own() -> None:
    made = schema.from_json({"events": [{"name": "move", "roles": ["who", "move"]}]}, "made")
    whole = Found("move", "went", (("who", "Ann"), ("move", "Oslo")))
    for answer in (
        "(went,move,[(Ann,who),(Oslo,move)])",
        "(went,move,[(Ann,who),(Oslo,move])",
        '{"move": [{"trigger": "went", "arguments": {"who": "Ann", "move": "Oslo"}}]}',
    ):
        assert salvage("ee", made, answer).found == (whole,), answer
    lost = salvage("ee", made, '{"move": [{"trigger": "went"}, "arguments": {"who": "Ann"}}, "move": "Oslo"}]}')
    assert {one.text for one in lost.found} <= {"went"}


MALFORMED = (
    *('[1,]', '["a",,"b"]', '[,1]', '{"a" "b"}', '{a: "b"}', "{'a':0}", '{"a":"b"}#', '["a\x00a"]', '["\\uD800"]'),
    *("[NaN]", "[1e1000000]", "[" * 2_000, '{"a":' * 2_000, '[""]]', '{"":""', "\ufeff{}", "[\\", '["\\', '["\\u'),
    *('{"a":[', "nul", '"', '{"a":{"b":"c"', "]" * 50, "[{}", ":", ",", "{,}", "'", "“", "（", "｛“", "\\u0000"),
    *("```", "<think>", "-" * 2000, "||", ": |"),
    '{"person": {"person": {"person": ["a"]}}}',
)  # fmt: skip


@pytest.mark.parametrize("answer", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_files_are_survived(answer: str) -> None:
    for task in schema.TASKS:
        for made in (EN, ZH):
            salvage(task, made, answer)
            salvage(task, made, answer, cut=True)
            salvage(task, made, f'{{"person": ["Ann", {answer}')
    salvage("re", KG, '{"人物": ' + answer)


ANY = st.lists(
    st.sampled_from(
        [
            *"{}[]()（）【】｛｝\"'“”‘’,，:：;；|#\\ \n.-0aé中",
            *("person", "人物", "出生地", "head", "trigger", "NAN", "裁员方", "born in"),
        ]
    ),
    max_size=80,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(schema.TASKS), st.one_of(ANY, st.text()), st.booleans())
def test_it_never_raises(task: Task, answer: str, cut: bool) -> None:
    for made in (EN, ZH):
        got = salvage(task, made, answer, cut=cut)
        assert {one.type for one in got.found} <= {one.name for one in made.types(task)}
    salvage("re", KG, answer, cut=cut)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), max_size=6))
def test_valid_json_says_what_it_says_whatever_the_words(words: list[str]) -> None:
    """Quotes, brackets and commas inside strings are words, not structure."""
    made = salvage("ner", EN, json.dumps({"person": words, "place": []}, ensure_ascii=False))
    assert len(made.found) <= len(words)
    assert not made.repairs or set(made.repairs) == {"repeats"}


def seconds(task: Task, made: schema.Schema, answer: str) -> float:
    began = time.process_time()
    salvage(task, made, answer, cut=True)
    return time.process_time() - began


HARD = {
    "json": '{"born in": [' + '{"subject": "Ann Lee", "object": "Oslo"}, ' * 24_000,
    "python": "[" + "{'head': 'Ann', 'relation': 'born in', 'tail': 'Oslo'}, " * 18_000,
    "tuples": "(Ann,born in,Oslo)" * 55_000,
    "tuple lines": "(Ann,born in,Oslo)\n" * 52_000,
    "events": "(won,award,[(Ann,winner)])" * 38_000,
    "hashes": "(won,award," + "Ann#winner," * 90_000,
    "studio": "born in: " + "Ann | Oslo || " * 70_000,
    "opening": "[" * 1_000_000,
    "keys": '{"a":' * 200_000,
    "round": "(" * 999_990 + "a,person)",
    "quotes": '"' * 1_000_000,
    "half quotes": '["a "b ' * 140_000,
    "apostrophes": "it's " * 200_000,
    "new lines": '["' + "\n" * 1_000_000,
    "spaces": '["' + " " * 1_000_000,
    "backslashes": '["' + "\\" * 1_000_000,
    "one word": "[" + "a" * 1_000_000,
    "one number": '{"person": [' + "9" * 1_000_000 + "]}",
    "prose": "The quick brown fox, it jumps: over the (lazy) dog. " * 19_000,
    "colons": "a:" * 500_000,
    "types": ",person" * 140_000,
    "fields": "头实体是" * 250_000,
    "full width": "｛“人物”：［“甲”］｝" * 77_000,
    "thoughts": "<think>" * 140_000,
    "fences": "```" * 330_000,
}


@pytest.mark.soak
@pytest.mark.parametrize("name", HARD)
def test_a_megabyte_takes_two_seconds_at_most(name: str) -> None:
    for task, made in (("ner", EN), ("re", EN), ("ee", EN), ("re", KG)):
        assert seconds(task, made, HARD[name]) <= 2, task  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HARD)
def test_hard_inputs_come_back_in_time_that_a_person_waits(name: str) -> None:
    """A fiftieth of the megabyte: quadratic time would take minutes (the exact bound is soak's)."""
    for task, made in (("ner", EN), ("re", EN), ("ee", EN)):
        assert seconds(task, made, HARD[name][-20_000:]) <= 20, task  # type: ignore[arg-type]
