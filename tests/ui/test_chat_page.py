"""The Chat page: what it offers, what it shows of answers, and what a model's text can't do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import settings
from core.errors import UserError
from core.inference import chat, presets, prompts
from core.inference.chat import Way
from core.inference.decoding import Decoding
from tests.core import serve_stub
from tests.ui.conftest import OpenPage, texts
from ui.parts.chat_files import attached
from ui.parts.chat_messages import harmless

NOBODY = Way("no-such-model")

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
    chat.wait(chat.ask(talk.id, "What is *this*?", NOBODY))
    page = open_page("chat", chat=talk.id)
    assert "What is" in texts(page)
    assert "no\\-such\\-model" in page.error[0].value
    assert page.text_area[0].value == "Be kind."
    assert page.button(key="chat.again")


@pytest.mark.model
def test_a_conversation_is_deleted_after_asking(starter_workspace: Path, open_page: OpenPage) -> None:
    talk = chat.create()
    chat.wait(chat.ask(talk.id, "hello", NOBODY))
    page = open_page("chat", chat=talk.id)
    page.button(key="chat.delete").click().run()
    assert chat.conversations() == []
    assert not page.exception


@pytest.mark.model
def test_a_conversation_that_is_gone_is_a_new_one(starter_workspace: Path, open_page: OpenPage) -> None:
    assert open_page("chat", chat="never-was").button(key="chat.example.0")


@pytest.fixture
def stub(workspace: Path) -> Iterator[serve_stub.Server]:
    """A model on another server, as a person adds it in Settings."""
    with serve_stub.running() as server:
        url = server.ref.partition("#")[0]
        endpoint = settings.Endpoint(name="stub", url=url, model="stub")
        settings.write(settings.Settings(language="en", endpoints=(endpoint,)))
        yield server


def shown(page: AppTest) -> chat.Conversation:
    named = page.query_params["chat"]
    kept = chat.read(named if isinstance(named, str) else named[0])
    assert kept is not None
    return kept


def over(page: AppTest) -> AppTest:
    """The page once no answer is being written."""
    for message in shown(page).tree:
        chat.wait(message.id)
    page.run()
    assert not page.exception, page.exception
    return page


def test_a_question_is_asked_edited_and_answered_again(stub: serve_stub.Server, open_page: OpenPage) -> None:
    page = open_page("chat")
    page.chat_input[0].set_value("one").run()
    page = over(page)
    assert "You said: one" in texts(page)
    assert "first after" in texts(page) and "complete" in texts(page)
    page.button(key="chat.again").click().run()
    page = over(page)
    assert "2/2" in texts(page)
    first, second = (message.id for message in shown(page).tree if message.role == "assistant")
    page.button(key=f"chat.version.-1.{second}").click().run()
    assert shown(page).leaf == first
    assert "1/2" in texts(page)
    question = shown(page).messages[0].id
    page.button(key=f"chat.edit.{question}").click().run()
    page.text_area(key=f"chat.edit.text.{question}").set_value("two")
    page.button(key="chat.edit.ask").click().run()
    page = over(page)
    assert [message.text.strip() for message in shown(page).messages] == ["two", "You said: two"]
    assert len(shown(page).versions(shown(page).messages[0])) == 2


def test_two_answers_stand_side_by_side_and_one_is_gone_on_with(stub: serve_stub.Server, open_page: OpenPage) -> None:
    page = open_page("chat")
    page.toggle(key="chat.both").set_value(True).run()
    page.selectbox(key="chat.second.preset").set_value("ready:precise").run()
    assert "Both are asked at once." in texts(page)
    page.chat_input[0].set_value("hello").run()
    page = over(page)
    assert texts(page).count("You said: hello") == 2
    assert {body["temperature"] for body in stub.asked} == {0, 0.7}
    other = shown(page).find(shown(page).messages[-1].beside)
    assert other is not None
    page.button(key=f"chat.choose.{other.id}").click().run()
    assert shown(page).leaf == other.id


def test_the_instruction_form_has_an_input_and_no_system_prompt(stub: serve_stub.Server, open_page: OpenPage) -> None:
    page = open_page("chat")
    page.selectbox(key=f"chat.form.{stub.ref}").set_value("alpaca").run()
    assert page.text_area(key="chat.system.new").disabled
    page.text_area(key="chat.given.0").set_value("Ada met Charles.").run()
    page.chat_input[0].set_value("Name them.").run()
    page = over(page)
    assert "### Input:\nAda met Charles.\n\n### Response:" in stub.asked[-1]["prompt"]
    assert page.text_area(key="chat.given.1").value == ""


def test_presets_set_the_controls_and_are_saved(stub: serve_stub.Server, open_page: OpenPage) -> None:
    presets.save("hot", Decoding(temperature=3, max_tokens=9000))
    page = open_page("chat")
    assert page.selectbox(key="chat.preset").value == "ready:balanced"
    page.selectbox(key="chat.preset").set_value("own:hot").run()
    assert page.slider(key="chat.decoding.temperature").value == 3
    page.slider(key="chat.decoding.temperature").set_value(1.0).run()
    assert page.selectbox(key="chat.preset").value == ""
    assert page.slider(key="chat.decoding.max_tokens").value == 9000
    page.selectbox(key="chat.preset").set_value("ready:knowlm").run()
    assert page.slider(key="chat.decoding.repetition_penalty").value == 1.3
    assert "4 beams are wanted" in texts(page)
    page.chat_input[0].set_value("hello").run()
    over(page)
    assert stub.asked[-1]["temperature"] == 0


def test_a_system_prompt_is_taken_from_the_library(stub: serve_stub.Server, open_page: OpenPage) -> None:
    prompts.save("mine", "Be brief.")
    page = open_page("chat")
    page.button(key="chat.prompt.0").click().run()
    assert page.text_area(key="chat.system.new").value == "Be brief."
    page.chat_input[0].set_value("hello").run()
    page = over(page)
    assert shown(page).system == "Be brief."
    page.button(key="chat.prompt.1").click().run()
    assert shown(page).system == prompts.ready()[0].text
    chat.set_system(shown(page).id, "Changed in another tab.")
    page.run()
    assert shown(page).system == "Changed in another tab."


def test_words_are_found_and_lead_to_their_branch(stub: serve_stub.Server, open_page: OpenPage) -> None:
    talk = chat.create()
    chat.wait(chat.ask(talk.id, "where is it?", Way(stub.ref)))
    kept = chat.read(talk.id)
    assert kept is not None
    question = kept.messages[0].id
    chat.wait(chat.edit(talk.id, question, "another thing", Way(stub.ref)))
    page = open_page("chat", chat="new")
    page.text_input(key="chat.search").set_value("where is").run()
    buttons = [button for button in page.button if (button.key or "").startswith("chat.found")]
    buttons[-1].click().run()
    assert shown(page).messages[0].id == question


def test_an_answer_is_sent_to_extract(stub: serve_stub.Server, open_page: OpenPage) -> None:
    talk = chat.create()
    answer = chat.ask(talk.id, "Ada met Charles", Way(stub.ref))
    chat.wait(answer)
    page = open_page("chat", chat=talk.id)
    page.button(key=f"chat.extract.{answer}").click().run()
    assert not page.exception
    assert any("You said: Ada met Charles" in (area.value or "") for area in page.text_area)


class Dropped(io.BytesIO):
    def __init__(self, name: str, raw: bytes) -> None:
        super().__init__(raw)
        self.name = name


def test_attached_files_are_read_as_text_whatever_their_encoding() -> None:
    chinese = "屠呦呦发现了青蒿素，这是一种治疗疟疾的药物。" * 5
    assert attached(Dropped("a/notes.txt", chinese.encode("gb18030"))) == chat.File("notes.txt", chinese)
    assert attached(Dropped("x.md", "é\n".encode("utf-16"))).text == "é\n"
    for name, raw in (("photo.txt", b"\x89PNG\0\0\0\x01\xff"), ("nothing.txt", b" \n")):
        with pytest.raises(UserError, match=name):
            attached(Dropped(name, raw))


def test_a_sheet_is_attached_as_lines_with_tabs() -> None:
    from openpyxl import Workbook

    book, raw = Workbook(), io.BytesIO()
    for row in (["name", "born"], ["Ada", 1815]):
        book.active.append(row)
    book.save(raw)
    assert attached(Dropped("people.xlsx", raw.getvalue())).text == "name\tborn\nAda\t1815"


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
