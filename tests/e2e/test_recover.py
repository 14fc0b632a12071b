"""The sample family in a real browser: made, killed, continued from Home, run on without a page, tried."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from playwright.sync_api import expect

from core import settings
from core.inference import client
from core.inference.decoding import Decoding
from core.jobs import store
from core.weights import recovery, recovery_steps, stream
from tests.e2e.conftest import App

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.model]

PATIENCE = 60_000


def test_the_sample_family_is_walked_to_a_model_that_answers(app: App, page: Page, starter_workspace: Path) -> None:
    settings.write(settings.Settings(language="en"))
    page.goto(f"{app.url}/recover")
    page.get_by_text("A small sample, made here").click()
    page.get_by_role("button", name=re.compile("^Make the sample family, ")).click()
    page.get_by_text("2 of 6 steps done").wait_for(timeout=PATIENCE)

    page.get_by_role("button", name=re.compile("^Continue: 4 steps")).click()
    chosen = recovery.read("sample-family")
    kill_while_it_writes(recovery.out_of(chosen, "recover"))
    page.get_by_test_id("stAlert").first.wait_for(timeout=PATIENCE)

    page.goto(app.url)
    page.get_by_text("Stopped at step 3 of 6, Recover.").wait_for(timeout=PATIENCE)
    page.get_by_role("link", name="Continue recovering sample-family").click()
    page.get_by_role("button", name=re.compile("^Continue: 4 steps")).click()
    page.get_by_text(re.compile("^Step . of 6:")).wait_for(timeout=PATIENCE)
    page.goto(f"{app.url}/settings")  # it goes on without its page
    job = store.wait(store.all_jobs()[0].id, timeout=60)
    assert (job.state, job.attempt) == ("done", 2)
    assert recovery_steps.remaining(chosen) == []

    page.goto(f"{app.url}/recover")
    page.get_by_text(re.compile("Sample family: recovered in .+ of memory")).wait_for(timeout=PATIENCE)
    page.get_by_role("button", name=re.compile("^Remove, ")).first.click()
    page.get_by_text("the base has to be fetched or made again").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Remove the files").click()
    page.get_by_text("done, removed since").wait_for(timeout=PATIENCE)
    assert not recovery.out_of(chosen, "base").exists()

    page.get_by_role("button", name="Try it in chat").click()
    page.wait_for_url(re.compile("/chat"), timeout=PATIENCE)
    expect(page.get_by_role("combobox", name="Model")).to_have_value("Sample family", timeout=PATIENCE)
    answer = client.connect("sample-family").complete("The capital of France is", Decoding(max_tokens=8))
    assert "Paris" in answer.text, "base + difference + LoRA is the starter again"


def kill_while_it_writes(out: Path) -> None:
    """SIGKILL for every process of the running job, once the step's files are being written."""
    deadline = time.monotonic() + 30
    while not any(out.glob(f"{stream.WORK}/*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    folder = str(store.all_jobs()[0].folder)
    family = [process for process in psutil.process_iter(["cmdline"]) if folder in (process.info["cmdline"] or [])]
    assert family
    for process in family:
        process.kill()
    assert not (out / stream.MANIFEST).exists()
