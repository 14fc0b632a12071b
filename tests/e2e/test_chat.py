"""A conversation in Chromium with the real model: load, ask, stop, leave and come back, continue, delete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core import settings
from core.inference import chat, client
from tests.e2e.conftest import App

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.model]
PATIENCE = 90_000


def test_a_conversation(starter_workspace: Path, app: App, page: Page) -> None:
    from playwright.sync_api import expect

    settings.write(settings.Settings(language="en"))
    page.goto(f"{app.url}/chat")
    page.get_by_role("button", name="Load").click(timeout=PATIENCE)
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

    kept = chat.conversations()
    assert len(kept) == 1
    page.get_by_test_id("stPopover").get_by_role("button").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Try one of these")).to_be_visible(timeout=PATIENCE)
    assert chat.conversations() == []
