"""Pictures of every page of the real app in both languages (`make screenshots`), with a real run of the starter.

python -m tests.e2e.screenshots                       docs/screenshots/PAGE-LANGUAGE.png, light, 1400 wide
python -m tests.e2e.screenshots --dark --width 500 --to /elsewhere      to look at, not to commit
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from core import paths
from core.extract.run import RunRequest
from core.graph.run import BuildRequest
from core.inference import client
from core.jobs import store
from tests.conftest import PROJECT, SHARED_WORKSPACE
from tests.e2e.conftest import App, start_app, stop_app

LOCALES = {"en": "en-US", "zh": "zh-CN"}
PAGES = {
    "home": "",
    "chat": "chat",
    "extract": "extract?run=people",
    "graph": "graph?run=people",
    "models": "models",
    "recover": "recover",
    "train": "train",
    "jobs": "jobs",
    "settings": "settings",
}


def prepare(workspace: Path) -> None:
    """The starter, and a run over people.csv with its graph, made by jobs as the app makes them."""
    (workspace / "models").mkdir(parents=True)
    (workspace / "models" / "starter").symlink_to(SHARED_WORKSPACE / "models" / "starter")
    run = paths.runs() / "people"
    extraction = RunRequest(
        input=paths.ASSETS / "samples" / "people.csv",
        text_column="sentence",
        task=("ner", "re"),
        schema_ref="people-and-organisations-en",
        out=run,
    )
    for request in (extraction, BuildRequest(run=run, out=run / "graph")):
        job = store.wait(store.submit(request).id, timeout=900)
        if job.state != "done":
            sys.exit(f"{job.operation}: {job.state} {job.error or ''}")


def shoot(browser: Browser, app: App, to: Path, *, language: str, dark: bool, width: int) -> None:
    context = browser.new_context(
        locale=LOCALES[language],
        viewport={"width": width, "height": 950},
        color_scheme="dark" if dark else "light",
    )
    page = context.new_page()
    for name, address in PAGES.items():
        page.goto(f"{app.url}/{address}")
        _settle(page)
        page.screenshot(path=to / f"{name}-{language}.png")
    context.close()


def _settle(page: Page) -> None:
    page.get_by_role("heading", level=1).first.wait_for(timeout=30_000)
    page.wait_for_timeout(3_500)  # charts draw, fragments tick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=PROJECT / "docs" / "screenshots")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--workspace", type=Path, help="one prepared before, kept")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    workspace = options.workspace or Path(tempfile.mkdtemp(prefix="knowlm-screens-"))
    os.environ["KNOWLM_STUDIO_HOME"] = str(workspace)
    if not (workspace / "runs").is_dir():
        prepare(workspace)
    app = start_app(workspace, workspace / "app.log")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox"]
            )
            for language in LOCALES:
                shoot(browser, app, options.to, language=language, dark=options.dark, width=options.width)
    finally:
        client.unload()
        stop_app(app)
        if options.workspace is None:
            shutil.rmtree(workspace, ignore_errors=True)


if __name__ == "__main__":
    main()
