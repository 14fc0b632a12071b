"""What a person keeps beside conversations: presets, system prompts; and finding what was said."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from core.inference import chat, chat_search, presets, prompts
from core.inference.chat import Way
from core.inference.decoding import Decoding
from tests.core import serve_stub

WARM = Decoding(temperature=0.8, top_k=40)


@pytest.fixture
def way(workspace: Path) -> Iterator[Way]:
    with serve_stub.running() as server:
        yield Way(server.ref)


def test_presets_are_saved_sent_and_brought_elsewhere(workspace: Path) -> None:
    assert presets.save("  warm   one ", WARM) == "warm one"
    assert stat.S_IMODE((workspace / "presets.json").stat().st_mode) == 0o600
    assert presets.own() == {"warm one": WARM}
    assert presets.named("warm one") == WARM
    sent = presets.as_json(presets.own())
    presets.save("warm one", Decoding(temperature=0.1))
    assert presets.bring(sent) == ["warm one (2)"]
    assert presets.bring(sent) == ["warm one (2)"]  # the same again is the same
    presets.remove("warm one")
    assert presets.own() == {"warm one (2)": WARM}
    with pytest.raises(UserError, match="no preset"):
        presets.named("cold")
    with pytest.raises(UserError, match="empty"):
        presets.save("  ", WARM)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "holds no presets"),
        ("[1]", "holds no presets"),
        (json.dumps({presets.FORMAT: {}}), "holds no presets"),
        (json.dumps({presets.FORMAT: {"hot": {"temperature": 99}}}), "“hot”"),
        (json.dumps({presets.FORMAT: {"good": {}, "odd": {"colour": "red"}}}), "colour"),
        (json.dumps({presets.FORMAT: {"odd": 3}}), "“odd”"),
    ],
)
def test_a_file_that_holds_no_presets_changes_nothing(workspace: Path, text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        presets.bring(text)
    assert presets.own() == {}


def test_a_broken_library_is_told_and_kept(workspace: Path) -> None:
    (workspace / "presets.json").write_text("{")
    with pytest.raises(UserError, match="can't be read"):
        presets.save("x", WARM)
    assert (workspace / "presets.json").read_text() == "{"


def test_system_prompts_are_ready_in_both_languages_and_ones_own_are_kept(workspace: Path) -> None:
    assert {prompt.language for prompt in prompts.ready()} == {"en", "zh"}
    prompts.save("mine", "Be brief. 简短。")
    assert prompts.own() == (prompts.Prompt("mine", "Be brief. 简短。"),)
    prompts.remove("mine")
    assert prompts.own() == ()


@pytest.fixture
def talks(way: Way) -> dict[str, str]:
    """{first words: conversation} of a few talks."""
    made = {}
    for text in (
        "Marie Curie moved to Paris",
        "屠呦呦发现了青蒿素",
        '100% of "quoted" snake_case',
        "Straße und İstanbul",
    ):
        talk = chat.create()
        chat.wait(chat.ask(talk.id, text, way))
        made[text.split()[0]] = talk.id
    return made


FINDS = [
    ("curie", "Marie"),
    ("paris MARIE", "Marie"),
    ("青蒿素", "屠呦呦发现了青蒿素"),
    ("发现", "屠呦呦发现了青蒿素"),  # two characters: shorter than the index's three
    ("100%", "100%"),
    ("snake_case", "100%"),
    ('"quoted"', "100%"),
    ("Straße", "Straße"),
]


@pytest.mark.parametrize("index", [True, False])
def test_words_are_found_in_all_conversations(
    talks: dict[str, str], index: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not index:
        monkeypatch.setattr(chat_search, "_bring_up_to_date", lambda store: False)
    for words, found in FINDS:
        places = chat_search.search(words)
        assert {place.conversation for place in places} == {talks[found]}, words
        place = places[-1]
        assert any(word.casefold() == place.words.casefold() for word in words.split())
        kept = chat.read(place.conversation)
        assert kept is not None
        assert any(message.id == place.message for message in kept.messages)


def test_what_changes_is_found_as_it_is_now(talks: dict[str, str], way: Way, workspace: Path) -> None:
    assert not chat_search.search("nowhere")
    assert not chat_search.search("   ")
    question = chat_search.search("Curie moved")[-1].message
    assert question is not None
    chat.wait(chat.edit(talks["Marie"], question, "Pierre stayed", way))
    assert {place.conversation for place in chat_search.search("pierre")} == {talks["Marie"]}
    chat.wait(chat.go_on(talks["Marie"], way))
    chat.rename(talks["Marie"], "Physics  and chemistry")
    assert chat_search.search("chemistry")[0].message is None
    chat.delete(talks["Marie"])
    assert not chat_search.search("curie")
    with sqlite3.connect(workspace / "chat.sqlite") as store:
        assert store.execute("SELECT count(*) FROM said WHERE text LIKE '%Curie%'").fetchone() == (0,)
