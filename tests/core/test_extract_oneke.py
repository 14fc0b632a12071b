"""The oneke dialect against IEPile's own rows: the same prompts byte by byte, the same answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.extract import schema
from core.extract.answer import Found
from core.extract.dialects import oneke
from core.extract.schema import Schema, Task
from tests.conftest import PROJECT
from tests.core.gbnf import Grammar
from tests.core.test_grammar import MIXED, source_of, spans

# formats of other people's files, under a licence that keeps them out of this repository
IEPILE = Path(os.environ.get("KNOWLM_IEPILE", PROJECT.parent / "shared" / "data" / "iepile"))
TASK: dict[str, Task] = {"NER": "ner", "RE": "re", "SPO": "re", "EE": "ee", "KG": "re"}
needs_iepile = pytest.mark.skipif(not IEPILE.is_dir(), reason="IEPile's samples are not on this machine")


def rows(kind: str) -> Iterator[tuple[Schema, str, str, str]]:
    """(schema, text, instruction, output) of each training row of a kind."""
    for line in (IEPILE / f"{kind}.train.json").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        asked = json.loads(row["instruction"])
        yield of(kind, asked["schema"]), asked["input"], row["instruction"], row["output"]


def of(kind: str, listed: list) -> Schema:
    data: dict = {"language": "zh"}
    if kind == "NER":
        data["entities"] = listed
    elif kind == "RE":
        data["relations"] = listed
    elif kind == "SPO":
        data["relations"] = [
            {"name": one["predicate"], "head": one["subject_type"], "tail": one["object_type"]} for one in listed
        ]
    elif kind == "EE":
        data["events"] = [{"name": one["event_type"], "roles": one["arguments"]} for one in listed]
    else:
        data["relations"] = [
            {"name": attribute, "head": one["entity_type"]} for one in listed for attribute in one["attributes"]
        ]
    return schema.from_json(data, kind)


@needs_iepile
@pytest.mark.parametrize("kind", TASK)
def test_prompts_are_iepiles_byte_by_byte(kind: str) -> None:
    for made, text, instruction, _ in rows(kind):
        assert oneke.kind_of(TASK[kind], made) == kind
        assert oneke.inside(TASK[kind], made, text) == instruction
        assert oneke.prompt(TASK[kind], made, text) == (
            f"[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\n{instruction} [/INST]"
        )


@needs_iepile
@pytest.mark.parametrize("kind", TASK)
def test_outputs_read_and_written_again_say_the_same(kind: str) -> None:
    found = 0
    for made, _, _, output in rows(kind):
        reading = oneke.read(TASK[kind], made, output)
        assert (reading.readable, reading.repaired, reading.dropped) == (True, 0, 0)
        again = oneke.write(TASK[kind], made, reading.found)
        assert oneke.read(TASK[kind], made, again) == reading
        # the sample of RE still writes head and tail, as nothing else does
        told = output.replace('{"head"', '{"subject"').replace('"tail"', '"object"') if kind == "RE" else output
        assert again == told
        found += len(reading.found)
    assert found >= {"NER": 3, "RE": 9, "SPO": 6, "EE": 8, "KG": 30}[kind]


@needs_iepile
@pytest.mark.parametrize("kind", TASK)
def test_the_grammar_takes_iepiles_own_answers_where_they_are_in_the_text(kind: str) -> None:
    taken = 0
    for made, text, _, output in rows(kind):
        source = source_of(text)
        if kind == "RE":
            output = output.replace('{"head"', '{"subject"').replace('"tail"', '"object"')
        texts = {
            word for one in oneke.read(TASK[kind], made, output).found for word in (one.text, *dict(one.parts).values())
        }
        if texts <= set(spans(source)) and (kind != "NER" or output.count('"') <= 2 * len(made.entities) + 2):
            assert Grammar(oneke.grammar(TASK[kind], made, source)).takes(output), output
            taken += bool(texts)
    assert taken >= 1


ENGLISH = schema.from_json(
    {
        "entities": ["person", "place", 'odd "name"'],
        "relations": ["born in", "per:spouse"],
        "events": [{"name": "move", "roles": ["who", "to"]}, {"name": "rest", "roles": []}],
    },
    "test",
)
ATTRIBUTES = schema.from_json(
    {"relations": [{"name": name, "head": "person"} for name in ("alias", "parent", "office")]}, "attributes"
)


def test_english_prompts_byte_by_byte() -> None:
    assert oneke.prompt("ner", ENGLISH, 'He said "no"') == (
        "[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\n"
        '{"instruction": "You are an expert in named entity recognition. Please extract entities that match the schema '
        "definition from the input. Return an empty list if the entity type does not exist. Please respond in the "
        'format of a JSON string.", "schema": ["person", "place", "odd \\"name\\""], '
        '"input": "He said \\"no\\""} [/INST]'
    )
    assert '"schema": ["born in", "per:spouse"]' in oneke.prompt("re", ENGLISH, "x")
    assert oneke.inside("ee", ENGLISH, "x").startswith('{"instruction": "You are an expert in event extraction. ')
    assert '"schema": [{"entity_type": "person", "attributes": ["alias", "parent", "office"]}]' in oneke.prompt(
        "re", ATTRIBUTES, "x"
    )


def test_descriptions_and_examples_have_their_place() -> None:
    told = schema.from_json(
        {
            "entities": [{"name": "person", "description": "a human  being"}, "place"],
            "events": [
                {"name": "move", "description": "going", "roles": ["who", {"name": "to", "description": "goal"}]}
            ],
            "examples": [{"text": "Bo left.", "entities": {"person": ["Bo"]}}],
        },
        "told",
    )
    asked = json.loads(oneke.inside("ner", told, "Ann", examples=True))
    assert list(asked) == ["instruction", "schema", "example", "input"]
    assert asked["schema"] == {"person": "a human being", "place": "place"}
    assert asked["example"] == [{"input": "Bo left.", "output": {"person": ["Bo"], "place": []}}]
    assert "example" not in json.loads(oneke.inside("ner", told, "Ann"))
    assert json.loads(oneke.inside("ee", told, "Ann"))["schema"] == {
        "move": {"move": "going", "trigger": True, "arguments": {"who": "who", "to": "goal"}}
    }


def test_an_instruction_of_ones_own_takes_the_trained_ones_place() -> None:
    asked = json.loads(oneke.inside("ner", ENGLISH, "Ann", own="Only living people."))
    assert asked["instruction"] == "Only living people. Please respond in the format of a JSON string."
    asked = json.loads(oneke.inside("ner", ENGLISH, "Ann", own="Living people, as {format}."))
    assert asked["instruction"] == "Living people, as JSON."


def test_types_go_into_calls_as_iepile_splits_them() -> None:
    many = schema.from_json(
        {
            "entities": [f"n{number}" for number in range(14)],
            "events": [f"e{number}" for number in range(49)],
            "relations": [
                *(f"r{number}" for number in range(9)),
                {"name": "alias", "head": "person, band"},
                {"name": "born", "head": "person"},
            ],
        },
        "many",
    )
    assert [len(part.entities) for part in oneke.parts("ner", many, 0)] == [6, 8]
    assert [len(part.events) for part in oneke.parts("ee", many, 0)] == [4] * 11 + [5]
    relations = oneke.parts("re", many, 0)
    assert [len(part.relations) for part in relations] == [4, 5, 2, 1]
    assert [oneke.kind_of("re", part) for part in relations] == ["RE", "RE", "KG", "KG"]
    assert [oneke.by_owner(part) for part in relations[2:]] == [{"person": ["alias", "born"]}, {"band": ["alias"]}]
    assert [len(part.entities) for part in oneke.parts("ner", many, 2)] == [2] * 7


def test_a_row_of_the_grammar_by_hand() -> None:
    source = source_of('Ann "Bo" Lee moved to Oslo.')
    ner = Grammar(oneke.grammar("ner", ENGLISH, source)).takes
    assert ner('{"person": ["Ann \\"Bo\\" Lee"], "place": ["Oslo"], "odd \\"name\\"": []}')
    assert ner('{"person": [], "place": [], "odd \\"name\\"": []}')
    for wrong in (
        '{"place": [], "person": [], "odd \\"name\\"": []}',
        '{"person": ["Ann "Bo" Lee"], "place": [], "odd \\"name\\"": []}',
        '{"person": ["Carl"], "place": [], "odd \\"name\\"": []}',
        '{"person": [], "place": []}',
    ):
        assert not ner(wrong), wrong
    ee = Grammar(oneke.grammar("ee", ENGLISH, source)).takes
    assert ee('{"move": [{"trigger": "moved", "arguments": {"who": ["Ann", "Lee"], "to": "NAN"}}], "rest": []}')
    assert not ee('{"move": [{"trigger": "moved", "arguments": {"to": "NAN"}}], "rest": []}')
    kg = Grammar(oneke.grammar("re", ATTRIBUTES, source)).takes
    assert kg('{"person": {"Ann": {"alias": "Lee", "office": ["Bo", "Oslo"]}, "Lee": {"parent": "Ann"}}}')
    assert kg('{"person": {}}')
    assert not kg('{"person": {"Ann": {"parent": "Lee", "alias": "Bo"}}}')
    assert not kg('{"person": {"Ann": {}}}')


@settings(max_examples=80, deadline=None)
@given(MIXED, st.data())
def test_every_allowed_span_is_taken_by_the_grammar_and_read_again(text: str, data: st.DataObject) -> None:
    source = source_of(text)
    known = spans(source)
    for task, made in (("ner", ENGLISH), ("re", ENGLISH), ("ee", ENGLISH), ("re", ATTRIBUTES)):
        grammar = Grammar(oneke.grammar(task, made, source))  # type: ignore[arg-type]
        assert grammar.takes(oneke.write(task, made, []))  # type: ignore[arg-type]
    if not known:
        return
    one = st.sampled_from(known)
    entity, pairs = data.draw(one), data.draw(st.lists(st.tuples(one, one), min_size=1, max_size=3, unique=True))
    told: dict[Task, list[Found]] = {
        "ner": [Found("place", entity)],
        "re": [Found("per:spouse", head, (("", tail),)) for head, tail in pairs],
        "ee": [Found("move", entity, tuple(("to", tail) for _, tail in pairs)), Found("rest", entity)],
    }
    for task, found in told.items():
        answer = oneke.write(task, ENGLISH, found)
        assert Grammar(oneke.grammar(task, ENGLISH, source)).takes(answer), answer
    owned = [Found("parent", head, (("", tail),)) for head, tail in pairs]
    assert Grammar(oneke.grammar("re", ATTRIBUTES, source)).takes(oneke.write("re", ATTRIBUTES, owned))


def test_answers_give_back_their_records() -> None:
    events = (Found("move", "went", (("who", "Ann"), ("who", "Bo"))), Found("rest", "slept"))
    assert oneke.read("ee", ENGLISH, oneke.write("ee", ENGLISH, events)).found == events
    owned = (Found("alias", "“甲”，“乙”", (("", 'a "b", c'),)), Found("parent", "Ann", (("", "NAN-1"),)))
    reading = oneke.read("re", ATTRIBUTES, oneke.write("re", ATTRIBUTES, owned))
    assert (reading.found, reading.repaired) == (owned, 0)
    nothing = oneke.read("re", ENGLISH, oneke.write("re", ENGLISH, []))
    assert (nothing.found, nothing.readable, nothing.repaired) == ((), True, 0)
    assert not oneke.read("re", ENGLISH, "I can not do that.").readable
    cut = oneke.read("re", ENGLISH, '{"born in": [{"subject": "Ann", "object": "Oslo"}, {"subject": "B', cut=True)
    assert (cut.found, cut.dropped) == ((Found("born in", "Ann", (("", "Oslo"),)),), 1)
