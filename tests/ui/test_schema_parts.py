"""Schemas on the Extract page: edited with attributes and sentences, their versions, and the exact prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import models, paths
from core.errors import UserError
from core.extract import schema, schema_rows
from core.extract.dialects import studio
from core.extract.schema_versions import save_version, versions
from core.models import Card, write_card
from tests.ui.conftest import TIMEOUT, OpenPage, texts

MADE = schema.from_json(
    {
        "entities": [
            {"name": "person", "description": "a human", "examples": ["Ada", "Bob"], "attributes": ["age"]},
            "place",
        ],
        "relations": [{"name": "lives in", "head": "person", "tail": "place"}, {"name": "size", "head": "ship"}],
        "events": [{"name": "move", "roles": [{"name": "who", "description": "mover"}, "to"]}],
        "examples": [
            {"text": "Rain."},
            {
                "text": "Ada, 36, moved to Rome.",
                "entities": {"person": ["Ada"], "place": ["Rome"]},
                "relations": {"age": [["Ada", "36"]]},
                "events": {"move": [{"trigger": "moved", "who": "Ada", "to": "Rome"}]},
            },
        ],
    },
    "made",
)


def test_a_schema_goes_into_tables_and_back_with_nothing_lost() -> None:
    rows = schema_rows.rows(MADE)
    assert rows["entities"][0] == {
        "name": "person",
        "description": "a human",
        "examples": "Ada; Bob",
        "attributes": "age",
    }
    assert [row["name"] for row in rows["relations"]] == ["lives in", "size"]  # no entity type is called ship
    back = schema.from_json({**schema_rows.data(rows), "examples": MADE.model_dump()["examples"]}, "made")
    assert back.entities == MADE.entities
    assert set(back.relations) == set(MADE.relations)
    assert (back.events, back.examples) == (MADE.events, MADE.examples)
    for ready in schema.ready_made():
        again = schema.from_json({**schema_rows.data(schema_rows.rows(ready)), "language": ready.language}, ready.name)
        assert (again.entities, set(again.relations), again.events) == (
            ready.entities,
            set(ready.relations),
            ready.events,
        )


def test_a_sentence_goes_into_lines_and_back_and_words_that_are_not_in_it_are_refused() -> None:
    lines = schema_rows.example_lines(MADE, MADE.examples[1])
    assert lines == {
        "ner": "person: Ada\nplace: Rome",
        "re": "age: Ada | 36",
        "ee": "move: moved | who: Ada | to: Rome",
    }
    back = schema_rows.example_of(MADE, MADE.examples[1].text, lines)
    assert schema.Example.model_validate(back) == MADE.examples[1]
    with pytest.raises(UserError, match="“Paris” is not in the example"):
        schema_rows.example_of(MADE, "Ada left Rome.", {"ner": "place: Paris"})
    with pytest.raises(UserError, match="can't be read"):
        schema_rows.example_of(MADE, "Ada left Rome.", {"ner": "ship: Ada"})
    fewer = MADE.model_copy(update={"relations": (), "entities": MADE.entities[:1]})
    kept = schema_rows.kept_examples(fewer, MADE.examples)[1]
    assert (kept["entities"], kept["relations"]) == ({"person": ["Ada"]}, {})


@pytest.fixture
def reader(workspace: Path) -> None:
    folder = paths.models() / "reader"
    folder.mkdir(parents=True)
    (folder / "reader.gguf").write_bytes(b"GGUF not really")
    card = Card(title="Reader", languages=("en",), license="Apache-2.0", trained_for_extraction=True)
    write_card(folder, card)
    assert models.resolve("reader").card.trained_for_extraction


def with_schema(open_page: OpenPage, made: schema.Schema) -> tuple[AppTest, Path]:
    path = paths.schemas() / "mine.json"
    save_version(made, path)
    page = open_page("extract")
    page.button(key="extract.sample.en").click().run()
    page.selectbox(key="extract.schema.en").select(str(path)).run()
    assert not page.exception, page.exception
    return page, path


def draw_editor(path: str) -> None:
    """What the dialog holds: AppTest can't keep a dialog open from one click to the next."""
    from pathlib import Path

    from core.extract.schema import load
    from ui.parts import schema_editor

    schema_editor._editor(load(path), Path(path), lambda made: None)


def draw_history(path: str) -> None:
    from pathlib import Path

    from ui.parts import schema_history

    schema_history._history(Path(path), lambda made: None)


def test_the_editor_keeps_sentences_and_a_save_is_a_version(workspace: Path) -> None:
    path = paths.schemas() / "mine.json"
    save_version(MADE, path)
    page = AppTest.from_function(draw_editor, args=(str(path),), default_timeout=TIMEOUT).run()
    assert not page.exception, page.exception
    assert "ship" in texts(page)  # a head that is no entity type is said while it is edited
    page.text_input(key="schema_editor.name").input("Mine, again")
    page.text_area(key="schema_editor.sentence.0").input("Bob sings.")
    page.text_area(key="schema_editor.sentence.0.ner").input("person: Ann")
    page.button(key="schema_editor.save").click().run()
    assert "“Ann” is not in the example" in texts(page).replace("\\", "")
    page.button(key="schema_editor.sentence.add").click().run()
    assert page.text_area(key="schema_editor.sentence.2").value == ""
    page.text_area(key="schema_editor.sentence.0.ner").input("person: Bob")
    page.button(key="schema_editor.save").click().run()
    assert not page.exception, page.exception
    saved = schema.load(path)
    assert (saved.title, saved.examples[0].entities) == ("Mine, again", {"person": ("Bob",)})
    assert saved.examples[1:] == MADE.examples[1:]
    assert len(versions(path)) == 2


def test_an_older_version_can_be_looked_at_and_comes_back(workspace: Path) -> None:
    path = paths.schemas() / "mine.json"
    save_version(MADE, path)
    page = AppTest.from_function(draw_history, args=(str(path),), default_timeout=TIMEOUT).run()
    assert "one version" in page.info[0].value
    save_version(MADE.model_copy(update={"entities": MADE.entities[:1]}), path)
    page = AppTest.from_function(draw_history, args=(str(path),), default_timeout=TIMEOUT).run()
    assert "Entity type **place**" in texts(page)
    page.button(key="schema_history.restore").click().run()
    assert not page.exception, page.exception
    assert schema.load(path) == MADE
    assert len(versions(path)) == 3


def test_the_exact_prompt_is_shown_before_anything_is_asked(open_page: OpenPage, reader: None, language: str) -> None:
    page, _ = with_schema(open_page, MADE)
    page.session_state["extract.asking"] = True
    page.run()
    assert not page.exception, page.exception
    first = "Marie Curie"
    shown = [code.value for code in page.code if first in code.value or "Text: " in code.value]
    assert shown, texts(page)
    assert shown[0].startswith(studio.prompt("ner", MADE, "").removesuffix("Answer:\n")[:60])
    page.text_area(key="extract.asking.instruction").input("Only living people.").run()
    assert page.warning[0].value  # it leaves what this model was trained with
    assert any(code.value.startswith("Only living people.\nAnswer with one line") for code in page.code)
    page.selectbox(key="extract.asking.dialect").select("zhixi").run()
    assert any("### Instruction:\nOnly living people." in code.value for code in page.code)
    assert page.selectbox(key="extract.asking.wording")


def test_types_are_proposed_only_for_a_file_and_a_model(open_page: OpenPage, reader: None) -> None:
    page = open_page("extract")
    page.button(key="extract.schema.propose").click().run()
    assert not page.exception, page.exception
    assert not [one for one in page.button if one.key == "schema_propose.start"]
    page, _ = with_schema(open_page, MADE)
    page.button(key="extract.schema.propose").click().run()
    assert page.number_input(key="schema_propose.count").value == 20
    assert not page.button(key="schema_propose.start").disabled
