"""How long `streamlit run launch.py` takes to a drawn first page, and a page switch, in Chromium.

Beside it, in turns and on the same machine, a Streamlit app of one line, since a machine's hour is
not another's. Prints one JSON line; `ratio` is ours over the bare one's. Goals: 3 s and 0.5 s.

    python -m benchmarks.ui_start [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from core.paths import PROJECT

BARE = 'import streamlit as st\nst.title("Hello")\n'
SWITCHES = ("Models", "Jobs", "Settings", "Home")
PATIENCE = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    starts: dict[str, list[float]] = {"ours": [], "bare": []}
    switches: list[float] = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        bare = Path(scratch) / "bare.py"
        bare.write_text(BARE)
        for number in range(rounds):
            starts["ours"].append(_ours(browser, Path(scratch) / f"workspace{number}", switches))
            starts["bare"].append(_timed(browser, [str(bare)], Path(scratch) / "unused", "Hello", None))
        browser.close()
    print(json.dumps(_figures(starts, switches)))


def _figures(starts: dict[str, list[float]], switches: list[float]) -> dict[str, Any]:
    ours, bare = statistics.median(starts["ours"]), statistics.median(starts["bare"])
    return {
        "benchmark": "ui_start",
        "first_page_s": round(ours, 2),
        "bare_page_s": round(bare, 2),
        "ratio": round(ours / bare, 2),
        "page_switch_s": round(statistics.median(switches), 3),
        "slowest_switch_s": round(max(switches), 3),
        "rounds": len(starts["ours"]),
        "goal": {"first_page_s": 3.0, "page_switch_s": 0.5},
    }


def _ours(browser: Browser, workspace: Path, switches: list[float]) -> float:
    return _timed(browser, ["launch.py"], workspace, "KnowLM Studio", switches)


def _timed(browser: Browser, script: list[str], workspace: Path, heading: str, switches: list[float] | None) -> float:
    """Seconds from the command to the heading in the browser, which is open already."""
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", *script, "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true", "--browser.gatherUsageStats", "false"]
    environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(workspace)}
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    began = time.perf_counter()
    server = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _open(page, port)
        page.get_by_role("heading", name=heading, exact=True).wait_for(timeout=PATIENCE)
        took = time.perf_counter() - began
        if switches is not None:
            switches += [_switch(page, name) for name in SWITCHES * 2][len(SWITCHES) :]
        return took
    finally:
        context.close()
        server.terminate()
        server.wait()


def _open(page: Page, port: int) -> None:
    """Go there the moment the server takes connections."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.01)
    page.goto(f"http://127.0.0.1:{port}")


def _switch(page: Page, name: str) -> float:
    heading = "KnowLM Studio" if name == "Home" else name
    began = time.perf_counter()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", name=heading, exact=True, level=1).wait_for(timeout=PATIENCE)
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(timeout=PATIENCE)
    return time.perf_counter() - began


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
