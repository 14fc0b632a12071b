"""The chat in a terminal, as the process it is and command by command; its model is a stub on loopback."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import paths
from core.errors import UserError
from core.inference import chat
from core.inference.chat_commands import COMMANDS, Left
from core.inference.chat_terminal import Terminal, take
from core.inference.decoding import Decoding
from tests.core import serve_stub

pytestmark = pytest.mark.alone


@pytest.fixture
def stub(workspace: Path) -> Iterator[serve_stub.Server]:
    with serve_stub.running() as server:
        yield server


@pytest.fixture
def terminal(stub: serve_stub.Server) -> Terminal:
    return Terminal(stub.ref)


def command(stub: serve_stub.Server) -> list[str]:
    return [sys.executable, "-m", "core", "chat", "--model", stub.ref]


def test_a_piped_talk_goes_through_the_settings_it_is_told(stub: serve_stub.Server) -> None:
    lines = [
        "/set temperature 0.3",
        "/system Be kind.",
        "hello 😀 𠮷\u202f!",
        "/set seed 7",
        "one \\",
        "two",
        "//slash",
    ]
    talk = subprocess.run(
        command(stub),
        cwd=paths.PROJECT,
        input="\n".join(lines).encode() + b"\nbroken \xff byte",
        capture_output=True,
        timeout=60,
        check=True,
    )
    answers = talk.stdout.decode().splitlines()
    assert answers[:3] == ["You said: hello 😀 𠮷 ! ", "You said: one two ", "You said: /slash "]
    assert answers[3] == "You said: broken \ufffd byte "
    assert "temperature = 0.3" in talk.stderr.decode()
    first, second, third, _ = stub.asked
    assert (first["temperature"], first.get("seed"), second["seed"]) == (0.3, None, 7)
    assert [said["role"] for said in third["messages"]] == ["system", *["user", "assistant"] * 2, "user"]
    assert third["messages"][0]["content"] == "Be kind."
    [kept] = chat.conversations()
    assert kept.system == "Be kind."  # the page shows it too
    assert kept.title.startswith("hello")


def test_every_setting_changes_while_it_runs(terminal: Terminal, capsys: pytest.CaptureFixture) -> None:
    for name in Decoding.model_fields:
        take(terminal, f"/get {name}")
    take(terminal, "/set temperature=0.7")
    take(terminal, "/set max_tokens 9")
    take(terminal, "/set seed 3")
    assert (terminal.decoding.temperature, terminal.decoding.max_tokens, terminal.decoding.seed) == (0.7, 9, 3)
    take(terminal, "/set seed")
    take(terminal, "/set temperature")
    assert (terminal.decoding.temperature, terminal.decoding.seed) == (0.0, None)
    capsys.readouterr()
    take(terminal, "/get")
    told = capsys.readouterr().err
    assert all(f"{name} = " in told for name in Decoding.model_fields)
    for wrong in ("/set temperature 99", "/set temperature x", "/set colour red", "/get colour", "/dance", "/set"):
        with pytest.raises(UserError):
            take(terminal, wrong)
    assert terminal.decoding.max_tokens == 9


def test_an_answer_is_given_again_and_gone_on_with(terminal: Terminal, stub: serve_stub.Server) -> None:
    for needs_talk in ("/retry", "/continue", "/save x.md"):
        with pytest.raises(UserError, match="Nothing has been said"):
            take(terminal, needs_talk)
    take(terminal, "hello")
    take(terminal, "/set temperature 1")
    take(terminal, "/retry")
    assert [said["content"] for said in stub.asked[-1]["messages"]] == ["hello"]
    assert stub.asked[-1]["temperature"] == 1
    take(terminal, "/continue")
    assert [said["role"] for said in stub.asked[-1]["messages"]] == ["user", "assistant"]
    assert len(terminal.kept().messages) == 2
    assert len(terminal.kept().tree) == 3


def test_questions_are_edited_and_versions_gone_back_to(
    terminal: Terminal, stub: serve_stub.Server, capsys: pytest.CaptureFixture
) -> None:
    take(terminal, "one")
    take(terminal, "/edit two")
    assert [said["content"] for said in stub.asked[-1]["messages"]] == ["two"]
    take(terminal, "/retry")
    capsys.readouterr()
    take(terminal, "/versions")
    listed = capsys.readouterr().err.splitlines()
    assert [line[:1] for line in listed] == [" ", "*", " "]
    assert "asked: one" in listed[2]
    take(terminal, "/versions 3")
    assert terminal.kept().messages[0].text == "one"
    for wrong in ("/versions 9", "/edit"):
        with pytest.raises(UserError):
            take(terminal, wrong)


def test_presets_and_ways_of_asking_are_chosen_by_name(
    terminal: Terminal, stub: serve_stub.Server, capsys: pytest.CaptureFixture
) -> None:
    take(terminal, "/preset creative")
    assert terminal.decoding.temperature > 1
    take(terminal, "/preset =mine")
    take(terminal, "/preset precise")
    take(terminal, "/preset mine")
    assert terminal.decoding.temperature > 1
    capsys.readouterr()
    take(terminal, "/preset")
    assert "* mine" in capsys.readouterr().err
    take(terminal, "/form raw")
    take(terminal, "Once upon")
    assert stub.asked[-1]["prompt"] == "Once upon"
    for wrong in ("/preset nobody", "/form round"):
        with pytest.raises(UserError):
            take(terminal, wrong)


def test_words_are_looked_for_and_their_conversation_opened(terminal: Terminal, capsys: pytest.CaptureFixture) -> None:
    take(terminal, "第一句话")
    take(terminal, "/reset")
    take(terminal, "something else")
    take(terminal, "/search 一句")
    assert "第一句话" in capsys.readouterr().err
    take(terminal, "/open 1")
    assert terminal.kept().title == "第一句话"
    take(terminal, "/search nowhere")
    assert "Nothing was found" in capsys.readouterr().err


def test_conversations_begin_anew_and_are_opened_again(terminal: Terminal, capsys: pytest.CaptureFixture) -> None:
    take(terminal, "first thing")
    take(terminal, "/reset")
    take(terminal, "second thing")
    capsys.readouterr()
    take(terminal, "/history")
    listed = capsys.readouterr().err.splitlines()
    assert "second thing" in listed[0] and "first thing" in listed[1]
    take(terminal, "/open 2")
    assert terminal.kept().title == "first thing"
    assert "> first thing" in capsys.readouterr().out
    for wrong in ("/open", "/open 3", "/open x", "/open -1"):
        with pytest.raises(UserError):
            take(terminal, wrong)
    with pytest.raises(Left):
        take(terminal, "/quit")


def test_a_talk_is_saved_as_markdown(terminal: Terminal, tmp_path: Path) -> None:
    take(terminal, "/system 你是助手")
    take(terminal, "你好 😀")
    file = tmp_path / "talk.md"
    take(terminal, f"/save {file}")
    text = file.read_text(encoding="utf-8")
    assert text.startswith(
        "# 你好 😀\n\n*System prompt:* 你是助手\n\n## You\n\n你好 😀\n\n## stub\n\nYou said: 你好 😀 "
    )
    take(terminal, f"/save {tmp_path / 'talk.json'}")
    assert json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))["system"] == "你是助手"
    with pytest.raises(UserError, match="already"):
        take(terminal, f"/save {file}")
    with pytest.raises(UserError, match="can't be written"):
        take(terminal, f"/save {tmp_path / 'nowhere' / 'talk.md'}")


def test_another_model_answers_from_now_on(terminal: Terminal, capsys: pytest.CaptureFixture) -> None:
    with serve_stub.running() as other:
        take(terminal, "hello")
        take(terminal, f"/model {other.ref}")
        take(terminal, "and you?")
        assert [said["role"] for said in other.asked[-1]["messages"]] == ["user", "assistant", "user"]
        capsys.readouterr()
        take(terminal, "/model")
        assert f"* {other.ref}" in capsys.readouterr().err
        with pytest.raises(UserError):
            take(terminal, "/model no-such-model")
        assert terminal.model == other.ref


def test_a_failure_is_told_and_the_talk_goes_on(terminal: Terminal, capsys: pytest.CaptureFixture) -> None:
    take(terminal, "BROKEN")
    assert "told to fail" in capsys.readouterr().err
    take(terminal, "/edit hello")
    assert capsys.readouterr().out.startswith("You said: hello")


def test_help_names_every_command(terminal: Terminal, capsys: pytest.CaptureFixture) -> None:
    take(terminal, "/help")
    told = capsys.readouterr().err
    assert all(made.form in told for made in COMMANDS.values())


def test_ctrl_c_stops_the_answer_and_stays(stub: serve_stub.Server) -> None:
    """In a real terminal, whose model also tries to clear the screen."""
    main, end = pty.openpty()
    process = subprocess.Popen(command(stub), cwd=paths.PROJECT, stdin=end, stdout=end, stderr=end, close_fds=True)
    os.close(end)
    seen = _until(main, "> ")
    os.write(main, b"SLOW\n")
    _until(main, "word word")
    process.send_signal(signal.SIGINT)
    seen = _until(main, "stopped")
    assert stub.left.wait(3)
    assert seen.count("word") < 90
    os.write(main, "say \x16\x1b[2J 好\n".encode())
    seen = _until(main, "first after")
    assert "You said: say [2J 好" in seen
    os.write(main, b"/quit\n")
    assert process.wait(10) == 0
    os.close(main)
    answer = chat.read(chat.conversations()[0].id)
    assert answer is not None
    assert [message.finish for message in answer.messages if message.role == "assistant"] == ["cancelled", "stop"]


def _until(terminal: int, text: str, seconds: float = 30) -> str:
    """What the terminal shows up to and with this text."""
    seen, until = b"", time.monotonic() + seconds
    os.set_blocking(terminal, False)
    while not re.search(re.escape(text), seen.decode(errors="replace")):
        assert time.monotonic() < until, f"no {text!r} in {seen!r}"
        try:
            seen += os.read(terminal, 4096)
        except BlockingIOError:
            time.sleep(0.02)
    return seen.decode(errors="replace")
