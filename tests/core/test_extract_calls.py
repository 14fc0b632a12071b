"""How often a model is asked for one text: once, or again where an engine that compiles grammars said too much."""

from __future__ import annotations

import pytest

from core.extract import schema
from core.extract.dialects import studio
from core.extract.one import extract_text
from core.inference.client import Answer
from core.inference.decoding import Decoding
from core.models import Card, Model

SCHEMA = schema.from_json({"entities": ["person", "place"]}, "test")
TEXT = "Marie Curie lived in Paris."


class Stub:
    """Answers the first of its answers under the outline, the last under the text's own grammar."""

    parallel, context = 1, 4096
    model = Model("m", "gguf", Card(title="m", languages=("en",), prompt_form="raw", trained_for_extraction=True), None)

    def __init__(self, *answers: str, compiles: bool = True) -> None:
        self.can = {"grammar": True, "compiles": compiles}
        self.answers, self.grammars = list(answers), []

    def complete(self, prompt: str, decoding: Decoding, *, grammar: str | None = None, stop: tuple = ()) -> Answer:
        self.grammars.append(grammar)
        return Answer(self.answers.pop(0), "stop", 50, 7, 0.5)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        (["person: Marie Curie\nplace: Paris"], 1),
        (["none"], 1),
        (["person: Pierre Curie", "person: Marie Curie\nplace: Paris"], 2),
        (["person: Curie || Marie", "person: Marie || Curie"], 2),
        (["person: Mari", "person: Marie"], 2),
    ],
)
def test_the_outline_is_enough_where_its_answer_quotes_the_text(answers: list[str], asked: int) -> None:
    model = Stub(*answers)
    found = extract_text(model, TEXT, SCHEMA, "ner")
    outline = studio.outline("ner", SCHEMA)
    assert [grammar == outline for grammar in model.grammars] == [True, False][:asked]
    assert found.provenance["tokens"] == 7 * asked and found.provenance["seconds"] == 0.5 * asked
    assert [one.text for one in found.entities] == [one.text for one in studio.read("ner", SCHEMA, answers[-1]).found]
    assert all(TEXT[one.start : one.end] == one.text for one in found.entities)


def test_engines_that_compile_nothing_get_the_texts_own_grammar_at_once() -> None:
    model = Stub("person: Marie Curie", compiles=False)
    extract_text(model, TEXT, SCHEMA, "ner")
    assert len(model.grammars) == 1 and model.grammars[0] != studio.outline("ner", SCHEMA)
