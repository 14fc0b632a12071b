"""Conversations: answered in the background by the real model, kept, stopped, gone on with, deleted."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from core.inference import chat, client, commands
from core.inference.chat import Way
from core.inference.decoding import Decoding
from core.operation import Silent

pytestmark = pytest.mark.alone

SHORT = Decoding(max_tokens=12)
LONG = Decoding(max_tokens=3000, temperature=1.0, seed=4, repetition_penalty=1.1)
NOBODY = Way("no-such-model", SHORT)


@pytest.fixture(scope="module")
def home(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").mkdir()
    for name in ("starter", "other"):
        (folder / "models" / name).symlink_to(starter.parent, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWLM_STUDIO_HOME", str(folder))
        yield folder
        client.unload()


def last(conversation: str) -> chat.Message:
    kept = chat.read(conversation)
    assert kept is not None
    return kept.messages[-1]


@pytest.mark.model
def test_an_answer_is_written_in_the_background_and_kept(home: Path) -> None:
    talk = chat.create("Be brief.")
    answer = chat.ask(talk.id, "Say hello 😀", Way("starter-base", SHORT))
    chat.wait(answer)
    message = last(talk.id)
    assert (message.role, message.finish, message.facts.tokens) == ("assistant", "length", 12)
    assert message.text
    assert message.facts.seconds >= (message.facts.first_token_seconds or 0) > 0
    kept = chat.read(talk.id)
    assert kept is not None
    assert (kept.title, kept.system) == ("Say hello 😀", "Be brief.")
    assert stat.S_IMODE((home / "chat.sqlite").stat().st_mode) == 0o600


@pytest.mark.model
def test_a_running_answer_is_seen_and_really_stopped(home: Path) -> None:
    talk = chat.create()
    answer = chat.ask(talk.id, "Tell a very long story about a river.", Way("starter-base", LONG))
    wait_for(lambda: len(last(talk.id).text) > 20)
    assert last(talk.id).running
    with pytest.raises(UserError, match="still being written"):
        chat.ask(talk.id, "And?", Way("starter-base", SHORT))
    chat.stop(answer)
    chat.wait(answer)
    assert last(talk.id).finish == "cancelled"
    assert len(last(talk.id).text) > 20
    wait_for(lambda: client.status().busy == 0)


@pytest.mark.model
def test_a_cut_answer_is_gone_on_with_where_it_ends(home: Path) -> None:
    talk = chat.create()
    whole = chat.ask(talk.id, "Count from one to twenty in words.", Way("starter-base", Decoding(max_tokens=30)))
    chat.wait(whole)
    expected = last(talk.id).text
    chat.wait(chat.again(talk.id, Way("starter-base", Decoding(max_tokens=10))))
    cut = last(talk.id).text
    assert expected.startswith(cut)
    chat.wait(chat.go_on(talk.id, Way("starter-base", Decoding(max_tokens=20))))
    kept = chat.read(talk.id)
    assert kept is not None
    assert len(kept.messages) == 2
    assert kept.messages[-1].text.startswith(cut)
    assert len(kept.messages[-1].text) > len(cut)
    assert kept.messages[-1].text[: len(cut) + 3] == expected[: len(cut) + 3]
    assert kept.messages[-1].facts.tokens == 30  # of both parts
    assert [version.text for version in kept.versions(kept.messages[-1])] == [expected, kept.messages[-1].text]


@pytest.mark.model
def test_a_base_model_goes_on_from_the_bare_text(home: Path) -> None:
    talk = chat.create("This is not sent.")
    chat.wait(chat.ask(talk.id, "The capital of France is", Way("starter-base", SHORT, "raw")))
    assert "Paris" in last(talk.id).text
    assert last(talk.id).facts.form == "raw"
    assert last(talk.id).facts.prompt_tokens < 10


@pytest.mark.model
def test_a_deleted_conversation_stops_its_answer(home: Path) -> None:
    talk = chat.create()
    answer = chat.ask(talk.id, "Tell a very long story.", Way("starter-base", LONG))
    wait_for(lambda: len(last(talk.id).text) > 5)
    chat.delete(talk.id)
    chat.wait(answer)
    assert chat.read(talk.id) is None
    wait_for(lambda: client.status().busy == 0)


@pytest.mark.model
def test_one_question_from_the_command_line(home: Path) -> None:
    request = commands.ChatRequest(once="The capital of France?", model="starter-base", decoding=SHORT)
    assert commands.chat(request, Silent()).summary().strip()


@pytest.mark.model
def test_of_two_local_models_the_second_answers_after_the_first(home: Path) -> None:
    way, also = Way("starter-base", SHORT), Way("other-base", SHORT)
    assert not chat.both_at_once(way, also)
    talk = chat.create()
    chat.ask(talk.id, "Say hello", way, also=also)
    kept = chat.read(talk.id)
    assert kept is not None
    for answer in kept.versions(kept.messages[-1]):
        chat.wait(answer.id)
    kept = chat.read(talk.id)
    assert kept is not None
    one, other = kept.versions(kept.messages[-1])
    assert (one.finish, other.finish) == ("length", "length")
    assert one.text == other.text  # the same file under two names
    assert client.status().model == "other-base"


def test_a_failure_is_kept_with_its_remedy(workspace: Path) -> None:
    talk = chat.create()
    chat.wait(chat.ask(talk.id, "hello", NOBODY))
    message = last(talk.id)
    assert message.finish == "error"
    assert message.facts.error is not None
    assert "no model" in UserError.from_dict(message.facts.error).problem


def test_an_answer_whose_process_ended_is_told_lost(workspace: Path) -> None:
    talk = chat.create()
    chat.wait(chat.ask(talk.id, "hello", NOBODY))
    with sqlite3.connect(workspace / "chat.sqlite") as store:
        store.execute("UPDATE messages SET finish = '', beat = ? WHERE role = 'assistant'", (time.time() - 60,))
    assert last(talk.id).finish == "lost"


def test_any_text_is_kept(workspace: Path) -> None:
    talk = chat.create("\udfff")
    for text in ("a\0b", "half \ud800 pair", "😀" * 1000, "'; DROP TABLE messages; --"):
        chat.wait(chat.ask(talk.id, text, NOBODY))
    kept = chat.read(talk.id)
    assert kept is not None
    said = [message.text for message in kept.messages if message.role == "user"]
    assert said == ["a\0b", "half \ufffd pair", "😀" * 1000, "'; DROP TABLE messages; --"]


def test_a_broken_store_is_told_in_words(workspace: Path) -> None:
    (workspace / "chat.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="can't be used"):
        chat.conversations()


def wait_for(true, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.05)
