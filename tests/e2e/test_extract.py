"""The Extract page in Chromium: reloads, clicks both ways, another language, one text."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from core import paths, settings
from core.records import Entity
from core.store import FILE, Store, Writer
from tests.core import extract_stub
from tests.e2e.conftest import App
from tests.e2e.extracting import MODEL_PATIENCE, only_entities, open_extract, try_ten, upload, wait_done
from tests.e2e.test_graph import pick_line, selected_lines

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(workspace: Path, tmp_path: Path) -> Iterator[str]:
    """A model that answers at once, so that the page and not the model is what takes time."""
    with extract_stub.running(tmp_path / "asked.log") as ref:
        url, model = ref.split("#")
        settings.write(settings.Settings(endpoints=(settings.Endpoint(name="Stub", url=url, model=model),)))
        yield ref


def table(tmp_path: Path, sentences: list[str]) -> Path:
    path = tmp_path / "notes.csv"
    rows = "\n".join(f'{number},"{sentence}"' for number, sentence in enumerate(sentences, start=1))
    path.write_text(f"number,sentence\n{rows}\n", encoding="utf-8")
    return path


def test_a_reload_and_a_second_tab_show_the_run_as_it_is(server: str, app: App, page: Page, tmp_path: Path) -> None:
    open_extract(page, app)
    upload(page, table(tmp_path, [f"Name{n} SLOW wrote {n} notes." for n in range(30)]))
    page.get_by_role("button", name="Run all 30 rows").click()
    page.get_by_role("button", name="Stop").wait_for(timeout=30_000)
    page.get_by_test_id("stDataFrame").first.wait_for(timeout=60_000)  # filled while it runs
    page.reload()
    page.get_by_test_id("stDataFrame").first.wait_for(timeout=60_000)
    second = page.context.new_page()
    second.goto(page.url)
    wait_done(second)
    wait_done(page)
    expect(second.get_by_text("Entities 30", exact=False).first).to_be_visible()
    expect(second.get_by_role("button", name="See the graph")).to_be_visible()


def test_a_stopped_run_goes_on_where_it_stopped(server: str, app: App, page: Page, tmp_path: Path) -> None:
    rows = 120
    open_extract(page, app)
    upload(page, table(tmp_path, [f"Name{n} SLOW wrote {n} notes." for n in range(rows)]))
    only_entities(page)
    page.get_by_role("button", name=f"Run all {rows} rows").click()
    page.wait_for_url(re.compile("run="), timeout=30_000)
    page.get_by_role("button", name="Stop", exact=True).click(timeout=30_000)
    page.get_by_role("button", name="Stop the run").click()
    page.get_by_role("button", name="Continue").click(timeout=60_000)
    wait_done(page)
    (folder,) = paths.runs().iterdir()
    assert Store(folder).counts().rows == rows
    asked = extract_stub.asked(tmp_path / "asked.log")
    assert rows <= len(asked) <= rows + 16, "what was under way when it stopped is asked again, nothing else"


def test_a_row_shows_its_sentence(server: str, app: App, page: Page, tmp_path: Path) -> None:
    open_extract(page, app)
    upload(page, table(tmp_path, ["Ada wrote notes.", "Bob wrote more notes.", "Carl wrote nothing."]))
    try_ten(page, "Run 3 rows")
    wait_done(page)
    rows = page.get_by_test_id("stDataFrame").first
    rows.wait_for()
    pick_line(page, rows, 1)
    expect(page.locator(".evidence .text").first).to_contain_text("wrote more notes.", timeout=10_000)
    expect(page.locator(".evidence .piece.selected").first).to_have_text("Bob")
    pick_line(page, rows, 2)
    expect(page.locator(".evidence .piece.selected").first).to_have_text("Carl", timeout=10_000)
    assert selected_lines(page) == [2]


def test_a_span_selects_its_row(server: str, app: App, page: Page, tmp_path: Path) -> None:
    open_extract(page, app)
    upload(page, table(tmp_path, ["Ada met Bob and Carl.", "Dora wrote notes."]))
    try_ten(page, "Run 2 rows")
    wait_done(page)
    (folder,) = paths.runs().iterdir()
    first = next(Store(folder).results())
    found = tuple(Entity(name, "person", first.text.index(name), first.text.index(name) + len(name))
                  for name in ("Ada", "Bob", "Carl"))  # fmt: skip
    with closing(sqlite3.connect(folder / FILE)) as database, database:
        database.execute("DELETE FROM results WHERE row = 0")  # what is finished stays: it is put anew
    with Writer(folder, Store(folder).settings()) as store:
        store.put(0, "edited", replace(first, entities=found))
    page.reload()
    page.locator(".evidence .text button.label").nth(2).click(timeout=30_000)
    expect(page.locator(".evidence .piece.selected").first).to_have_text("Carl", timeout=10_000)
    page.wait_for_timeout(1500)
    assert selected_lines(page) == [2]
    page.get_by_text("Graph", exact=True).last.click()
    page.get_by_test_id("stEChartsChart").locator("canvas").first.wait_for(timeout=20_000)


def test_own_schema_is_made_on_the_page(server: str, app: App, page: Page, tmp_path: Path) -> None:
    open_extract(page, app)
    page.locator(".st-key-extract-schema-edit button").first.click()
    page.get_by_role("textbox", name="Name").fill("My people")
    page.get_by_role("button", name="Save the schema").click()
    expect(page.get_by_role("dialog")).to_have_count(0, timeout=20_000)
    (saved,) = paths.schemas().glob("*.json")
    made = json.loads(saved.read_text(encoding="utf-8"))
    assert made["title"] == "My people"
    assert made["entities"]
    assert made["relations"]
    upload(page, table(tmp_path, ["Ada wrote notes.", "Bob wrote more."]))
    try_ten(page, "Run 2 rows")
    wait_done(page)


@pytest.mark.model
def test_chinese_in_gb18030_brings_offers_and_running_anyway_marks_every_record(
    starter_workspace: Path, app: App, page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "chinese.csv"
    path.write_bytes("编号,句子\n1,鲁迅生于绍兴，后来住在北京。\n2,老舍在北京写了《茶馆》。\n".encode("gb18030"))
    open_extract(page, app)
    upload(page, path)
    page.get_by_text("GB18030").wait_for()
    page.get_by_text("does not read Chinese").wait_for()
    page.get_by_text("What reads Chinese").wait_for()
    page.get_by_role("button", name="Download, 491 MB").wait_for()
    assert page.locator('[data-testid="stMain"] [data-testid="stBaseButton-primary"]').count() == 0
    page.get_by_role("button", name="关系", exact=True).or_(
        page.get_by_role("button", name="Relations", exact=True)
    ).first.click()
    page.wait_for_timeout(1500)
    try_ten(page, "Run 2 rows anyway")
    wait_done(page)
    (folder,) = paths.runs().iterdir()
    for extraction in Store(folder).results():
        assert extraction.provenance["reads_language"] is False
        assert extraction.provenance["warnings"]
        assert all(extraction.text[entity.start : entity.end] == entity.text for entity in extraction.entities)
    page.get_by_text("This model does not read this language.").first.wait_for(timeout=20_000)


@pytest.mark.model
def test_one_text_shows_its_records_the_prompt_and_the_answer(starter_workspace: Path, app: App, page: Page) -> None:
    open_extract(page, app)
    page.get_by_role("radio", name="One text").or_(page.get_by_role("button", name="One text")).first.click()
    page.get_by_role("button", name="An English sentence").click()
    page.get_by_role("button", name="Relations", exact=True).click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Extract", exact=True).click()
    page.get_by_text("tokens,").wait_for(timeout=MODEL_PATIENCE)
    page.locator(".evidence .text").first.wait_for()
    page.get_by_text("The exact prompt and the raw answer").click()
    page.get_by_text("Copy entities exactly from the text").first.wait_for()
