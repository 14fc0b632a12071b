"""Pictures of every page of the real app in both languages (`make screenshots`), with a real run of the starter.

python -m tests.e2e.screenshots                       docs/screenshots/PAGE-LANGUAGE.png, light, 1400 wide
python -m tests.e2e.screenshots --dark --width 500 --to /elsewhere      to look at, not to commit
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

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
    "jobs": "jobs",
    "settings": "settings",
}


def prepare(workspace: Path) -> None:
    """The starter, a run over people.csv with its graph, and an answer in the chat's history."""
    (workspace / "models").mkdir(parents=True)
    (workspace / "models" / "starter").symlink_to(SHARED_WORKSPACE / "models" / "starter")
    run = workspace / "runs" / "people"
    sample = str(PROJECT / "assets" / "samples" / "people.csv")
    schema = ["--task", "ner", "re", "--schema", "people-and-organisations-en"]
    for words in (
        ["extract", "run", "--input", sample, "--text-column", "sentence", *schema, "--out", str(run)],
        ["graph", "build", "--run", str(run), "--out", str(run / "graph")],
    ):
        environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(workspace)}
        subprocess.run([sys.executable, "-m", "core", *words], cwd=PROJECT, env=environment, check=True)


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
        from core.inference import client

        client.unload()
        stop_app(app)
        if options.workspace is None:
            shutil.rmtree(workspace, ignore_errors=True)


if __name__ == "__main__":
    main()
