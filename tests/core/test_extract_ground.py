"""Finding an answer's words in the text: to the letter, or as nearly as can be said."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from core.extract import grammar
from core.extract.answer import Found
from core.extract.ground import Finder
from core.extract.normal import after, normalise
from core.extract.schema import from_json
from core.extract.tasks import ee, ner
from core.records import Span
from tests.core.test_grammar import MIXED

SCHEMA = from_json({"entities": ["x"], "events": [{"name": "birth", "roles": ["who", "where"]}]}, "test")
EMOJI = ("👨‍👩‍👧‍👦", "👍🏽", "🇫🇷", "\u200d")
MARKS = ("e\u0301", "n\u0303o", "ﬁ", "각", "\u0e01\u0e33", "\u200b", "\ufeff", "\ud800")
WIDTHS = ("Ａｂｃ", "１２", "12", "\u3000", "\u00a0", "｜", "|", "…")
ODD = st.lists(
    st.sampled_from((*EMOJI, *MARKS, *WIDTHS, "\r\n", "\r", "\t", "屠呦呦", "臺灣", "。", "，", "Marie", " ", ". ")),
    max_size=25,
).map("".join)


def found(text: str, words: str) -> list[Span]:
    finder = Finder(normalise(text), text)
    return [finder.span(words, place) for place in finder.places(words)]


@settings(max_examples=150, deadline=None)
@given(st.one_of(ODD, MIXED), st.data())
def test_every_span_that_the_grammar_takes_is_grounded_verbatim(text: str, data: st.DataObject) -> None:
    source = normalise(text)
    spans = grammar.verbatim(source)
    starts = [number for number, piece in enumerate(spans.made) if piece.starts]
    if not starts:
        return
    number = data.draw(st.sampled_from(starts))
    ends, last = [], number
    while True:
        if spans.made[last].ends:
            ends.append(last)
        if not spans.made[last].joins:
            break
        last += 1
    end = spans.made[data.draw(st.sampled_from(ends))].end
    words = source.text[spans.made[number].start : end]
    assert spans.take([words])
    (entity,) = ner.ground([Found("x", words)], Finder(source, text))
    assert entity.start is not None and entity.end is not None
    assert text[entity.start : entity.end] == entity.text
    assert normalise(entity.text).text == words and entity.fit == 1.0
    whole = {0, *(match.end() for match in regex.finditer(r"\X", text))}
    assert {entity.start, entity.end} <= whole


@pytest.mark.parametrize(
    ("text", "words", "there", "least"),
    [
        ("MARIE CURIE lived", "Marie Curie", "MARIE CURIE", 0.9),
        ("Ｍａｒｉｅ lived", "Marie", "Ｍａｒｉｅ", 0.9),
        ("他在國立臺灣大學任教", "国立台湾大学", "國立臺灣大學", 0.8),
        ("他在国立台湾大学任教", "國立臺灣大學", "国立台湾大学", 0.8),
        ("an inter-\r\nnational congress", "international congress", "inter-\r\nnational congress", 0.9),
        ("a well-known man", "well known", "well-known", 0.9),
        ("they co\u00adoperate", "cooperate", "co\u00adoperate", 0.9),
        ("玛丽•居里与皮埃尔", "玛丽·居里", "玛丽•居里", 0.9),
        ("北京\n大学在海淀", "北京大学", "北京\n大学", 0.9),
        ("the “Great” War", 'the "Great" War', "the “Great” War", 0.9),
        ("cafe\u0301 au lait", "café", "cafe\u0301", 0.9),
    ],
)
def test_words_written_otherwise_are_found_and_say_how_well_they_fit(
    text: str, words: str, there: str, least: float
) -> None:
    (span,) = found(text, words)
    assert (span.text, text[span.start : span.end]) == (there, there)
    assert least <= span.fit < 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("in 1985", "1986"),
        ("in 1985", "198"),
        ("각", "가"),
        ("cafe\u0301", "cafe"),
        ("👨‍👩‍👧", "👨"),
        ("Marie", "Maria"),
        ("它", "他"),
    ],
)
def test_what_is_not_there_is_not_found(text: str, words: str) -> None:
    assert found(text, words) == []


def test_the_plain_word_is_taken_before_one_written_otherwise() -> None:
    assert [(span.start, span.fit) for span in found("us in the US, with us", "US")] == [(10, 1.0)]


def test_a_trigger_said_of_several_places_is_the_one_beside_its_arguments() -> None:
    text = "Ada was born in London. Bob was born in Paris."
    finder = Finder(normalise(text), text)
    said = [Found("birth", "born", (("who", "Bob"), ("where", "Paris"))), Found("birth", "born", (("who", "Ada"),))]
    assert [event.trigger.start for event in ee.ground(said, finder)] == [32, 8]


def test_nothing_reaches_from_the_context_into_the_text() -> None:
    text = "Marie Curie\n\nlong after\n\nPierre came"
    source = after([normalise(text, 0, 11)], normalise(text, 25, len(text)))
    assert source.text == "Marie Curie … Pierre came" and source.text[source.own :] == "Pierre came"
    finder = Finder(source, text)
    assert finder.places("Curie Pierre") == finder.places("Curie … Pierre") == []
    assert [finder.span("Curie", place) for place in finder.places("Curie")] == [Span("Curie", 6, 11)]
    pieces = grammar.verbatim(source)
    assert not pieces.take(["Curie … Pierre"]) and pieces.take(["Marie Curie", "Pierre came"])
