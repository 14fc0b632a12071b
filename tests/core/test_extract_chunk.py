"""Normalising and cutting texts, with the way back to their codepoints."""

from __future__ import annotations

import itertools

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from core.extract.chunk import chunks, sentences
from core.extract.normal import normalise
from tests.core.test_grammar import MIXED

LONG = st.one_of(MIXED, st.text(max_size=80), st.lists(MIXED, max_size=12).map(" ".join))


@settings(max_examples=200, deadline=None)
@given(LONG)
def test_every_normalised_character_knows_its_place(text: str) -> None:
    source = normalise(text)
    assert len(source.offsets) == len(source.text) + 1
    assert list(source.offsets) == sorted(source.offsets)
    assert not regex.search(r"[\p{Cc}\p{Cs}|｜]|  |^ | $", source.text)
    for position, char in enumerate(source.text):
        start, end = source.original(position, position + 1)
        assert text[start:end] == char or (char == " " and normalise(text[start:end]).text == "") or char == "¦"


@settings(max_examples=200, deadline=None)
@given(LONG, st.integers(5, 60), st.integers(0, 2))
def test_chunks_cover_the_text_within_the_limit_and_cut_no_grapheme(text: str, limit: int, overlap: int) -> None:
    made = chunks(text, limit, overlap)
    covered = {position for chunk in made for position in range(chunk.start, chunk.end)}
    assert covered == set(range(len(text)))
    whole = {0, *(match.end() for match in regex.finditer(r"\X", text))}
    longest = max((len(match.group()) for match in regex.finditer(r"\X", text)), default=0)
    for chunk in made:
        assert {chunk.start, chunk.end} <= whole
        assert chunk.end - chunk.start <= max(limit, longest)
        assert chunk.sentences[0] == chunk.start
    if not overlap:
        assert [chunk.start for chunk in made[1:]] == [chunk.end for chunk in made[:-1]]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Smith paid $3.50 to Mr. J. K. Jones Jr. of Acme Inc. in the U.S. market. He left.", 2),
        ("He works at Acme Inc. Then he left. She stayed!", 3),
        ('She said "Stop." Then she left. "Why?" he asked. Nobody knew...', 4),
        ("他说：“停下。”然后走了。真的吗？是的！", 4),
        ("气温为3.5度。E. coli 是细菌。", 2),
        ("One line\nthat goes on here. Next one.", 2),
        ("A heading\n\nThe first sentence.", 2),
        ("姓名：张三\n职业：医生\n", 2),
        ("Version 2.0 vs. version 3.1 etc. are fine e.g. here.", 1),
        ("", 0),
    ],
)
def test_sentences_end_where_a_reader_would_say(text: str, count: int) -> None:
    made = [text[start:end] for start, end in sentences(text)]
    assert len(made) == count, made


def test_an_endless_sentence_is_cut_at_a_comma() -> None:
    text = "word word word, " * 100
    assert all(text[chunk.start : chunk.end].endswith(", ") for chunk in chunks(text, 200)[:-1])
    chinese = "这是很长的一句话，没有句号，" * 100
    assert all(chinese[chunk.start : chunk.end].endswith("，") for chunk in chunks(chinese))


def test_overlapping_chunks_repeat_sentences() -> None:
    text = "".join(f"Sentence {number} is here. " for number in range(20))
    made = chunks(text, 100, overlap=1)
    assert all(later.start < earlier.end for earlier, later in itertools.pairwise(made))
