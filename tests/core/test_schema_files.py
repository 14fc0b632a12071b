"""Schemas from elsewhere, what differs between two, versions, and the ready-made ones in every dialect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from core.errors import UserError
from core.extract import dialects, schema, schema_files, schema_iepile, schema_versions
from core.extract.examples import chosen, said
from core.extract.schema_diff import diff
from core.extract.schema_files import read, understood
from core.extract.schema_run import (
    ConvertRequest,
    DiffRequest,
    VersionsRequest,
    convert,
    show_diff,
    show_versions,
    told,
)
from core.operation import Silent
from tests.core.gbnf import Grammar
from tests.core.test_grammar import source_of, spans


@pytest.mark.parametrize(
    ("text", "kind", "types"),
    [
        ('["人物", "地点"]\n[]\n{}', "iepile", ["ner:人物", "ner:地点"]),
        ('[]\n["创始人", "号"]\n{}\n', "iepile", ["re:创始人", "re:号"]),
        ('["人物_父亲_人物", "a_b_父亲_c"]\n["父亲"]\n{}', "iepile", ["re:父亲 人物, a_b>人物, c"]),
        ('["裁员", "上市"]\n["甲"]\n{"裁员": ["甲", "时间"], "上市": []}', "iepile", ["ee:裁员 甲/时间", "ee:上市 "]),
        (
            '["人物_别名_人物"]\n["别名", "国籍"]\n{"人物": ["别名", "国籍"], "组织": ["别名"]}',
            "iepile",
            ["ner:人物", "ner:组织", "re:别名 人物, 组织>", "re:国籍 人物>"],
        ),
        ('[{"subject_type": "人物", "predicate": "父亲", "object_type": "人物"}]', "iepile", ["re:父亲 人物>人物"]),
        ('[{"event_type": "move", "trigger": true, "arguments": ["who"]}]', "iepile", ["ee:move who"]),
        ('[{"entity_type": "人物", "attributes": ["别名"]}]', "iepile", ["ner:人物", "re:别名 人物>"]),
        ('{"person": "a human", "place": "somewhere"}', "iepile", ["ner:person", "ner:place"]),
        ('["person", "place"]', "list", ["ner:person", "ner:place"]),
        ("person: a human\n- place\n2. works for (person → place): job\nattack (who, whom)\n", "list",
         ["ner:person", "ner:place", "re:works for person>place", "ee:attack who/whom"]),
        ("# entities\nperson\n# relations\nborn in\n[events]\nmove", "list", ["ner:person", "re:born in", "ee:move "]),
        ("实体：\n人物：有名有姓的人\n关系：\n任职于（人物→机构）", "list", ["ner:人物", "re:任职于 人物>机构"]),
        (
            "name,kind,description,head,tail,roles\nperson,entity,a human,,,\nborn in,relation,,person,place,\n"
            'age,attribute,,person,,\nmove,event,,,,"who: mover; to"\n',
            "csv",
            ["ner:person", "re:born in person>place", "re:age person>", "ee:move who/to"],
        ),
        ("名称;种类;描述\n人物;实体;有名有姓的人\n出生地;关系;\n", "csv", ["ner:人物", "re:出生地"]),
    ],
)  # fmt: skip
def test_types_are_read_from_other_programs_schemas(text: str, kind: str, types: list[str]) -> None:
    made, how = understood(text, "made")
    assert (how, shown(made)) == (kind, types)
    assert made.language == ("zh" if any("一" <= char <= "龥" for char in text) else "en")


def shown(made: schema.Schema) -> list[str]:
    relations = [
        f"re:{one.name}" + (f" {one.head}>{one.tail}" if one.head or one.tail else "") for one in made.relations
    ]
    events = [f"ee:{one.name} {'/'.join(role.name for role in one.roles)}" for one in made.events]
    return [*(f"ner:{one.name}" for one in made.entities), *relations, *events]


class Person(BaseModel):
    """A human being."""

    name: str
    age: int | None = None


class Works(BaseModel):
    head: str
    tail: str


class Attack(BaseModel):
    trigger: str
    attacker: str | None = None
    place: str | None = None


class Answer(BaseModel):
    persons: list[Person] = []
    places: list[str] = []
    works_for: list[Works] = []
    attacks: list[Attack] = []


def test_a_pydantic_models_json_schema_becomes_entities_attributes_relations_and_events() -> None:
    made, how = understood(json.dumps(Answer.model_json_schema()), "answer")
    assert how == "json-schema"
    wanted = ["ner:persons", "ner:places", "re:works_for", "re:age persons>", "ee:attacks attacker/place"]
    assert shown(made) == wanted
    assert made.entities[0].description == "A human being."


def test_a_json_schema_with_enums_names_its_types_by_them() -> None:
    entity = {"properties": {"text": {"type": "string"}, "type": {"enum": ["person", "place"]}}}
    end = {"properties": {"name": {}, "type": {"enum": ["person"]}}}
    triple = {"properties": {"subject": end, "object": {}, "predicate": {"enum": ["born in", "lives in"]}}}
    root = {"type": "object", "properties": {"entities": {"items": entity}, "triples": {"items": triple}}}
    assert shown(understood(json.dumps(root), "x")[0]) == [
        "ner:person", "ner:place", "re:born in person>", "re:lives in person>"
    ]  # fmt: skip
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    with pytest.raises(UserError, match="no types"):
        understood(json.dumps(loop), "loop")


@pytest.mark.parametrize("text", ["", "\n\n", "{}", "[]", "[1, 2]", "[" * 5000, "a" * 5000, '{"entities": [{"x": 1}]}'])
def test_what_holds_no_types_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(UserError) as refused:
        understood(text, "bad")
    assert refused.value.remedy


def test_a_chinese_table_in_gb18030_is_read_and_a_missing_file_refused(tmp_path: Path) -> None:
    table = tmp_path / "types.csv"
    table.write_bytes(
        "名称,种类,描述,角色\n人物,实体,有名有姓的人,\n会见,事件,人们会面,参与者；时间\n".encode("gb18030")
    )
    made, _ = read(table)
    assert (made.name, shown(made)) == ("types", ["ner:人物", "ee:会见 参与者/时间"])
    with pytest.raises(UserError, match="no file"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("ready", schema.ready_made(), ids=lambda made: made.name)
def test_a_ready_made_schema_goes_through_the_table_and_back(ready: schema.Schema) -> None:
    back, kind = understood(schema_files.table(ready), ready.name)
    assert kind == "csv"
    assert (back.entities, back.relations, back.events) == (ready.entities, ready.relations, ready.events)
    only = ready.model_copy(update={"events": ()})
    again, _ = understood(schema_iepile.written(only), ready.name)
    assert [one.name for one in again.relations] == [one.name for one in only.relations]


def test_converting_writes_each_format_and_tells_ends_that_name_no_type(tmp_path: Path) -> None:
    source = tmp_path / "types.txt"
    source.write_text("person\nborn in (person → city)\n", encoding="utf-8")
    for to in ("studio", "iepile", "csv"):
        made = convert(ConvertRequest(input=source, out=tmp_path / "out" / f"made.{to}", to=to), Silent())
        assert (made.entities, made.relations, made.strays) == (1, 1, ("city",))
        assert shown(read(made.out)[0])[-1] == "re:born in person>city"
    with pytest.raises(UserError, match="file that is read"):
        convert(ConvertRequest(input=source, out=source), Silent())


def test_attributes_of_entities_are_relations_without_a_tail() -> None:
    made = schema.from_json(
        {
            "entities": [
                {"name": "person", "attributes": ["age", {"name": "alias", "description": "other name"}]},
                {"name": "band", "attributes": [{"name": "alias", "description": "old name"}]},
            ],
            "relations": ["knows"],
        },
        "made",
    )
    assert shown(made) == ["ner:person", "ner:band", "re:knows", "re:age person>", "re:alias person, band>"]
    assert made.relations[2].description == "other name; old name"
    assert schema.from_json(schema.to_json(made), "made") == made
    assert schema.strays(made) == []


def test_a_types_own_examples_reach_every_prompt() -> None:
    data = {"entities": [{"name": "drug", "description": "a medicine", "examples": ["aspirin", "insulin"]}]}
    for name in dialects.names():
        asked = dialects.find(name).prompt("ner", schema.from_json(data, "made"), "x")
        assert "a medicine, such as aspirin, insulin" in asked
    chinese = schema.from_json({"language": "zh", "entities": [{"name": "药物", "examples": ["阿司匹林"]}]}, "made")
    assert "- 药物: 如阿司匹林" in dialects.find("studio").prompt("ner", chinese, "x")


def test_hashes_of_schemas_without_examples_of_types_are_what_they_always_were() -> None:
    """A stored run compares them: another hash, and it could not be gone on with."""
    assert schema.load("finance-en").hash.startswith("b3803f1017cc")
    assert schema.load("people-and-organisations-zh").hash.startswith("4893cf38a793")


def test_a_diff_tells_what_was_added_removed_renamed_and_told_otherwise() -> None:
    before = schema.from_json(
        {
            "entities": [
                {"name": "person", "description": "a human"},
                "place",
                {"name": "firm", "description": "a company"},
            ],
            "relations": [{"name": "born in", "head": "person"}],
            "events": [{"name": "attack", "roles": ["attacker", "time"]}],
            "examples": [{"text": "Rain."}],
        },
        "before",
    )
    after = schema.from_json(
        {
            "language": "zh",
            "entities": [
                {"name": "person", "description": "a named human"},
                {"name": "company", "description": "a company"},
            ],
            "relations": [{"name": "born in", "head": "person", "tail": "place"}, "knows"],
            "events": [{"name": "attack", "roles": ["attackers", "place"]}],
        },
        "after",
    )
    assert [told(change) for change in diff(before, after)] == [
        "~ language zh: en → zh",
        "~ entity person: a human → a named human",
        "> entity company: firm → company",
        "- entity place",
        "~ relation born in: (person → *) → (person → place)",
        "+ relation knows",
        "> role attack · attackers: attacker → attackers",
        "+ role attack · place",
        "- role attack · time",
        "- example Rain.",
    ]
    assert diff(before, before) == []


def test_each_save_is_a_version_and_the_one_before_versions_were_kept_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    first, second = (schema.from_json({"entities": names}, "mine") for names in (["a1"], ["a1", "b1"]))
    schema.save(first, path)
    schema_versions.save_version(second, path)
    schema_versions.save_version(second, path)
    schema_versions.save_version(first, path)
    found = schema_versions.versions(path)
    assert [one.schema for one in found] == [first, second, first]
    assert schema.load(path) == first
    assert schema_versions.find(path, second.hash[:6]).schema == second
    listed = show_versions(VersionsRequest(schema_file=path), Silent())
    assert [one["hash"] for one in listed.versions] == [first.hash[:8], second.hash[:8], first.hash[:8]]
    made = show_diff(DiffRequest(before=f"{path}@{second.hash[:8]}", after=str(path)), Silent())
    assert made.summary() == "- entity b1"
    with pytest.raises(UserError, match="no version"):
        schema_versions.find(path, "1999")
    schema_versions.forget(path)
    assert schema_versions.versions(path) == []


def test_there_is_a_schema_a_field_and_language() -> None:
    fields = ("general-news", "people-and-organisations", "science", "finance", "medicine", "law")
    assert {made.name for made in schema.ready_made()} == {f"{name}-{code}" for name in fields for code in ("en", "zh")}
    for made in schema.ready_made():
        assert schema.strays(made) == []
        assert made.tasks == schema.TASKS
        assert 2 <= len(made.examples) <= 3
        assert all(one.description for task in schema.TASKS for one in made.types(task))


@pytest.mark.parametrize("name", dialects.names())
@pytest.mark.parametrize("ready", schema.ready_made(), ids=lambda made: made.name)
def test_ready_made_examples_stand_in_their_text_and_go_through_every_dialect(ready: schema.Schema, name: str) -> None:
    dialect = dialects.find(name)
    for example in ready.examples:
        source = source_of(example.text)
        allowed = set(spans(source))
        for task in schema.TASKS:
            for part in dialect.parts(task, ready, 0):
                known = {made.name for made in part.types(task)}
                wanted = [one for one in said(task, example) if one.type in known]
                words = {one.text for one in wanted} | {text for one in wanted for _, text in one.parts}
                assert words <= allowed, words - allowed
                answer = dialect.write(task, part, wanted)
                reading = dialect.read(task, part, answer)
                assert set(reading.found) == set(wanted)
                assert (reading.readable, reading.dropped) == (True, 0)
                assert Grammar(dialect.grammar(task, part, source)).takes(answer), answer


def test_few_examples_are_those_that_show_most_types() -> None:
    made = schema.load("people-and-organisations-en")
    assert chosen("ner", made, 1) == (made.examples[1],)
    assert chosen("ner", made, 2) == made.examples[1:]
    assert chosen("re", made, 99) == made.examples
    assert chosen("ee", made, 0) == ()
