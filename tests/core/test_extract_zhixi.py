"""The zhixi dialect: the Alpaca frame to the character, wordings with slots, tuples there and back, its grammar."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.extract import schema
from core.extract.answer import Found
from core.extract.dialects import zhixi
from core.extract.schema import Task
from tests.core.damage import EN, ZH
from tests.core.gbnf import Grammar
from tests.core.test_grammar import MIXED, SCHEMA, source_of, spans

FRAME = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n"
    "### Response:\n"
)


def test_version_1_prompts_byte_by_byte() -> None:
    assert zhixi.VERSION == 1
    assert zhixi.prompt("ner", EN, "Marie Curie") == FRAME.format(
        "Find the entities in the input text. The entity types are ['person', 'place', 'organisation', 'date of "
        "birth']. Write each one as (entity,entity type), one a line. Where there are none, answer NAN.",
        "Marie Curie",
    )
    assert zhixi.prompt("ee", ZH, "甲骨文裁员") == FRAME.format(
        "请找出输入文本中的事件，事件类型及其论元角色为{'组织关系-裁员': ['裁员方', '裁员人数', '时间'], "
        "'财经/交易-上市': ['上市企业', '融资金额', '地点']}。每个事件单独一行，"
        "写成(触发词,事件类型,[(论元,论元角色)])的形式；没有则回答NAN。",
        "甲骨文裁员",
    )


def test_ends_descriptions_and_examples_reach_the_instruction() -> None:
    told = schema.from_json(
        {
            "relations": [{"name": "born in", "description": "place of  birth", "head": "person", "tail": "place"}],
            "examples": [{"text": "Bo is from Oslo.", "relations": {"born in": [["Bo", "Oslo"]]}}, {"text": "Rain."}],
        },
        "told",
    )
    asked = zhixi.prompt("re", told, "Ann", examples=True)
    assert "Entity types of heads and tails: {'born in': ['person', 'place']}." in asked
    assert "What they mean: {'born in': 'place of birth'}." in asked
    assert "“Bo is from Oslo.” gives:\n(Bo,born in,Oslo)" in asked
    assert "“Rain.” gives:\nNAN" in asked
    assert "Rain" not in zhixi.prompt("re", told, "Ann")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", schema.TASKS)
def test_every_wording_names_the_schema_and_the_format(language: str, task: Task) -> None:
    made = EN if language == "en" else ZH
    wordings = zhixi.WORDINGS[language][task]
    assert len(set(wordings)) == len(wordings) >= 3
    prompts = {zhixi.prompt(task, made, "x", seed=seed) for seed in range(10)}
    assert len(prompts) == len(wordings)
    for prompt in prompts:
        assert zhixi.FORMATS[language][task] in prompt
        assert "NAN" in prompt
        assert all(repr(one.name) in prompt for one in made.types(task))


TOLD: dict[Task, tuple[Found, ...]] = {
    "ner": (Found("person", "Marie Curie"), Found("place", "Warsaw (Poland)"), Found("person", "Smith, John")),
    "re": (Found("born in", "Marie, Curie", (("", "Warsaw, (Poland)"),)), Found("per:alias", "Bo", (("", "B."),))),
    "ee": (Found("award", "won", (("winner", "Marie"), ("prize", "a, b"))), Found("move", "went")),
}


@pytest.mark.parametrize("task", schema.TASKS)
def test_answers_give_back_their_records(task: Task) -> None:
    reading = zhixi.read(task, EN, zhixi.write(task, EN, TOLD[task]))
    assert (reading.found, reading.readable, reading.repaired, reading.dropped) == (TOLD[task], True, 0, 0)
    nothing = zhixi.read(task, EN, zhixi.write(task, EN, ()))
    assert (nothing.found, nothing.readable, nothing.repaired) == ((), True, 0)


def test_answers_byte_by_byte() -> None:
    assert zhixi.write("ner", EN, TOLD["ner"]) == "(Marie Curie,person)\n(Warsaw (Poland),place)\n(Smith, John,person)"
    assert zhixi.write("re", EN, TOLD["re"][1:]) == "(Bo,per-alias,B.)"
    assert zhixi.write("ee", EN, TOLD["ee"]) == "(won,award,[(Marie,winner),(a, b,prize)])\n(went,move,[])"
    assert zhixi.write("ee", EN, ()) == "NAN"


def test_two_records_on_a_line_are_two_and_repaired() -> None:
    reading = zhixi.read("re", EN, "(a,born in,b)(c,works for,d)")
    assert [(one.text, one.parts[0][1]) for one in reading.found] == [("a", "b"), ("c", "d")]
    assert reading.repaired
    cut = zhixi.read("re", EN, "(a,born in,b)\n(c,works for,d", cut=True)
    assert ([one.text for one in cut.found], cut.dropped) == (["a"], 1)


def test_a_role_may_be_called_as_an_event_is() -> None:
    made = schema.from_json(
        {"events": [{"name": "discovery", "roles": ["discoverer", "discovery"]}, {"name": "move", "roles": ["who"]}]},
        "x",
    )
    found = (Found("discovery", "found", (("discoverer", "Ann"), ("discovery", "zinc"))), Found("move", "went"))
    answer = zhixi.write("ee", made, found)
    assert (zhixi.read("ee", made, answer).found, zhixi.read("ee", made, answer).repaired) == (found, 0)
    assert zhixi.read("ee", made, answer.replace("\n", "")).found == found


def test_an_instruction_of_ones_own_is_told_what_it_lacks_and_no_more() -> None:
    own = zhixi.prompt("ner", ZH, "胡适", instruction="只找在世的人。")
    assert "### Instruction:\n只找在世的人。\n实体类型限于['人物', " in own
    assert "写成(实体,实体类型)的形式" in own
    slots = zhixi.prompt("ner", EN, "Ann", instruction="List {schema} as {format}.")
    assert slots == FRAME.format(
        "List ['person', 'place', 'organisation', 'date of birth'] as (entity,entity type).", "Ann"
    )
    whole = "已知候选的关系列表：['出生地', '毕业院校', '配偶', '成立日期']，请按照(头实体,关系,尾实体)的格式回答。"
    assert zhixi.prompt("re", ZH, "胡适", instruction=whole) == FRAME.format(whole, "胡适")


def test_decoding_is_its_authors() -> None:
    usual = zhixi.decoding(2000, beams=True)
    assert (usual.beams, usual.temperature, usual.repetition_penalty, usual.max_tokens) == (2, 0.2, 1.3, 512)
    assert zhixi.decoding(100, beams=False) == usual.model_copy(update={"beams": 1, "max_tokens": 100})


def test_a_grammar_by_hand() -> None:
    source = source_of("Ann Lee moved to Oslo.")
    ner = Grammar(zhixi.grammar("ner", SCHEMA, source)).takes
    assert ner("NAN")
    assert ner("(Ann Lee,person)\n(Oslo,place)")
    for wrong in (
        "(Bo,person)",
        "(Ann,animal)",
        "(Ann,person) (Oslo,place)",
        "(Ann,person)\n",
        "NAN\n(Ann,person)",
        "",
    ):
        assert not ner(wrong), wrong
    assert Grammar(zhixi.grammar("re", SCHEMA, source)).takes("(Ann,per-spouse,Lee)\n(Ann Lee,born in,Oslo)")
    ee = Grammar(zhixi.grammar("ee", SCHEMA, source)).takes
    assert ee("(moved,move,[(Ann Lee,who),(Oslo,to)])\n(moved,rest,[])")
    assert not ee("(moved,rest,[(Ann,who)])")


@settings(max_examples=60, deadline=None)
@given(MIXED, st.data())
def test_every_allowed_span_is_taken_by_the_grammar(text: str, data: st.DataObject) -> None:
    source = source_of(text)
    known = spans(source)
    takes = {task: Grammar(zhixi.grammar(task, SCHEMA, source)).takes for task in schema.TASKS}
    assert all(take("NAN") for take in takes.values())
    if not known:
        return
    one = st.sampled_from(known)
    first, second = data.draw(one), data.draw(one)
    assert takes["ner"](zhixi.write("ner", SCHEMA, [Found("place", first), Found("person", second)]))
    assert takes["re"](zhixi.write("re", SCHEMA, [Found("per:spouse", first, (("", second),))]))
    assert takes["ee"](zhixi.write("ee", SCHEMA, [Found("move", first, (("to", second), ("who", first)))]))
