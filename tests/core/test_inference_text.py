"""Streams hold back what is not yet sure, and never lose or add a character."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.inference.text import Characters, StopAt


def as_bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(alphabet=st.characters(blacklist_characters="\ufffd", blacklist_categories=("Cs",))))
def test_bytes_fed_one_by_one_come_back_as_the_text(text: str) -> None:
    characters = Characters(as_bytes, [])
    parts = [characters.put(byte) for byte in text.encode()]
    assert "".join(parts) == text
    assert all("\ufffd" not in part for part in parts)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_yield_no_replacement_characters(noise: bytes) -> None:
    characters = Characters(as_bytes, list("é".encode()))
    assert "\ufffd" not in "".join(characters.put(byte) for byte in noise)


def test_a_half_character_at_the_end_is_held_back() -> None:
    characters = Characters(as_bytes, [])
    assert [characters.put(byte) for byte in "a😀".encode()[:-1]] == ["a", "", "", ""]


@given(st.text("abc", max_size=40), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_a_stop_string_is_found_however_the_text_is_cut(text: str, stops: list[str], data: st.DataObject) -> None:
    gate = StopAt(stops)
    out, left = "", text
    while left:
        size = data.draw(st.integers(1, len(left)))
        out += gate.put(left[:size])
        left = left[size:]
    out += gate.rest()
    places = [text.find(stop) for stop in stops if stop in text]
    if not places:
        assert out == text
        return
    # The first stop string that is complete ends the text, wherever it begins.
    assert gate.stopped
    assert text.startswith(out)
    assert any(text[len(out) :].startswith(stop) for stop in stops)
