"""Milliseconds from a key to the next item shown on the Review page, in Chromium; and until it is stored.

The real app on a run of many sentences: for each record a person's key (accept, reject), for each sentence Enter.
An item is shown when the frame after the change of the page has begun.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.e2e.conftest import start_app, stop_app
from tests.e2e.reviewing import decide, open_review, saved, write

# Of each key: the time from its event to the frame that follows the change of the board.
WATCH = """(board) => {
  board.took = [];
  let pressed = 0;
  board.addEventListener("keydown", (event) => { if (!event.repeat) pressed = performance.now(); }, true);
  new MutationObserver(() => {
    if (!pressed) return;
    const start = pressed;
    pressed = 0;
    requestAnimationFrame(() => { const other = new MessageChannel();
      other.port1.onmessage = () => board.took.push(performance.now() - start);
      other.port2.postMessage(0); });
  }).observe(board, { childList: true });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two keys")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="review-speed-"))
    os.environ["KNOWLM_STUDIO_HOME"] = str(folder)
    try:
        write(folder / "runs" / "speed", asked.records)
        print(json.dumps(measure(folder, asked.records, asked.pause)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, records: int, pause: float) -> dict[str, object]:
    from playwright.sync_api import sync_playwright

    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    app = start_app(folder, folder / "app.out")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            page = browser.new_page(locale="en-US", viewport={"width": 1400, "height": 900})
            board = open_review(page, app.url, folder / "runs" / "speed")
            board.evaluate(WATCH)
            started = time.monotonic()
            keys = decide(page, board, records, pause)
            stored = saved(page, board)
            took = board.evaluate("(board) => board.took")
            browser.close()
    finally:
        stop_app(app)
    took.sort()
    return {
        "benchmark": "review_speed",
        "records": records,
        "keys": keys,
        "seconds": round(time.monotonic() - started, 1),
        "ms_median": round(statistics.median(took), 1),
        "ms_p95": round(took[int(len(took) * 0.95)], 1),
        "ms_max": round(took[-1], 1),
        "seconds_until_stored": round(stored, 2),
    }


if __name__ == "__main__":
    main()
