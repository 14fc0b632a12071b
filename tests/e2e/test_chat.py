"""A conversation in Chromium with the real model: load, ask, stop, leave and come back, continue, delete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core import settings
from core.inference import chat, client
from tests.core import serve_stub
from tests.e2e.conftest import App

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.e2e
PATIENCE = 90_000


def kept_tree(conversation: str) -> tuple[chat.Message, ...]:
    kept = chat.read(conversation)
    assert kept is not None
    return kept.tree


@pytest.mark.model
def test_a_conversation(starter_workspace: Path, app: App, page: Page) -> None:
    from playwright.sync_api import expect

    settings.write(settings.Settings(language="en"))
    page.goto(f"{app.url}/chat")
    page.get_by_role("button", name=re.compile("^(play_arrow )?Load ")).click(timeout=PATIENCE)
    box = page.get_by_placeholder("Ask something")
    expect(box).to_be_enabled(timeout=PATIENCE)

    box.fill("Write a very long story about a river and a bridge.")
    box.press("Enter")
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_visible(timeout=PATIENCE)
    answer = page.get_by_test_id("stChatMessage").last

    # Leaving the page does not end the answer; coming back shows it further on.
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("link", name="Chat").click()
    expect(answer).to_contain_text(re.compile(r"\w+ \w+ \w+"), timeout=PATIENCE)
    page.reload()
    expect(answer).to_contain_text(re.compile(r"\w+ \w+ \w+"), timeout=PATIENCE)

    if stop.is_visible():
        stop.click()
    go_on = page.get_by_role("button", name="Continue")
    expect(go_on.or_(page.get_by_text("complete"))).to_be_visible(timeout=PATIENCE)
    expect(answer).to_contain_text(re.compile(r"\d+ tokens · [\d.]+ tokens/s · first after [\d.]+ s"))
    assert client.status().busy == 0

    # A version more, and back to the first one by the keyboard.
    page.get_by_role("button", name="Answer again").click()
    expect(page.get_by_text("2/2")).to_be_visible(timeout=PATIENCE)
    if stop.is_visible():
        page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Answer again")).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("Alt+PageUp")
    expect(page.get_by_text("1/2")).to_be_visible(timeout=PATIENCE)

    # Enter that ends a Chinese character's composition sends nothing; Arabic is read from the right.
    box.fill("مرحبا")
    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    expect(box).to_have_value("مرحبا")
    assert box.evaluate("box => getComputedStyle(box).unicodeBidi") == "plaintext"
    box.fill("")

    kept = chat.conversations()
    assert len(kept) == 1
    assert [message.role for message in kept_tree(kept[0].id)] == ["user", "assistant", "assistant"]
    page.locator(".st-key-chat-more").get_by_role("button").click()
    page.locator(".st-key-chat-delete").get_by_role("button").click()
    expect(page.get_by_text("Try one of these")).to_be_visible(timeout=PATIENCE)
    assert chat.conversations() == []


def test_what_is_selected_goes_to_extract(workspace: Path, app: App, page: Page) -> None:
    from playwright.sync_api import expect

    with serve_stub.running() as server:
        endpoint = settings.Endpoint(name="stub", url=server.ref.partition("#")[0], model="stub")
        settings.write(settings.Settings(language="en", endpoints=(endpoint,)))
        talk = chat.create()
        chat.wait(chat.ask(talk.id, "Ada met Charles", chat.Way(server.ref)))
        page.goto(f"{app.url}/chat?chat={talk.id}")
        button = page.get_by_role("button", name="Selection to Extract")
        expect(button).to_be_disabled(timeout=PATIENCE)
        page.get_by_test_id("stChatMessage").first.get_by_text("Ada met Charles").select_text()
        button.click()
        expect(page.get_by_role("textbox", name="Text")).to_have_value("Ada met Charles", timeout=PATIENCE)
