"""The grammars: they take every true answer, and nothing that isn't a verbatim piece of the text."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from core.extract import chunk, grammar, schema
from core.extract.answer import Found
from core.extract.dialects import oneke, studio
from core.extract.normal import Source, normalise, tidy
from core.extract.tasks import ee, ner
from core.extract.tasks import re as relations
from tests.core.gbnf import Grammar

SCHEMA = schema.from_json(
    {
        "entities": ["person", "place", 'odd "name"'],
        "relations": ["born in", "per:spouse"],
        "events": [{"name": "move", "roles": ["who", "to"]}, {"name": "rest", "roles": []}],
    },
    "test",
)
TASKS = {"ner": ner, "re": relations, "ee": ee}
MIXED = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "Marie",
                    "Curie",
                    " ",
                    " ",
                    ". ",
                    "中",
                    "文",
                    "。",
                    "，",
                    "|",
                    '"',
                    "\\",
                    "'",
                    "-",
                    "(",
                    ")",
                    "\r\n",
                    "\n\n",
                ),
                *("e\u0301", "👩‍👩‍👧", "🇨🇳", "ไทย", "한글", "हिन्दी", "\ud800", "\x00", "3,000.5", "\u3000", "｜", "《"),
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=25,
).map("".join)


def source_of(text: str) -> Source:
    return normalise(text, sentence_starts=tuple(start for start, _ in chunk.sentences(text)))


def spans(source: Source) -> list[str]:
    """Every span that a grammar allows."""
    made = grammar.pieces(source)
    found = []
    for first, piece in enumerate(made):
        if not piece.starts:
            continue
        for last in range(first, len(made)):
            if made[last].ends:
                found.append(source.text[piece.start : made[last].end])
            if not made[last].joins:
                break
    return found


@settings(max_examples=150, deadline=None)
@given(MIXED)
def test_pieces_are_whole_graphemes_and_cover_all_but_the_spaces(text: str) -> None:
    source = source_of(text)
    made = grammar.pieces(source)
    borders = {0, *(match.end() for match in regex.finditer(r"\X", source.text))}
    assert {border for piece in made for border in (piece.start, piece.end)} <= borders
    assert "".join(source.text[piece.start : piece.end] for piece in made) == source.text.replace(" ", "")


@settings(max_examples=120, deadline=None)
@given(MIXED, st.data())
def test_every_allowed_span_makes_an_answer_that_the_grammar_takes(text: str, data: st.DataObject) -> None:
    source = source_of(text)
    known = spans(source)
    takes = {task: Grammar(module.grammar(SCHEMA, grammar.verbatim(source))).takes for task, module in TASKS.items()}
    assert all(take("none") for take in takes.values())
    if not known:
        return
    one = st.sampled_from(known)
    entity = data.draw(one)
    pairs = data.draw(st.lists(st.tuples(one, one), min_size=1, max_size=4))
    assert takes["ner"](studio.write("ner", SCHEMA, [Found("place", entity)]))
    told = [Found("per:spouse", head, (("", tail),)) for head, tail in pairs]
    assert takes["re"](studio.write("re", SCHEMA, told))
    arguments = data.draw(st.lists(one, max_size=2))
    event = Found("move", entity, tuple(("to", argument) for argument in arguments))
    assert takes["ee"](studio.write("ee", SCHEMA, [event, Found("rest", pairs[0][0])]))


def test_a_span_that_is_not_in_the_text_is_refused() -> None:
    takes = Grammar(studio.grammar("ner", SCHEMA, source_of("Marie Curie lived in Paris."))).takes
    assert takes("person: Marie Curie\nplace: Paris")
    assert takes("person: Marie || Curie")
    for wrong in (
        "person: Pierre Curie",
        "person: Mari",
        "person: arie Curie",
        "person: Marie  Curie",
        "person: Curie || Marie",  # spans rise
        "person: Marie || Marie",  # and don't repeat
        "place: Paris\nperson: Marie",  # the schema's order
        "animal: Marie",
        "person: ",
        "person: Marie Curie ||",
        "person: . ",
        "none\nperson: Marie",
        "",
    ):
        assert not takes(wrong), wrong


def test_spans_stay_within_a_sentence_and_off_closing_signs() -> None:
    text = "他在北京。她去了“上海”，很好。Dr. Smith left. Paris waited."
    known = spans(source_of(text))
    assert {"北京", "上海", "“上海”", "Dr. Smith", "Paris"} <= set(known)
    assert not any("。她" in span or "left. Paris" in span for span in known)
    assert not any(span.startswith(("。", "，", "”")) or span.endswith(("，", "“")) for span in known)


@pytest.mark.parametrize(
    ("text", "limit"), [("The quick brown fox jumps. " * 23, 300), ("屠呦呦出生于浙江宁波。" * 27, 1000)]
)
def test_rules_are_few(text: str, limit: int) -> None:
    for module in TASKS.values():
        assert module.grammar(SCHEMA, grammar.verbatim(source_of(text))).count("::=") <= limit


def test_a_text_of_signs_only_can_only_be_none() -> None:
    assert studio.grammar("ner", SCHEMA, source_of("… ， 。")) == 'root ::= "none"\n'


@settings(max_examples=150, deadline=None)
@given(MIXED, st.data())
def test_the_outline_takes_what_the_grammar_takes_and_quotes_tells_which(text: str, data: st.DataObject) -> None:
    """So an answer under the outline needs no second question where its words are quoted."""
    source = source_of(text)
    known = spans(source)
    cut = st.tuples(st.integers(0, len(source.text)), st.integers(1, 12)).map(
        lambda at: tidy(source.text[at[0] : at[0] + at[1]])
    )
    word = (
        st.one_of(*([st.sampled_from(known)] * 2 if known else []), cut.filter(bool)) if source.text else st.nothing()
    )
    words = data.draw(st.lists(word, min_size=3, max_size=3) if source.text else st.just([]))
    if not words:
        return
    told = {
        "ner": [Found("person", one) for one in words] + [Found("place", words[0])],
        "re": [Found("born in", words[0], (("", words[1]),)), Found("per:spouse", words[2], (("", words[0]),))],
        "ee": [Found("move", words[0], (("who", words[1]), ("to", words[2]))), Found("rest", words[1])],
    }
    for dialect in (studio, oneke):
        for task, found in told.items():
            answer = dialect.write(task, SCHEMA, found)
            if dialect.read(task, SCHEMA, answer).found != tuple(found):
                continue  # the words hold the format's own signs
            assert Grammar(dialect.outline(task, SCHEMA)).takes(answer)
            taken = Grammar(dialect.grammar(task, SCHEMA, source)).takes(answer)
            assert dialect.quotes(task, found, source) == taken, (task, answer)
