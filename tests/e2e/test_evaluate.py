"""The Evaluate page in a real browser: an audit judged by the keyboard alone, and errors opened by clicks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.extract.audit import Audit, told
from core.extract.audit_run import SampleRequest, sample
from core.extract.evaluate_run import ReportRequest, run
from core.extract.run import RunRequest
from core.jobs import files, requests
from core.operation import Silent, of
from core.records import Entity, Extraction
from tests.e2e.conftest import App

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.e2e

TEXTS = ("Ann met Bo <img src=x> in Rome.", "Nobody came.")


def a_run(app: App) -> Path:
    """A run whose rows are there and whose job is over, as one that was cancelled."""
    folder = app.workspace / "runs" / "people"
    folder.mkdir(parents=True)
    found = [(Entity("Ann", "person", 0, 3), Entity("Bo", "place", 8, 10)), (Entity("Nobody", "person", 0, 6),)]
    rows = [
        Extraction(str(number), text, entities, provenance={"task": ["ner"]})
        for number, (text, entities) in enumerate(zip(TEXTS, found, strict=True), start=1)
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(row.to_dict()) + "\n" for row in rows), encoding="utf-8")
    request = RunRequest(input=folder / "people.csv", schema_ref="people-and-organisations-en", out=folder)
    job = app.workspace / "jobs" / "20260101-000000-000-abcdef"
    job.mkdir(parents=True)
    requests.write(job, of(request), request)
    files.write(job / files.ATTEMPT, {"attempt": 1, "time": 0})
    return folder


def test_an_audit_is_judged_by_the_keyboard_and_an_error_opens_its_sentence(app: App, page: Page) -> None:
    folder = a_run(app)
    sample(SampleRequest(run=folder, size=10, who="Li"), Silent())
    page.goto(f"{app.url}/evaluate?audit=people")
    audit = Audit(folder)
    for item in audit.items(audit.newest().sample):
        key, words = ("1", "Nobody") if "Nobody" in item.sentence else ("2", "Bo")
        page.locator("h3", has_text=item.sentence.split()[0]).wait_for()
        page.locator("button", has_text=words).filter(has_text="check").wait_for()
        page.keyboard.press(key)
        page.locator("button", has_text=words).filter(has_text="close").wait_for()
        page.keyboard.press("Enter")
    page.get_by_text("All sentences of the sample are judged.").wait_for()
    said = told(folder)
    assert (said["sentences"], said["precision"], said["recall"]) == (2, 0.3333, 1.0)

    gold = app.workspace / "gold.csv"
    gold.write_text(f"id,text,entity,type\n1,{TEXTS[0]},Ann,person\n1,{TEXTS[0]},Bo,person\n2,{TEXTS[1]},,\n")
    run(ReportRequest(gold=gold, pred=(folder,), task="ner", out=app.workspace / "evaluations" / "first"), Silent())
    page.goto(f"{app.url}/evaluate?evaluation=first")
    page.get_by_text("wrong type 1", exact=True).click()
    page.get_by_text("wrong type · 1").wait_for()
    page.locator(".evidence .text .piece.selected").first.wait_for()
    assert page.locator(".evidence .text .piece.selected").all_inner_texts() == ["Bo", "Bo"]
    if place := os.environ.get("PICTURES"):
        page.screenshot(path=f"{place}/evaluation.png", full_page=True)
        page.goto(f"{app.url}/evaluate?audit=people")
        page.get_by_text("All sentences").wait_for()
        page.get_by_role("button", name="Look at them again").click()
        page.get_by_text("judged by").wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=f"{place}/audit.png", full_page=True)
        page.goto(f"{app.url}/evaluate")
        page.get_by_text("2 · Runs").wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=f"{place}/new.png", full_page=True)
