"""Types proposed from texts: what a model names, what the ready-made schemas have, counted honestly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import propose, schema
from core.extract.propose import grammar, merged, question, schema_of
from core.extract.propose_run import ProposeRequest, run
from core.operation import Silent
from tests.core import extract_stub
from tests.core.gbnf import Grammar
from tests.core.test_extract_dialects import Asked, model

TEXTS = ["Ada Lovelace met Bob in Rome.", "Carl left Rome.", "It rained."]
FREE = """Sure:
People: Ada Lovelace || Carl || Nobody
- person: Bob
city: Rome
dish: pizza
42: Rome
"""


def test_kinds_are_merged_counted_and_kept_only_with_words_that_stand_in_the_text() -> None:
    asked = Asked(model("studio"), FREE)
    made = propose.propose(asked, TEXTS, ["ner"], "en", "free")
    told = {one.name: (one.texts, one.mentions, one.examples) for one in made.candidates}
    assert told == {
        "city": (2, 2, ("Rome",)),
        "people": (2, 2, ("Ada Lovelace", "Carl")),
        "person": (1, 1, ("Bob",)),
    }
    assert (made.method, made.read, made.calls) == ("free", 3, 3)
    assert made.dropped == 10  # dish and 42 in each text, the others where no words of the text stand for them
    kept = schema_of(made, "mine", "en", at_least=2)
    assert [(one.name, one.examples) for one in kept.entities] == [
        ("city", ("Rome",)),
        ("people", ("Ada Lovelace", "Carl")),
    ]
    assert [form for form, *_ in asked.sent] == ["chat"] * 3


def test_relations_need_both_ends_in_the_text() -> None:
    asked = Asked(model("studio"), "met: Ada Lovelace | Bob || Ada Lovelace | Zoe\nlives in: Rome\n关系：Bob | Rome")
    made = propose.propose(asked, TEXTS[:1], ["re"], "en", "free")
    assert [(one.name, one.examples) for one in made.candidates] == [
        ("met", ("Ada Lovelace → Bob",)),
        ("关系", ("Bob → Rome",)),
    ]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (("City", "cities", "city"), 1),
        (("bus", "buses"), 2),
        (("Person", "person", "persons"), 1),
        (("class", "人物"), 2),
    ],
)
def test_spellings_of_one_kind_are_one(names: tuple[str, ...], count: int) -> None:
    assert len({merged(name) for name in names}) == count


def test_known_types_are_counted_by_asking_for_them() -> None:
    asked = Asked(model("studio", trained_for_extraction=True), "person: Ada Lovelace || Bob\nplace: Rome")
    assert propose.method_for(asked.model) == "known"
    made = propose.propose(asked, TEXTS[:2], ["ner"], "en", "known")
    told = {one.name: (one.texts, one.mentions) for one in made.candidates}
    # several ready-made schemas have these types: what all of them find counts once
    assert told == {"place": (2, 2), "person": (1, 2)}
    kept = schema_of(made, "mine", "en", at_least=1)
    assert next(one for one in kept.entities if one.name == "person").description
    assert made.dropped == 0


def test_a_type_that_stands_for_the_same_words_as_a_more_general_one_is_left_out() -> None:
    says = "person: Ada Lovelace || Bob\nscientist: Ada Lovelace || Bob\nplace: Rome"
    asked = Asked(model("studio", trained_for_extraction=True), says)
    made = propose.propose(asked, TEXTS[:1], ["ner"], "en", "known")
    assert [(one.name, one.same_as) for one in made.candidates] == [
        ("person", ""),
        ("scientist", "person"),
        ("place", ""),
    ]
    assert [one.name for one in schema_of(made, "mine", "en", at_least=1).entities] == ["person", "place"]
    assert not any(propose.is_kind(name) for name in ("none of the above", "nonexistent", "无", ""))


def test_a_grammar_holds_the_examples_to_the_text() -> None:
    takes = Grammar(grammar("Ada met Bob.", "ner", "en")).takes
    assert takes("person: Ada || Bob\nname of a man: Bob")
    assert not takes("person: Carl")
    assert not takes("Person: Ada")
    pairs = Grammar(grammar("林若兰住在苏州。", "re", "zh")).takes
    assert pairs("居住: 林若兰 | 苏州")
    assert not pairs("lives in: 林若兰 | 苏州")
    assert question("文", "re", "zh").endswith("文本：文\n回答：\n")


@pytest.fixture
def server(workspace: Path, tmp_path: Path) -> Iterator[str]:
    with extract_stub.running(tmp_path / "asked.log") as ref:
        yield ref


def test_the_command_writes_a_schema_and_says_what_it_is(server: str, tmp_path: Path) -> None:
    table = tmp_path / "texts.csv"
    table.write_text("text\nAda wrote notes.\nBob wrote more.\nAda wrote notes.\n", encoding="utf-8")
    request = ProposeRequest(input=table, out=tmp_path / "mine.json", model=server, task=("ner",))
    made = run(request, Silent())
    assert (made.method, made.read, made.kept) == ("free", 2, 1)
    assert json.loads(made.model_dump_json())["candidates"][0]["name"] == "person"
    assert "look them over" in made.summary()
    assert [one.examples for one in schema.load(made.out).entities] == [("Ada", "Bob")]
    counted = run(request.model_copy(update={"method": "known", "out": tmp_path / "known.json"}), Silent())
    assert (counted.method, schema.load(counted.out).entities[0].name) == ("known", "person")
    table.write_text("text\nit rained all day.\n", encoding="utf-8")
    with pytest.raises(UserError, match="No type was found"):
        run(request, Silent())
