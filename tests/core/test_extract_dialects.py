"""Which dialect a model is asked in, what that changes, and what it must not: the studio's runs stay as they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest

from core.errors import UserError
from core.extract import calls, dialects, schema
from core.extract.calls import Options
from core.extract.one import extract_text
from core.extract.prompt_run import PromptRequest
from core.extract.prompt_run import run as show_prompt
from core.extract.run import RunRequest
from core.inference.client import Answer
from core.inference.decoding import Decoding
from core.models import Card, Model
from core.operation import Silent
from tests.conftest import PROJECT

MADE = schema.from_json({"entities": ["person", "place"], "relations": ["born in"]}, "made")


def model(dialect: str, **more: Any) -> Model:
    return Model("model", "remote", Card(dialect=dialect, languages=("en",), **more))


@dataclass
class Asked:
    """A model that notes what it is sent and says what it is told to."""

    model: Model
    says: str
    can: dict[str, Any] = field(default_factory=dict)
    parallel: int = 1
    context: int = 0
    sent: list[tuple[str, str, Decoding, str | None]] = field(default_factory=list)

    def complete(
        self, prompt: str, decoding: Decoding, *, grammar: str | None = None, stop: tuple[str, ...] = ()
    ) -> Answer:
        self.sent.append(("raw", prompt, decoding, grammar))
        return Answer(self.says, "stop", 1, 1, 0.0)

    def chat(
        self, messages: list, decoding: Decoding, *, grammar: str | None = None, stop: tuple[str, ...] = ()
    ) -> Answer:
        self.sent.append(("chat", messages[-1]["content"], decoding, grammar))
        return Answer(self.says, "stop", 1, 1, 0.0)


def test_every_file_is_a_dialect_and_the_options_know_them_all() -> None:
    assert dialects.names() == ("oneke", "studio", "zhixi")
    for request in (RunRequest, PromptRequest):
        assert set(get_args(request.model_fields["dialect"].annotation)) == {"auto", *dialects.names()}
    with pytest.raises(UserError, match="no dialect “klingon”"):
        dialects.find("klingon")
    with pytest.raises(UserError, match="klingon"):
        calls.parts(MADE, ["ner"], Options(), model("klingon"))


def test_a_stored_studio_run_still_says_the_same_of_its_settings() -> None:
    """Stores of earlier versions hold these very words: one more or fewer and they could not be gone on with."""
    told = calls.settings_of(model("studio", prompt_form="raw", trained_for_extraction=True), Options(overlap=0))
    assert told == {
        "prompt": "studio 1, raw",
        "trained": True,
        "chunk-characters": 0,
        "overlap": 0,
        "types-per-call": 0,
        "grammar": True,
    }
    assert calls.settings_of(model("studio"), Options())["prompt"] == "studio 1, chat"
    assert calls.settings_of(model("oneke"), Options())["prompt"] == "oneke 1, raw"
    assert calls.settings_of(model("oneke"), Options(dialect="studio"))["prompt"] == "studio 1, chat"


ANSWERS = {
    "studio": "person: Ann Lee\nplace: Oslo",
    "zhixi": "(Ann Lee,person)\n(Oslo,place)",
    "oneke": '{"person": ["Ann Lee"], "place": ["Oslo"]}',
}
TEXT = "Ann Lee | born in\nOslo."


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("chosen", [True, False])
def test_a_text_is_asked_and_read_in_the_dialect_of_the_card_or_the_options(name: str, chosen: bool) -> None:
    asked = Asked(model("studio" if chosen else name, trained_for_extraction=True), ANSWERS[name])
    options = Options(dialect=name if chosen else "auto")
    made = extract_text(asked, TEXT, MADE, "ner", options=options)
    assert [(one.text, one.type, one.start, one.end) for one in made.entities] == [
        ("Ann Lee", "person", 0, 7),
        ("Oslo", "place", 18, 22),
    ]
    shown = "Ann Lee ¦ born in Oslo." if name == "studio" else "Ann Lee | born in Oslo."
    form, prompt, _, _ = asked.sent[0]
    assert prompt == dialects.find(name).prompt("ner", MADE, shown)
    assert form == ("chat" if name == "studio" else "raw")
    told = made.provenance
    assert (told["dialect"], told["dialect_version"], told["prompt_form"]) == (name, 1, form)
    assert (told["repaired"], told["dropped"], told["unreadable"]) == (0, 0, 0)


def test_grammar_and_beams_go_to_engines_that_can() -> None:
    asked = Asked(model("zhixi"), ANSWERS["zhixi"], {"grammar": True, "beams": True})
    extract_text(asked, TEXT, MADE, "ner")
    _, _, decoding, grammar = asked.sent[0]
    assert (decoding.beams, decoding.repetition_penalty) == (1, 1.3)  # no engine keeps to a grammar over several beams
    assert grammar is not None
    assert '"|"' in grammar
    free = Asked(model("zhixi"), ANSWERS["zhixi"], {"beams": True})
    extract_text(free, TEXT, MADE, "ner")
    assert (free.sent[0][2].beams, free.sent[0][3]) == (2, None)


def test_examples_are_for_models_that_were_not_trained() -> None:
    shown = schema.load("people-and-organisations-en")
    for trained in (True, False):
        asked = Asked(model("oneke", trained_for_extraction=trained), "{}")
        extract_text(asked, "Ann Lee.", shown, "ner")
        assert ('"example": [' in asked.sent[0][1]) is not trained


def test_the_prompt_command_prints_what_is_sent(workspace: Path) -> None:
    request = PromptRequest(text="Ann  met Bo.", task="re", schema_ref="people-and-organisations-en", dialect="oneke")
    made = show_prompt(request, Silent())
    ready = schema.load("people-and-organisations-en")
    asked = [one.name for one in ready.relations]
    assert [name for one in made.prompts for name in one.types] == asked
    assert [len(one.types) for one in made.prompts] == [4, 4]
    inside = json.loads(made.prompts[0].prompt.split("<</SYS>>\n\n")[1].removesuffix(" [/INST]"))
    assert (inside["input"], list(inside["schema"])) == ("Ann met Bo.", asked[:4])
    assert made.prompts[0].prompt in made.summary()
    usual = show_prompt(request.model_copy(update={"dialect": "auto"}), Silent())
    assert (usual.dialect, len(usual.prompts), usual.prompts[0].tokens) == ("studio", 1, None)
    with pytest.raises(UserError, match="no text"):
        show_prompt(request.model_copy(update={"text": " … "}), Silent())


def test_the_command_line_knows_it() -> None:
    import subprocess
    import sys

    words = ["extract", "prompt", "--text", "胡适生于上海。", "--task", "ner", "--schema", "general-news-zh"]
    command = [sys.executable, "-m", "core", *words, "--dialect", "zhixi"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "### Input:\n胡适生于上海。\n\n### Response:\n" in done.stdout
