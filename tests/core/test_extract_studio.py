"""The studio dialect: its bytes, its round trip, and what it makes of answers that don't keep to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.extract import schema
from core.extract.answer import Found
from core.extract.dialects import studio
from core.extract.ground import Finder
from core.extract.normal import normalise, tidy
from core.extract.tasks import ee, ner
from core.extract.tasks import re as relations
from core.records import Entity
from tests.core.gbnf import Grammar
from tests.core.test_grammar import MIXED, source_of, spans

EN = schema.from_json(
    {
        "language": "en",
        "entities": [{"name": "person", "description": "a named human being"}, "place"],
        "relations": [{"name": "born in", "description": "place of birth", "head": "person", "tail": "place"}, "near"],
        "events": [
            {
                "name": "award",
                "description": "somebody wins",
                "roles": ["winner", {"name": "prize", "description": "what"}],
            }
        ],
    },
    "en",
)
ZH = schema.from_json({"language": "zh", "entities": [{"name": "人物", "description": "有名有姓的人"}, "地点"]}, "zh")
BOTH = schema.from_json({**EN.model_dump(mode="json"), "relations": ["born in", "per:spouse"]}, "both")

PROMPTS = {
    "ner": (
        "Find the entities in the text. Answer with one line for each type that occurs: type: entity || entity\n"
        "Copy entities exactly from the text. If there are none, answer: none\n"
        "Types:\n- person: a named human being\n- place\nText: Marie Curie\nAnswer:\n"
    ),
    "re": (
        "Find the relations in the text. Answer with one line for each relation that occurs: "
        "relation: head | tail || head | tail\n"
        "Copy heads and tails exactly from the text. If there are none, answer: none\n"
        "Relations:\n- born in (person | place): place of birth\n- near\nText: Marie Curie\nAnswer:\n"
    ),
    "ee": (
        "Find the events in the text. Answer with one line for each type that occurs: "
        "type: trigger | role: argument || trigger | role: argument\n"
        "Copy triggers and arguments exactly from the text. If there are none, answer: none\n"
        "Types:\n- award: somebody wins\n  - winner\n  - prize: what\nText: Marie Curie\nAnswer:\n"
    ),
}


@pytest.mark.parametrize("task", schema.TASKS)
def test_version_1_prompts_byte_by_byte(task: schema.Task) -> None:
    """Adapters are trained on these bytes. If this fails, make a new VERSION and pin it beside this one."""
    assert studio.VERSION == 1
    assert studio.prompt(task, EN, "Marie Curie") == PROMPTS[task]


def test_version_1_chinese_prompt_byte_by_byte() -> None:
    assert studio.prompt("ner", ZH, "屠呦呦") == (
        "找出文本中的实体。出现的每个类型写一行：类型: 实体 || 实体\n实体须与原文一字不差。没有则回答：none\n"
        "类型：\n- 人物: 有名有姓的人\n- 地点\n文本：屠呦呦\n回答：\n"
    )


def test_version_1_answers_byte_by_byte() -> None:
    told = [Found("place", "Paris"), Found("person", "Marie Curie"), Found("person", "Pierre")]
    assert studio.write("ner", EN, told) == "person: Marie Curie || Pierre\nplace: Paris"
    assert studio.write("re", EN, [Found("born in", "Marie", (("", "Warsaw"),))]) == "born in: Marie | Warsaw"
    event = Found("award", "won", (("winner", "Marie"), ("prize", "Nobel Prize")))
    assert studio.write("ee", EN, [event]) == "award: won | winner: Marie | prize: Nobel Prize"
    assert studio.write("ner", EN, []) == "none"


@settings(max_examples=150, deadline=None)
@given(MIXED, st.data())
def test_spans_written_then_read_and_grounded_are_the_same_places(text: str, data: st.DataObject) -> None:
    source = source_of(text)
    known = spans(source)
    if not known:
        return
    finder = Finder(source, text)
    places = sorted(
        {place for span in data.draw(st.lists(st.sampled_from(known), max_size=5)) for place in finder.places(span)[:1]}
    )
    apart = [place for number, place in enumerate(places) if all(place[0] >= before[1] for before in places[:number])]
    gold = [Entity(*_cut(text, source.original(*place))) for place in apart]
    answer = studio.write("ner", EN, [Found("person", tidy(one.text)) for one in gold])
    reading = studio.read("ner", EN, answer)
    assert (reading.repaired, reading.dropped, reading.readable) == (0, 0, True)
    made = ner.ground(reading.found, finder)
    assert [one.text for one in made] == [one.text for one in gold]
    assert all(text[one.start : one.end] == one.text for one in made)


def _cut(text: str, place: tuple[int, int]) -> tuple[str, str, int, int]:
    return (text[place[0] : place[1]], "person", *place)


@settings(max_examples=100, deadline=None)
@given(MIXED, st.data())
def test_relations_and_events_written_then_read_are_the_same(text: str, data: st.DataObject) -> None:
    known = spans(source_of(text))
    if not known:
        return
    one = st.sampled_from(known)
    pairs = data.draw(st.lists(st.tuples(one, one), max_size=4))
    told = tuple(Found("per:spouse", head, (("", tail),)) for head, tail in pairs)
    reading = studio.read("re", BOTH, studio.write("re", BOTH, told))
    assert (reading.found, reading.repaired, reading.dropped) == (told, 0, 0)
    events = tuple(Found("award", head, (("winner", tail),)) for head, tail in pairs)
    reading = studio.read("ee", BOTH, studio.write("ee", BOTH, events))
    assert (reading.found, reading.repaired, reading.dropped) == (events, 0, 0)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(schema.TASKS), st.one_of(st.text(), MIXED, st.sampled_from(list(PROMPTS.values()))))
def test_reading_never_raises(task: schema.Task, answer: str) -> None:
    studio.read(task, EN, answer)
    studio.read(task, EN, f"person: {answer}\n{answer}", cut=True)
    studio.read(task, EN, '{"person": ' + answer)


MARIE = (Found("person", "Marie Curie"),)


@pytest.mark.parametrize(
    "answer",
    [
        "```\nperson: Marie Curie\n```",
        "Answer: person: Marie Curie",
        "Sure! Here is what I found:\n\nperson: Marie Curie\n\nI hope this helps.",
        "- Person: Marie Curie",
        "**person**: Marie Curie",
        "person：Marie Curie",
        "person:Marie Curie",
        "<think>hm: hm</think>person: Marie Curie",
        '{"person": ["Marie Curie"], "place": []}',
        '```json\n{"Person": "Marie Curie"}\n```',
        '[{"type": "person", "text": "Marie Curie"}]',
    ],
)
def test_answers_beside_the_format_are_put_right_and_counted(answer: str) -> None:
    reading = studio.read("ner", EN, answer)
    assert reading.found == MARIE
    assert reading.readable
    assert reading.repaired > 0


def test_full_width_bars_and_missing_spaces_are_read() -> None:
    reading = studio.read("re", EN, "born in: Marie｜Warsaw||Pierre | Paris")
    assert [(one.text, one.parts[0][1]) for one in reading.found] == [("Marie", "Warsaw"), ("Pierre", "Paris")]
    as_json = studio.read("re", EN, '{"born in": [["Marie", "Warsaw"], {"head": "Pierre", "tail": "Paris"}, ["odd"]]}')
    assert as_json.found == reading.found
    assert as_json.dropped == 1


def test_types_and_roles_that_nobody_asked_for_are_dropped_and_counted() -> None:
    reading = studio.read("ner", EN, "person: Marie Curie\nanimal: cat || dog")
    assert (reading.found, reading.dropped) == (MARIE, 2)
    event = studio.read("ee", EN, "award: won | winner: Marie | mood: glad")
    assert (event.found[0].parts, event.dropped) == ((("winner", "Marie"),), 1)


def test_nothing_found_and_could_not_read_are_different() -> None:
    for nothing in ("none", "None.", "无", "", "[]", "{}", "person: none"):
        assert studio.read("ner", EN, nothing).readable, nothing
    for unreadable in ("Marie Curie was a physicist.", "I am sorry, I can't do that: it is hard", "????"):
        reading = studio.read("ner", EN, unreadable)
        assert not reading.readable, unreadable
        assert reading.found == ()


def test_a_cut_answer_loses_its_last_record_and_says_so() -> None:
    reading = studio.read("ner", EN, "person: Marie Curie || Pier", cut=True)
    assert (reading.found, reading.dropped) == (MARIE, 1)


# Grounding


def ground(task, text: str, found: list[Found]):
    return task.ground(found, Finder(normalise(text), text))


def test_the_nth_mention_is_the_nth_place() -> None:
    made = ground(ner, "Li met Li and Lina.", [Found("person", "Li"), Found("person", "Li"), Found("person", "Li")])
    assert [(one.start, one.end) for one in made] == [(0, 2), (7, 9)]


def test_words_come_before_pieces_of_words() -> None:
    made = ground(ner, "Linda saw Lin.", [Found("person", "Lin")])
    assert (made[0].start, made[0].end) == (10, 13)


def test_a_relation_is_put_where_its_ends_are_closest() -> None:
    text = "Anna likes tea. Later Bo met Anna near Oslo. Oslo is far."
    made = ground(relations, text, [Found("near", "Anna", (("", "Oslo"),))])
    assert (made[0].head.start, made[0].tail.start) == (29, 39)


def test_arguments_are_put_near_their_trigger() -> None:
    text = "Bo won a cup. Ann won a cup."
    made = ground(ee, text, [Found("award", "won", (("prize", "cup"),)), Found("award", "won", (("prize", "cup"),))])
    assert [(one.trigger.start, one.arguments[0].start) for one in made] == [(3, 9), (18, 24)]


@pytest.mark.parametrize(
    ("text", "said", "found"),
    [
        ("MARIE  curie wrote", "Marie Curie", "MARIE  curie"),
        ("ＡＢＣ公司", "ABC公司", "ＡＢＣ公司"),
        ("Marie\r\nCurie wrote", "Marie Curie", "Marie\r\nCurie"),
        ("👩‍👩‍👧 Zoe\u0301 came", "Zoe\u0301", "Zoe\u0301"),
    ],
)
def test_the_records_text_is_the_documents(text: str, said: str, found: str) -> None:
    made = ground(ner, text, [Found("person", said)])[0]
    assert made.text == found
    assert text[made.start : made.end] == found


def test_what_is_not_there_is_kept_without_a_place_and_ways_of_saying_none_are_not() -> None:
    made = ground(ner, "Marie", [Found("person", "Pierre"), Found("person", "none")])
    assert [(one.text, one.start) for one in made] == [("Pierre", None)]


@pytest.mark.parametrize("ready", schema.ready_made(), ids=lambda made: made.name)
def test_the_examples_of_ready_made_schemas_are_true_to_the_format(ready: schema.Schema) -> None:
    for example in ready.examples:
        source = source_of(example.text)
        allowed = set(spans(source))
        for task in schema.TASKS:
            known = {made.name for made in ready.types(task)}
            said = studio._said(task, example)
            assert {one.type for one in said} <= known
            words = [one.text for one in said] + [text for one in said for _, text in one.parts]
            assert set(words) <= allowed, set(words) - allowed
            answer = studio.write(task, ready, said)
            assert Grammar(studio.grammar(task, ready, source)).takes(answer), answer
            assert studio.read(task, ready, answer).repaired == 0


def test_examples_are_shown_before_the_text_byte_by_byte() -> None:
    shown = schema.from_json(
        {
            **EN.model_dump(mode="json"),
            "examples": [{"text": "Rain."}, {"text": "Bo  is\nin Oslo.", "entities": {"place": ["Oslo"]}}],
        },
        "shown",
    )
    head, text = PROMPTS["ner"].split("\nText: ")
    middle = "\nText: Rain.\nAnswer:\nnone\n\nText: Bo is in Oslo.\nAnswer:\nplace: Oslo\n"
    assert studio.prompt("ner", shown, "Marie Curie", examples=True) == f"{head}{middle}\nText: {text}"
    assert studio.prompt("ner", shown, "Marie Curie") == PROMPTS["ner"]


def test_an_instruction_of_ones_own_replaces_the_first_sentence_or_all_of_it() -> None:
    usual = studio.prompt("ner", EN, "Ann")
    own = studio.prompt("ner", EN, "Ann", instruction="Only living people. ")
    assert own == usual.replace("Find the entities in the text. ", "Only living people.\n")
    whole = studio.prompt("ner", EN, "Ann", instruction="As lines {format}.")
    assert whole.startswith("As lines type: entity || entity.\nTypes:\n- ")


# The schema


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "has no types"),
        ({"entities": ["a", "A"]}, "twice"),
        ({"entities": ["a:b", "a|b", "a-b"]}, "twice"),
        ({"entities": ["  "]}, "without a name"),
        ({"entities": [{"description": "x"}]}, "not well-formed"),
        ({"events": [{"name": "e", "roles": ["r", "r"]}]}, "twice"),
        ("text", "not well-formed"),
    ],
)
def test_schemas_that_can_not_be_asked_for_are_refused(data: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        schema.from_json(data, "bad")


def test_a_schema_file_is_loaded_by_path_and_what_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    schema.save(EN, path)
    assert schema.load(path) == EN
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="can't be read"):
        schema.load(path)
    with pytest.raises(UserError, match="science-zh"):
        schema.load("missing")
    with pytest.raises(UserError, match="no types for the task ee"):
        schema.need(ZH, "ee")


def test_types_are_cut_into_parts_and_a_short_last_part_joins_the_one_before() -> None:
    many = schema.from_json({"events": [f"e{number}" for number in range(49)]}, "many")
    assert [len(part.events) for part in many.parts("ee", 4)] == [4] * 11 + [5]
    assert [len(part.events) for part in many.parts("ee", 0)] == [49]
