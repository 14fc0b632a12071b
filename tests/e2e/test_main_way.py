"""From nothing to a knowledge graph with evidence, as a new person goes, with the real starter model."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from core import paths
from core.inference import client
from core.store import Store
from tests.e2e.conftest import App
from tests.e2e.extracting import (
    MODEL_PATIENCE,
    choose,
    only_entities,
    open_extract,
    try_ten,
    upload,
    wait_done,
)
from tests.e2e.test_graph import click_something, heading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.model]

NAMES = ("Ada", "Bob", "Carl", "Dora", "Emil", "Fanny", "Gus", "Hanna", "Ivan", "Jane", "Karl", "Lena")


@pytest.fixture(autouse=True)
def _no_host_is_left(workspace: Path) -> Iterator[None]:
    yield
    client.unload()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "visits.csv"
    rows = [f'{number},12.5,"{name} lives in Rome."' for number, name in enumerate(NAMES, start=1)]
    path.write_text("\n".join(["number,price,sentence", *rows]) + "\n", encoding="utf-8")
    return path


def test_from_the_first_run_card_to_a_sentence_behind_a_node(
    app: App, page: Page, people: Path, tmp_path: Path
) -> None:
    """Nothing but clicks; the fixtures see to it that nothing leaves this machine and no error shows."""
    page.goto(app.url)
    page.get_by_role("button", name=re.compile("^Get the starter model")).click()
    page.get_by_text("What next").wait_for(timeout=30_000)
    expect(page.get_by_text("Get the starter model")).to_have_count(0, timeout=MODEL_PATIENCE)

    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Extract").click()
    upload(page, people)
    choose(page, "Column with the text", "price")
    page.get_by_text("holds numbers, not text").wait_for()
    choose(page, "Column with the text", "sentence")
    choose(page, "Schema", "General news · English")
    choose(page, "Schema", "People and organisations · English")
    only_entities(page)

    try_ten(page)
    page.get_by_role("button", name="Run all, 2 rows more").click(timeout=MODEL_PATIENCE)
    expect(page.get_by_role("button", name=re.compile("^Run all"))).to_have_count(0, timeout=30_000)
    wait_done(page)
    (folder,) = paths.runs().iterdir()
    assert Store(folder).counts().rows == len(NAMES)
    assert Store(folder).counts().records

    page.get_by_role("button", name="Download", exact=True).click()
    with page.expect_download() as started:
        page.get_by_role("button", name="entities.csv").click()
    saved = tmp_path / "entities.csv"
    started.value.save_as(saved)
    assert saved.read_bytes().startswith(b"\xef\xbb\xbf"), "Excel needs the mark"
    with saved.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["text"] in row["sentence"] for row in rows), "a span that is not verbatim"
    page.keyboard.press("Escape")

    page.get_by_role("button", name="See the graph").click()
    page.wait_for_url(re.compile("/graph"))
    page.get_by_role("button", name="Build the graph").click()
    canvas = page.get_by_test_id("stEChartsChart").locator("canvas").first
    canvas.wait_for(timeout=60_000)
    page.wait_for_timeout(800)
    click_something(page, canvas, lambda: bool(heading(page)))
    page.locator(".evidence .text .piece").first.wait_for(timeout=20_000)
    assert "lives in Rome" in page.locator(".evidence .text").first.inner_text()


def test_the_extract_page_alone_leads_a_newcomer_to_the_starter(app: App, page: Page) -> None:
    open_extract(page, app)
    page.get_by_role("button", name=re.compile("^Get the starter model")).wait_for(timeout=20_000)
