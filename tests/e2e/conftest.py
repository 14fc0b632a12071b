"""The real app in a real browser: `app` is a running server with its own workspace, `page` a Chromium page on it.

Every page records what it asks for: a test fails if anything left this machine, or if the
browser's console showed an error.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.conftest import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOCAL_SCHEMES = ("data", "blob", "about")
START_SECONDS = 60


@dataclass(frozen=True)
class App:
    """A running app: its address, its workspace, its log."""

    url: str
    workspace: Path
    log: Path
    process: subprocess.Popen


def start_app(workspace: Path, log: Path, *options: str) -> App:
    """`streamlit run launch.py` on a free port, answering."""
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", "launch.py", "--server.port", str(port)]
    environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(workspace)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--server.headless", "true", *options],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    app = App(f"http://127.0.0.1:{port}", workspace, log, process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{app.url}/_stcore/health", timeout=2, trust_env=False).is_success:
                return app
        except httpx.TransportError:
            time.sleep(0.05)
    stop_app(app)
    pytest.fail(f"the app did not start: {log.read_text(errors='replace')[-3000:]}")


def stop_app(app: App) -> None:
    """The server and every process that it started, and theirs."""
    try:
        family = psutil.Process(app.process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    app.process.terminate()
    for process in family:
        if process.is_running():
            process.terminate()
    psutil.wait_procs(family, timeout=5)
    for process in family:
        if process.is_running():
            process.kill()
    try:
        app.process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        app.process.kill()
        app.process.wait()


@pytest.fixture
def app(workspace: Path, tmp_path: Path) -> Iterator[App]:
    """The app with an empty workspace of its own (ask for `starter_workspace` beside it to have a model)."""
    started = start_app(workspace, tmp_path / "app.log")
    yield started
    stop_app(started)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        reason = "no Chromium: install it (Debian: apt install chromium) or name it in $CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh English page, 1400 × 900. At its end: no request left loopback, no error in the console."""
    context = browser.new_context(locale="en-US", viewport={"width": 1400, "height": 900})
    opened = context.new_page()
    asked, complaints = watch(opened)
    yield opened
    context.close()
    assert not [url for url in asked if not is_local(url)], "the browser asked for something beyond this machine"
    assert not complaints, "the browser's console shows errors"


def watch(page: Page) -> tuple[list[str], list[str]]:
    """(every address the page asks for, every error its console shows), growing."""
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return asked, complaints


def _is_complaint(message: ConsoleMessage) -> bool:
    """An error, except that Streamlit's client looks for its server under a deep link's path first and gets a 404."""
    looked_for = urlsplit(message.location.get("url", "")).path.endswith(("/_stcore/health", "/_stcore/host-config"))
    return message.type == "error" and not ("404" in message.text and looked_for)


def is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in LOCAL_SCHEMES or parts.hostname in LOOPBACK


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
