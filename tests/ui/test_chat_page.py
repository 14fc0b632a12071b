"""The Chat page: what it offers, what it shows of answers, and what a model's text can't do."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.inference import chat
from core.inference.decoding import Decoding
from tests.ui.conftest import OpenPage, texts
from ui.parts.chat_messages import harmless

WORDS = {
    "en": {"title": "Chat", "load": "Load", "empty": "No model is loaded"},
    "zh": {"title": "对话", "load": "加载", "empty": "尚未加载模型"},
}


def test_without_a_model_the_starter_is_offered(open_page: OpenPage, language: str) -> None:
    page = open_page("chat")
    assert page.title[0].value == WORDS[language]["title"]
    assert page.button


@pytest.mark.model
def test_without_a_loaded_model_one_button_loads_it(
    starter_workspace: Path, open_page: OpenPage, language: str
) -> None:
    page = open_page("chat")
    assert WORDS[language]["load"] in page.button(key="chat.load").label
    assert WORDS[language]["empty"] in page.info[0].value
    assert all(page.button(key=f"chat.example.{place}").disabled for place in range(3))
    assert page.chat_input[0].disabled


@pytest.mark.model
def test_a_kept_conversation_shows_its_answers_and_what_became_of_them(
    starter_workspace: Path, open_page: OpenPage
) -> None:
    talk = chat.create("Be kind.")
    chat.wait(chat.ask(talk.id, "What is *this*?", "no-such-model", Decoding()))
    page = open_page("chat", chat=talk.id)
    assert "What is" in texts(page)
    assert "no\\-such\\-model" in page.error[0].value
    assert page.text_area[0].value == "Be kind."
    assert page.button(key="chat.again")


@pytest.mark.model
def test_a_conversation_is_deleted_after_asking(starter_workspace: Path, open_page: OpenPage) -> None:
    talk = chat.create()
    chat.wait(chat.ask(talk.id, "hello", "no-such-model", Decoding()))
    page = open_page("chat", chat=talk.id)
    page.button(key="chat.delete").click().run()
    assert chat.conversations() == []
    assert not page.exception


@pytest.mark.model
def test_a_conversation_that_is_gone_is_a_new_one(starter_workspace: Path, open_page: OpenPage) -> None:
    assert open_page("chat", chat="never-was").button(key="chat.example.0")


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil.example/a.png)",
        "`code` ![x][r]\n\n[r]: http://evil.example/a.png",
        "```\n![x](http://evil.example/a.png)",
        "\\\\![x](http://evil.example/a.png)",
        "[![x](http://evil.example/a.png)](http://evil.example)",
    ],
)
def test_a_models_text_holds_no_image(text: str) -> None:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(harmless(text))
    kinds = {child.type for token in tokens for child in [token, *(token.children or [])]}
    assert "image" not in kinds


def test_a_price_is_not_a_formula() -> None:
    assert harmless("from $5 to $6, `$x`") == "from \\$5 to \\$6, `$x`"
