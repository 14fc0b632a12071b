"""Seconds from asking for a graph to seeing it whole, in Chromium: our page against pyvis with its defaults.

Ours: the real app on a built graph; from choosing "all nodes" to the last change of the picture, the
page's own work included. pyvis: its own HTML with default physics, from navigation until it shows the
picture, given up after `--bound` seconds (then the figure is a lower bound).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as TooLong

from core.graph.run import BuildRequest, run
from core.operation import Silent
from core.records import Entity, Extraction, Relation, Span
from tests.e2e.conftest import start_app, stop_app

TYPES = ("Person", "Organization", "Location", "Date", "Work", "Event")

# [when the picture last changed, that picture], once it differs from `before` and has kept still for half a second.
STILL = """([before, told]) => new Promise((resolve) => {
  const start = performance.now();
  const small = new OffscreenCanvas(64, 40);
  const pen = small.getContext("2d", { willReadFrequently: true });
  let last = "", since = 0;
  const look = () => {
    const canvas = document.querySelector("[data-testid=stEChartsChart] canvas");
    if (canvas?.width && document.body.innerText.includes(told)) {
      pen.clearRect(0, 0, 64, 40);
      pen.drawImage(canvas, 0, 0, 64, 40);
      const picture = Array.from(pen.getImageData(0, 0, 64, 40).data).join("");
      const now = performance.now();
      if (picture !== last) { last = picture; since = now; }
      else if (/[1-9]/.test(picture) && picture !== before && now - since > 500)
        return resolve([(since - start) / 1000, picture]);
    }
    setTimeout(look, 40);
  };
  look();
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--pyvis", type=int, nargs="+", default=[300, 1000], help="nodes for pyvis")
    parser.add_argument("--bound", type=float, default=150, help="seconds before pyvis is given up")
    parser.add_argument("--times", type=int, default=3, help="our pages' runs; the median counts")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="graph-draw-"))
    try:
        print(json.dumps(measure(asked, folder)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(asked: argparse.Namespace, folder: Path) -> dict:
    os.environ["KNOWLM_STUDIO_HOME"] = str(folder)
    layouts = {size: build_run(folder / "runs" / f"run{size}", size) for size in asked.sizes}
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    app = start_app(folder, folder / "app.out")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            ours = {size: median([drawn(browser, app.url, size) for _ in range(asked.times)]) for size in asked.sizes}
            theirs = {size: pyvis(browser, folder / f"pyvis{size}.html", size, asked.bound) for size in asked.pyvis}
            browser.close()
    finally:
        stop_app(app)
    shared = max(set(ours) & set(theirs), default=None)
    return {
        "benchmark": "graph_draw",
        "seconds": ours,
        "build_seconds": layouts,
        "pyvis_seconds": theirs,
        "pyvis_bound": asked.bound,
        "nodes_compared": shared,
        "ratio": round(theirs[shared] / ours[shared], 1) if shared else None,
    }


def build_run(folder: Path, nodes: int) -> float:
    """A run whose graph has so many nodes and half as many edges again, hubs and small pieces; its build's seconds."""
    draw = random.Random(nodes)
    folder.mkdir(parents=True)
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        for number in range(nodes):
            file.write(json.dumps(row(number, draw).to_dict()) + "\n")
    return round(run(BuildRequest(run=folder, out=folder / "graph"), Silent()).seconds, 2)


def row(number: int, draw: random.Random) -> Extraction:
    """A new entity, joined to one or two earlier ones, the old ones preferred; one in ten starts a new piece."""
    own = f"entity {number}"
    others = [f"entity {int(number * draw.random() ** 2)}" for _ in range(draw.choice((1, 1, 2)))]
    others = [] if number == 0 or draw.random() < 0.1 else sorted(set(others))
    text = f"{own} knows {' and '.join(others)}."
    found = [Entity(name, TYPES[int(name.split()[1]) % 6], *place(text, name)) for name in (own, *others)]
    relations = tuple(
        Relation(Span(own, *place(text, own)), "knows", Span(name, *place(text, name))) for name in others
    )
    return Extraction(f"row {number}", text, tuple(found), relations, provenance={"row": number})


def place(text: str, name: str) -> tuple[int, int]:
    start = text.rindex(name)
    return start, start + len(name)


def drawn(browser: Browser, url: str, nodes: int) -> float:
    """Seconds from choosing “all” to the whole picture."""
    page = browser.new_page(locale="en-US", viewport={"width": 1400, "height": 1000})
    page.goto(f"{url}/graph?run=run{nodes}")
    _, before = page.evaluate(STILL, ["", "Showing 300 of"])
    page.get_by_role("combobox", name="Nodes at most").click()
    page.get_by_role("option", name="all").click()
    seconds, _ = page.evaluate(STILL, [before, f"Showing {nodes:,} of {nodes:,} nodes"])
    page.close()
    return seconds


def pyvis(browser: Browser, file: Path, nodes: int, bound: float) -> float:
    """Seconds until pyvis shows its picture, hidden while its physics settles; the bound where it has not by then."""
    from pyvis.network import Network

    draw = random.Random(nodes)
    network = Network(cdn_resources="in_line")
    names: set[str] = set()
    for number in range(nodes):
        for entity in row(number, draw).entities:
            if entity.text not in names:
                names.add(entity.text)
                network.add_node(entity.text, label=entity.text)
    draw = random.Random(nodes)
    for number in range(nodes):
        for relation in row(number, draw).relations:
            network.add_edge(relation.head.text, relation.tail.text)
    told = "network.once('stabilizationIterationsDone', () => window.still = performance.now()); return network;"
    marked = network.generate_html().replace("return network;", told)
    file.write_text(marked, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.route("http*://**", lambda route: route.abort())
    page.goto(file.as_uri(), wait_until="commit", timeout=bound * 1000)
    return stabilised(page, bound)


def stabilised(page: Page, bound: float) -> float:
    try:
        page.wait_for_function("window.still !== undefined", timeout=bound * 1000, polling=100)
        return round(page.evaluate("window.still") / 1000, 2)
    except TooLong:
        return bound
    finally:
        page.close()


def median(times: list[float]) -> float:
    return round(sorted(times)[len(times) // 2], 2)


if __name__ == "__main__":
    main()
