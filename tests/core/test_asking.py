"""What a person may change of how a model is asked, and that records say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import asking, calls, dialects, schema
from core.extract.calls import Options
from core.extract.one import extract_text
from core.extract.prompt_run import PromptRequest
from core.extract.prompt_run import run as show_prompt
from core.operation import Silent
from tests.core.test_extract_dialects import ANSWERS, MADE, Asked, model

TEXT = "Ann Lee moved to Oslo."


@pytest.mark.parametrize("name", dialects.names())
def test_words_of_ones_own_are_sent_and_the_record_says_where_training_is_left(name: str) -> None:
    options = Options(instruction=" Only living people. ")
    for trained in (True, False):
        asked = Asked(model(name, trained_for_extraction=trained), ANSWERS[name])
        made = extract_text(asked, TEXT, MADE, "ner", options=options)
        assert "Only living people." in asked.sent[0][1]
        assert len(made.entities) == 2
        warned = [one["problem"] for one in made.provenance["warnings"]]
        left = trained and name != "zhixi"  # zhixi's models were trained with many wordings
        assert warned == ([asking.OWN_WORDS.problem] if left else [])
        assert made.provenance["instruction"] == "Only living people."
    usual = extract_text(Asked(model(name, trained_for_extraction=True), ANSWERS[name]), TEXT, MADE, "ner")
    assert (usual.provenance["warnings"], "instruction" in usual.provenance) == ([], False)


def test_what_is_changed_is_another_run_and_what_is_not_leaves_stored_runs_as_they_are() -> None:
    one = model("zhixi", trained_for_extraction=True)
    usual = calls.settings_of(one, Options())
    for changed in (Options(examples=1), Options(instruction="x"), Options(wording=1), Options(grounding=False)):
        told = calls.settings_of(one, changed)
        assert told != usual
        assert usual.items() <= told.items()
    assert calls.settings_of(one, Options(instruction="  ")) == usual


def test_so_many_examples_are_shown_as_were_asked_for() -> None:
    ready = schema.load("general-news-en")
    for trained in (True, False):
        for count, shown in ((None, 0 if trained else 3), (0, 0), (1, 1), (2, 2), (9, 3)):
            asked = Asked(model("studio", trained_for_extraction=trained), "none")
            made = extract_text(asked, TEXT, ready, "ner", options=Options(examples=count))
            assert asked.sent[0][1].count("\nText: ") == shown + 1
            assert made.provenance["examples"] == shown


def test_without_grounding_no_grammar_holds_the_answer_and_nothing_has_a_place() -> None:
    asked = Asked(model("studio"), "person: Ann Lee || Nobody\nplace: none", {"grammar": True})
    made = extract_text(asked, TEXT, MADE, "ner", options=Options(grounding=False))
    assert asked.sent[0][3] is None
    assert [(one.text, one.start) for one in made.entities] == [("Ann Lee", None), ("Nobody", None)]
    assert made.provenance["grounding"] == "off"
    assert [one["problem"] for one in made.provenance["warnings"]] == [asking.NOT_GROUNDED.problem]


def test_a_wording_that_a_dialect_lacks_is_refused() -> None:
    prompts = {
        extract_text(asked, TEXT, MADE, "ner", options=Options(wording=number)) and asked.sent[0][1]
        for number in range(3)
        for asked in [Asked(model("zhixi"), "NAN")]
    }
    assert len(prompts) == 3
    with pytest.raises(UserError, match="3 wordings"):
        calls.parts(MADE, ["ner"], Options(wording=3), model("zhixi"))
    with pytest.raises(UserError, match="1 wordings"):
        calls.parts(MADE, ["ner"], Options(wording=1), model("oneke"))


def test_a_schema_without_types_for_a_task_is_told_and_any_type_can_be_asked_for(workspace: Path) -> None:
    with pytest.raises(UserError, match="no types for the task ee"):
        calls.parts(MADE, ["ee"], Options(), model("studio"))
    odd = schema.from_json({"entities": ["flux capacitor: 🚀|x"]}, "odd")
    for name in dialects.names():
        assert calls.parts(odd, ["ner"], Options(), model(name))
        assert "flux capacitor" in dialects.find(name).prompt("ner", odd, TEXT)


def test_the_prompt_command_takes_all_of_it(workspace: Path) -> None:
    request = PromptRequest(
        text=TEXT, task="ner", schema_ref="law-en", dialect="zhixi", examples=1, instruction="Find {schema}."
    )
    (made,) = show_prompt(request, Silent()).prompts
    assert "### Instruction:\nFind ['person', 'organisation'," in made.prompt
    assert made.prompt.count("gives:\n") == 1
