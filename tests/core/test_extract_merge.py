"""Records of chunks that say the same of a text, and what a chunk is shown of what stood before it."""

from __future__ import annotations

import re
import sys
from typing import ClassVar

import pytest

from core.extract import calls
from core.extract.calls import Options
from core.extract.chunk import chunks
from core.extract.headings import leads
from core.extract.merge import merged
from core.extract.one import extract_text
from core.extract.schema import from_json
from core.inference.client import Answer
from core.models import Card, Model
from core.records import Argument, Entity, Event, Extraction, Relation, Span

END = "\n\n"
A, B = Span("Ann Lee", 0, 7), Span("Oslo", 20, 24)


def pieces(*records: Entity | Relation | Event | None) -> list[Extraction]:
    """A piece a record."""
    return [
        Extraction(
            "",
            "",
            entities=tuple(one for one in [record] if isinstance(one, Entity)),
            relations=tuple(one for one in [record] if isinstance(one, Relation)),
            events=tuple(one for one in [record] if isinstance(one, Event)),
        )
        for record in records
    ]


def test_a_mention_that_two_chunks_found_is_one_and_the_longer_one_is_kept() -> None:
    long, short = Entity("Ann Lee", "person", 0, 7, confidence=0.5), Entity("Lee", "person", 4, 7, confidence=0.9)
    found, _, _ = merged(pieces(short, long, Entity("Oslo", "place", 20, 24), Entity("Ann Lee", "person", 0, 7)))
    assert found == (long, Entity("Oslo", "place", 20, 24))
    assert found[0].confidence == 0.9
    both = Extraction("", "", entities=(long, short))
    assert len(merged([both, *pieces(long)])[0]) == 2, "one call that gives both means both"
    assert len(merged(pieces(long, Entity("Lee", "name", 4, 7)))[0]) == 2, "other types are other records"


def test_a_relation_of_two_chunks_is_one_and_a_located_one_stands_for_one_that_is_not() -> None:
    whole = Relation(A, "lives in", B)
    _, found, _ = merged(
        pieces(Relation(Span("Lee", 4, 7), "lives in", B), whole, Relation(A, "lives in", Span("Oslo")))
    )
    assert found == (whole,)
    elsewhere = Relation(Span("Ann Lee", 50, 57), "lives in", Span("Oslo", 60, 64))
    assert merged(pieces(elsewhere, whole))[1] == (whole, elsewhere), "another place is evidence of its own"
    lost = Relation(Span("She"), "lives in", B)
    assert merged(pieces(lost, lost, whole))[1] == (whole, lost)


def test_an_event_of_two_chunks_has_the_arguments_of_both() -> None:
    who, where = Argument("who", "Ann Lee", 0, 7), Argument("where", "Oslo", 20, 24)
    born = Span("born", 12, 16)
    _, _, (event,) = merged(pieces(Event("birth", born, (who,)), Event("birth", born, (who, where))))
    assert event.arguments == (who, where)


class Sayer:
    """Answers each prompt by a rule of the text that it shows, and keeps the prompts."""

    parallel, context = 1, 4096
    can: ClassVar[dict] = {}

    def __init__(self, *, trained: bool, say) -> None:
        card = Card(title="m", languages=("en", "zh"), prompt_form="raw", trained_for_extraction=trained)
        self.model = Model("m", "gguf", card, None)
        self.say, self.shown = say, []

    def complete(self, prompt: str, decoding, *, grammar=None, stop=()) -> Answer:
        text = re.split(r"\n(?:Text: |文本：)", prompt)[-1].rsplit("\n", 2)[0]
        self.shown.append(text)
        return Answer(self.say(text), "stop", 1, 1, 0.0)


RELATIONS = from_json({"relations": ["lives in"]}, "test")
STORY = "Ann Lee\n\nShe was a painter of some fame. She lived for long years in Oslo. She died there.\n"


def test_a_chunk_is_shown_its_heading_and_relations_may_reach_into_it() -> None:
    model = Sayer(trained=False, say=lambda text: "lives in: Ann Lee | Oslo" if "Oslo" in text else "none")
    found = extract_text(model, STORY, RELATIONS, "re", options=Options(chunk_characters=45))
    assert any(text.startswith("Ann Lee … ") and "Oslo" in text for text in model.shown)
    (relation,) = found.relations
    assert (relation.head, relation.tail) == (Span("Ann Lee", 0, 7), Span("Oslo", 69, 73))


@pytest.mark.parametrize(("trained", "context"), [(True, "auto"), (False, "off")])
def test_no_context_for_models_trained_on_plain_texts(trained: bool, context) -> None:
    model = Sayer(trained=trained, say=lambda text: "none")
    extract_text(model, STORY, RELATIONS, "re", options=Options(chunk_characters=45, context=context))
    assert not any("…" in text for text in model.shown)


def test_what_stands_in_the_context_alone_is_left_to_its_own_chunk() -> None:
    model = Sayer(trained=False, say=lambda text: "birth: Ann Lee" if "Ann" in text else "none")
    schema = from_json({"events": [{"name": "birth", "roles": ["who"]}]}, "test")
    found = extract_text(model, STORY, schema, "ee", options=Options(chunk_characters=45))
    assert sum("Ann" in text for text in model.shown) > 1 and len(found.events) == 1


def page(number: int, chinese: bool) -> str:
    if chinese:
        head = f"第{number}节 城市{number}号\n\n"
        return (
            head + "".join(f"张三{number}第{line}次来到城市{number}号，在那里住了很久。" for line in range(40)) + "\n\n"
        )
    head = f"{number} Town {number}\n\n"
    return (
        head
        + "".join(f"Mr Smith{number} came to Town{number} by train {line} and stayed. " for line in range(40))
        + "\n\n"
    )


@pytest.mark.parametrize("chinese", [False, True])
def test_two_hundred_pages_yield_their_records_to_the_last_page(chinese: bool) -> None:
    text = "".join(page(number, chinese) for number in range(1, 201))
    name = re.compile(r"张三\d+?(?=第)|Smith\d+")
    model = Sayer(trained=True, say=lambda shown: "person: " + " || ".join(name.findall(shown)))
    found = extract_text(model, text, from_json({"entities": ["person"]}, "test"), "ner")
    places = [match.span() for match in name.finditer(text)]
    assert len(places) == 8000
    assert [(one.start, one.end) for one in found.entities] == places
    assert found.provenance["calls"] > 700


def test_no_heading_is_cut_from_what_follows_it() -> None:
    for text in ("".join(page(number, chinese) for number in range(1, 40)) for chinese in (False, True)):
        for chunk in chunks(text, 200, 1)[:-1]:
            last = text[chunk.start : chunk.end].splitlines(keepends=True)[-2:]
            assert not leads("".join(last)), last


def test_a_sentence_as_long_as_a_chunk_is_not_repeated_whole() -> None:
    text = " ".join(f"Sentence {number} " + "goes on and on " * 11 + "here." for number in range(9))
    made = chunks(text, 200, 1)
    assert len(made) == 9 and sum(chunk.end - chunk.start for chunk in made) == len(text)


def test_a_book_is_cut_without_holding_a_number_a_character_as_objects() -> None:
    text = "Some words stand here, and others there. " * 25_000
    part = calls.parts(from_json({"entities": ["person"]}, "test"), ["ner"], Options())[0]
    made = calls.calls(text, part, Options())
    assert len(made) > 1500 and all(sys.getsizeof(one.source.offsets) < 5000 for one in made[:50])
    assert calls.calls(text, part, Options())[0].source is made[0].source, "the next part reads the same pieces"
