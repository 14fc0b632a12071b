"""Conversations as trees: edits, versions, two answers at once, files, forms, and files that older apps wrote."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import paths
from core.errors import UserError
from core.inference import chat, chat_export, chat_prompt, chat_store
from core.inference.chat import File, Way
from core.inference.decoding import Decoding
from core.inference.engine import PromptTooLong
from core.inference.prompting import alpaca
from tests.core import serve_stub


@pytest.fixture
def stub(workspace: Path) -> Iterator[serve_stub.Server]:
    with serve_stub.running() as server:
        yield server


@pytest.fixture
def way(stub: serve_stub.Server) -> Way:
    return Way(stub.ref)


def read(conversation: str) -> chat.Conversation:
    kept = chat.read(conversation)
    assert kept is not None
    return kept


def said(conversation: str) -> list[str]:
    return [message.text.strip() for message in read(conversation).messages]


def asked(way: Way, *texts: str) -> str:
    talk = chat.create()
    for text in texts:
        chat.wait(chat.ask(talk.id, text, way))
    return talk.id


def test_an_edited_question_is_a_branch_beside_the_old_one(stub: serve_stub.Server, way: Way) -> None:
    talk = asked(way, "one", "two")
    first = read(talk).messages[0]
    chat.wait(chat.edit(talk, first.id, "uno", way))
    assert said(talk) == ["uno", "You said: uno"]
    assert [message["content"] for message in stub.asked[-1]["messages"]] == ["uno"]
    versions = read(talk).versions(read(talk).messages[0])
    assert [version.text for version in versions] == ["one", "uno"]
    chat.choose(talk, first.id)
    assert said(talk) == ["one", "You said: one", "two", "You said: two"]
    chat.wait(chat.ask(talk, "three", way))
    assert [message["content"] for message in stub.asked[-1]["messages"]][::2] == ["one", "two", "three"]


def test_another_answer_keeps_the_one_before_as_a_version(way: Way) -> None:
    talk = asked(way, "hello")
    old = read(talk).messages[-1]
    new = chat.again(talk, Way(way.model, Decoding(temperature=1.0)))
    chat.wait(new)
    kept = read(talk)
    assert [version.id for version in kept.versions(kept.messages[-1])] == [old.id, new]
    assert kept.messages[-1].id == new
    chat.choose(talk, old.id)
    chat.wait(chat.ask(talk, "and then?", way))
    chat.choose(talk, new)
    assert said(talk) == ["hello", "You said: hello"]
    assert len(read(talk).tree) == 5


def test_two_answers_are_asked_for_at_once(stub: serve_stub.Server, way: Way) -> None:
    talk = chat.create()
    also = Way(way.model, Decoding(temperature=1.5))
    assert chat.both_at_once(way, also)
    first = chat.ask(talk.id, "SLOW please", way, also=also)
    wait_for(lambda: len(stub.asked) == 2)
    kept = read(talk.id)
    one, other = kept.versions(kept.messages[-1])
    assert (one.id, one.beside, other.beside) == (first, other.id, first)
    assert {body["temperature"] for body in stub.asked} == {0, 1.5}
    with pytest.raises(UserError, match="still being written"):
        chat.ask(talk.id, "and?", way)
    for answer in (one, other):
        chat.stop(answer.id)
        chat.wait(answer.id)
    assert [version.finish for version in read(talk.id).versions(one)] == ["cancelled", "cancelled"]


def test_a_file_goes_into_the_prompt_under_its_name(stub: serve_stub.Server, way: Way) -> None:
    talk = chat.create()
    notes = File("notes.txt", "Ada met Charles.\n")
    chat.wait(chat.ask(talk.id, "Who met whom?", way, files=[notes]))
    assert stub.asked[-1]["messages"][0]["content"] == (
        "--- notes.txt ---\nAda met Charles.\n--- end of notes.txt ---\n\nWho met whom?"
    )
    question = read(talk.id).messages[0]
    assert (question.text, question.files) == ("Who met whom?", (notes,))
    chat.wait(chat.edit(talk.id, question.id, "Who?", way))
    assert read(talk.id).messages[0].files == (notes,)


def test_a_file_that_does_not_fit_is_refused_before_anything_is_asked(stub: serve_stub.Server, way: Way) -> None:
    talk = chat.create()
    with pytest.raises(PromptTooLong, match=r"book\.txt"):
        chat.ask(talk.id, "Summarize", way, files=[File("book.txt", "word " * 50_000)])
    assert read(talk.id).messages == ()
    assert stub.asked == []


def test_a_base_model_is_sent_the_texts_and_nothing_else(stub: serve_stub.Server, way: Way) -> None:
    raw = Way(way.model, form="raw")
    talk = asked(raw, "Once upon a time", "there was")
    assert [body["prompt"] for body in stub.asked] == [
        "Once upon a time",
        "Once upon a timeYou said: Once upon a time there was",
    ]
    chat.wait(chat.go_on(talk, raw))
    assert stub.asked[-1]["prompt"].startswith("Once upon a timeYou said: Once upon a time there wasYou said: ")


def test_an_instruction_and_its_input_are_asked_as_knowlm_was_trained(stub: serve_stub.Server, way: Way) -> None:
    form = Way(way.model, form="alpaca")
    talk = chat.create("Nobody reads this.")
    chat.wait(chat.ask(talk.id, "Name the persons.", form, input_text="Ada met Charles."))
    chat.wait(chat.ask(talk.id, "Say hello.", form))
    assert [body["prompt"] for body in stub.asked] == [
        alpaca("Name the persons.", "Ada met Charles."),
        alpaca("Say hello."),
    ]
    chat.wait(chat.go_on(talk.id, form))
    assert stub.asked[-1]["prompt"].startswith(alpaca("Say hello.") + "You said: ")


def test_questions_without_an_answer_go_together(stub: serve_stub.Server, way: Way) -> None:
    """Templates of Llama-2's kind refuse two messages of a person in a row."""
    talk = asked(Way("no-such-model"), "Is anybody there?")
    chat.wait(chat.ask(talk, "hello", way))
    assert stub.asked[-1]["messages"] == [{"role": "user", "content": "Is anybody there?\n\nhello"}]


def test_conversations_of_an_older_app_are_all_there(workspace: Path, stub: serve_stub.Server, way: Way) -> None:
    facts = json.dumps({"model": "m", "title": "M", "tokens": 4, "seconds": 2.0, "first_token_seconds": 1.0})
    with sqlite3.connect(workspace / "chat.sqlite") as old:
        for statement in chat_store._STEPS[0]:
            old.execute(statement)
        old.execute("INSERT INTO conversations VALUES ('a', 'First', 'Be kind.', 1), ('b', 'Second', '', 2)")
        rows = [
            ("a", "user", "q1", "", "{}"),
            ("b", "user", "other", "", "{}"),
            ("a", "assistant", "a1", "stop", facts),
        ]
        rows += [("a", "user", "q2", "", "{}"), ("a", "assistant", "half", "", "{}")]
        old.executemany(
            "INSERT INTO messages (conversation, role, text, finish, facts, beat) VALUES (?, ?, ?, ?, ?, 1)", rows
        )
    assert [kept.title for kept in chat.conversations()] == ["Second", "First"]
    kept = read("a")
    assert kept.system == "Be kind."
    assert [(message.text, message.finish) for message in kept.messages] == [
        *(("q1", ""), ("a1", "stop"), ("q2", "")),
        ("half", "lost"),
    ]
    assert kept.messages[1].facts.rate == 4.0
    assert said("b") == ["other"]
    chat.wait(chat.go_on("a", way))
    assert said("a")[-1].startswith("halfYou said:")


def test_a_file_of_a_newer_app_is_left_alone(workspace: Path) -> None:
    with sqlite3.connect(workspace / "chat.sqlite") as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer version"):
        chat.conversations()


def test_a_killed_process_loses_no_more_than_a_moment_of_its_answer(stub: serve_stub.Server, way: Way) -> None:
    talk = chat.create()
    asks = "import sys; from core.inference import chat;chat.wait(chat.ask(sys.argv[1], 'SLOW', chat.Way(sys.argv[2])))"
    process = subprocess.Popen([sys.executable, "-c", asks, talk.id, stub.ref], cwd=paths.PROJECT)
    wait_for(lambda: bool(read(talk.id).messages and read(talk.id).messages[-1].text.count("word") > 3))
    assert read(talk.id).running is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    with chat_store.opened() as store:  # as it looks a minute later
        store.execute("UPDATE messages SET beat = beat - 60")
    kept = read(talk.id).messages[-1]
    assert kept.finish == "lost"
    assert kept.text.count("word") > 3
    chat.wait(chat.go_on(talk.id, way), 30)
    assert read(talk.id).messages[-1].finish == "stop"
    assert read(talk.id).messages[-1].text.startswith(kept.text)


def test_an_answer_that_only_waits_long_for_the_processor_is_not_lost(way: Way) -> None:
    talk = chat.create()
    answer = chat.ask(talk.id, "SLOW", way)
    with chat_store.opened() as store:
        store.execute("UPDATE messages SET beat = beat - 60")
    assert read(talk.id).messages[-1].running
    with pytest.raises(UserError, match="still being written"):
        chat.go_on(talk.id, way)
    chat.stop(answer)
    chat.wait(answer)
    assert read(talk.id).messages[-1].finish == "cancelled"


def test_a_conversation_is_exported_with_all_its_versions(way: Way) -> None:
    talk = chat.create("Be kind.")
    chat.wait(chat.ask(talk.id, "你好 / 😀", way, files=[File("a.md", "```\ncode\n```")]))
    chat.wait(chat.again(talk.id, way))
    kept = read(talk.id)
    text = chat_export.markdown(kept)
    assert "````\n```\ncode\n```\n````" in text
    assert text.count("You said") == 1
    whole = json.loads(chat_export.as_json(kept))
    assert [(row["role"], row["shown"]) for row in whole["messages"]] == [
        *(("user", True), ("assistant", False), ("assistant", True)),
    ]
    assert whole["messages"][0]["files"][0]["name"] == "a.md"
    assert whole["messages"][2]["finish"] == "stop"
    assert chat_export.file_name(kept, ".md") == "你好.md"


def test_a_broken_tree_ends_somewhere() -> None:
    loop = (chat.Message(1, "user", "a", parent=2), chat.Message(2, "assistant", "b", parent=1))
    assert len(chat.Conversation("x", "", leaf=2, tree=loop).messages) == 2


def test_what_a_model_can_hold_is_not_asked_of_one_that_is_not_loaded(starter_workspace: Path) -> None:
    request = chat_prompt.generation("", (chat.Message(1, "user", "word " * 100_000),), Way("starter-base"))
    chat_prompt.check_fits(request, "starter-base", ["x"])


def wait_for(true, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.05)
