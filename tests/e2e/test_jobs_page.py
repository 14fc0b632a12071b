"""A real job watched in Chromium: it moves, survives a reload, is cancelled after asking, and starts again.

A stub server answers it, slowly and evenly, so that the job is at work for as long as the test looks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core import settings
from core.extract.run import RunRequest
from core.jobs import store
from tests.core import extract_stub
from tests.e2e.conftest import App

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.e2e

ROWS = 3000
PATIENCE = 60_000


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Enough distinct rows that the job is still at work when it is cancelled."""
    file = tmp_path / "texts.csv"
    lines = [f"Ada Number{row} met Grace Hopper in London SLOW." for row in range(ROWS)]
    file.write_text("\n".join(["text", *lines]), encoding="utf-8")
    return file


def test_a_running_job_is_watched_cancelled_and_started_again(
    app: App, page: Page, texts: Path, tmp_path: Path
) -> None:
    settings.write(settings.Settings(language="en"))
    with extract_stub.running(tmp_path / "stub.log") as server:
        request = RunRequest(
            input=texts,
            text_column="text",
            schema_ref="people-and-organisations-en",
            out=app.workspace / "runs" / "watched",
            model=server,
        )
        _watch(app, page, store.submit(request))


def _watch(app: App, page: Page, job: store.Job) -> None:
    page.goto(f"{app.url}/jobs?job={job.id}")
    bar = page.get_by_test_id("stProgress").first
    bar.get_by_text(f"of {ROWS:,} rows").wait_for(timeout=PATIENCE)
    before = bar.inner_text()
    page.wait_for_function("text => document.querySelector('[data-testid=stProgress]').innerText !== text", arg=before)
    page.locator("[data-testid=stEChartsChart] canvas").first.wait_for(timeout=PATIENCE)
    page.reload()
    bar.get_by_text(f"of {ROWS:,} rows").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Stop the job").click()
    page.get_by_text("Stopped as you asked.").wait_for(timeout=PATIENCE)
    assert store.read(job.id).state == "cancelled"
    page.get_by_role("button", name="Start again").click()
    bar.get_by_text(f"of {ROWS:,} rows").wait_for(timeout=PATIENCE)
    assert store.read(job.id).attempt == 2
    store.cancel(job.id)
    page.get_by_text("Stopped as you asked.").wait_for(timeout=PATIENCE)
