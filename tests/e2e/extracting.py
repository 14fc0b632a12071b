"""What a person does on the Extract page, step by step, in the browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.e2e.conftest import App

if TYPE_CHECKING:
    from playwright.sync_api import Page

MODEL_PATIENCE = 400_000
"""Milliseconds for a run of the starter model on two busy cores."""


def settled(page: Page) -> None:
    """The page's script has run: a click while it still runs may be lost."""
    page.wait_for_timeout(300)
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(timeout=30_000)


def open_extract(page: Page, app: App, query: str = "") -> None:
    page.goto(f"{app.url}/extract{query}")
    page.get_by_role("heading", name=re.compile("Extract|抽取"), level=1).wait_for(timeout=30_000)


def upload(page: Page, path: Path) -> None:
    page.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(path)
    page.get_by_text(path.name, exact=True).wait_for(timeout=20_000)
    settled(page)


def choose(page: Page, label: str, option: str) -> None:
    """An option of a selectbox, by their visible words."""
    page.get_by_role("combobox", name=label).first.click()
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def only_entities(page: Page) -> None:
    """One call a row instead of two: this machine is small."""
    settled(page)
    page.get_by_role("button", name="Relations", exact=True).click()
    expect(page.get_by_text("born in", exact=True)).to_have_count(0, timeout=20_000)


def try_ten(page: Page, label: str = "Try 10 rows") -> None:
    page.get_by_role("button", name=label, exact=True).click()
    page.wait_for_url(re.compile(r"run="), timeout=30_000)


def wait_done(page: Page) -> None:
    page.locator(".stMarkdownBadge").filter(has_text="done").first.wait_for(timeout=MODEL_PATIENCE)
