"""A small LLaMA is trained in the browser: its rows looked at, started, paused, gone on with, judged, merged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from core import paths, settings
from core.jobs import store
from core.launchers import earlier
from tests.core.tiny_llama import make_tiny_llama
from tests.e2e.conftest import App
from ui.parts import train_runs

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.model]

PATIENCE = 90_000


@pytest.fixture
def tiny(workspace: Path) -> Path:
    settings.write(settings.Settings(language="en"))
    return make_tiny_llama(paths.models() / "tiny")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Thirty good rows, one twice, one that answers nothing."""
    made = [{"instruction": f"Say {word}.", "output": word * 2} for word in "abcdefghijklmnopqrstuvwxyzäöüß"]
    file = tmp_path / "rows.jsonl"
    made += [made[0], {"instruction": "Say <img src=x onerror=alert(1)>", "output": ""}]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    return file


def test_a_model_is_trained_from_rows_to_a_merged_model(app: App, page: Page, tiny: Path, rows: Path) -> None:
    page.goto(f"{app.url}/train")
    page.locator('input[type="file"]').first.set_input_files(rows)
    page.get_by_text("rows.jsonl", exact=True).wait_for(timeout=PATIENCE)

    page.get_by_role("button", name="Look at the rows").click()
    page.get_by_text("1 rows refused").wait_for(timeout=PATIENCE)
    page.get_by_text("1 duplicates").wait_for()
    expect(page.locator(".tokens .learned").last).to_have_text("</s>", timeout=PATIENCE)  # the end is learned too
    expect(page.locator(".tokens")).to_contain_text("<|user|>Say a.")

    # long enough that nobody is too late with Pause
    for label, value in (("Epochs", "1000"), ("Max steps", "6000"), ("Batch", "4"), ("Max length", "128")):
        fill(page, label, value)
    page.get_by_role("textbox", name="Name").fill("sayings")
    page.get_by_role("textbox", name="Name").press("Enter")
    page.get_by_role("button", name=re.compile("^Start training")).click()

    page.get_by_text("Validation loss").first.wait_for(timeout=PATIENCE)  # the numbers: it has begun
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Go on with it").wait_for(timeout=PATIENCE)
    out = train_runs.folder() / "sayings"
    (saved,) = earlier.checkpoints(out)[-1:]
    paused_at = int(saved.name.rpartition("-")[2])
    assert 0 < paused_at < 6000

    page.get_by_text("Change its settings").click()
    fill(page, "Max steps", str(paused_at + 5))
    expect(page.get_by_text("Different from before")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name=f"Go on from {saved.name}").click()
    page.get_by_text(re.compile("Better than before|Worse than before|Cannot tell")).wait_for(timeout=PATIENCE)
    result = json.loads((out / "result.json").read_text())
    assert result["steps"] == paused_at + 5
    page.reload()
    page.get_by_text(re.compile("samples trained on")).wait_for(timeout=PATIENCE)

    page.get_by_role("button", name="Merge it into its model").click()
    page.get_by_role("button", name="Write it as GGUF").click(timeout=PATIENCE)
    page.get_by_text("Writing the GGUF file").wait_for(timeout=PATIENCE)
    page.get_by_text("Writing the GGUF file").wait_for(state="detached", timeout=PATIENCE)
    assert (paths.models() / "sayings" / "hf" / "config.json").is_file()
    assert list((paths.models() / "sayings").glob("*.gguf"))
    assert [job.state for job in store.all_jobs()].count("done") >= 4


def fill(page: Page, label: str, value: str) -> None:
    field = page.get_by_role("spinbutton", name=re.compile(f"^{label}"))
    field.fill(value)
    field.press("Enter")
