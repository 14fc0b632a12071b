"""The Graph page in a real browser: clicks in the picture, in the text and in the tables."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.graph.build import build
from core.graph.layout import layout
from core.graph.run import BuildRequest, run
from core.graph.source import extractions
from core.operation import Silent
from core.records import Entity, Event, Extraction, Relation, Span
from tests.e2e.conftest import App, watch
from ui.parts.graph_sources import SAMPLE
from ui.parts.graph_view import ZOOM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.e2e

NASTY = (
    "<img src=x onerror=\"document.title='broken'\">",
    "</script><script>document.title='broken'</script>",
    "<a href='https://example.com/'>href</a>",
    "😀 “quoted” 'name'",
    "عبد الله",
    "two\nlines\x00",
)


def nasty_run(folder: Path) -> Path:
    """A run whose texts, names, types and relations are markup."""
    rows = []
    for number, name in enumerate(NASTY):
        other = NASTY[(number + 1) % len(NASTY)]
        text = f"😀 {name} {other}."
        head = Span(name, 2, 2 + len(name))
        tail = Span(other, 3 + len(name), 3 + len(name) + len(other))
        entities = tuple(Entity(span.text, span.text, span.start, span.end) for span in (head, tail))
        row = Extraction(f"row {number}", text, entities, (Relation(head, name, tail),), (Event(name, head),))
        rows.append(json.dumps(row.to_dict()))
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("\n".join(rows), encoding="utf-8")
    run(BuildRequest(run=folder, out=folder / "graph"), Silent())
    return folder


def sample_run(app: App) -> Path:
    folder = app.workspace / "runs" / "people"
    shutil.copytree(SAMPLE, folder)
    run(BuildRequest(run=folder, out=folder / "graph"), Silent())
    return folder


def open_graph(page: Page, app: App, name: str = "") -> Locator:
    page.goto(f"{app.url}/graph{'?run=' + name if name else ''}")
    canvas = page.get_by_test_id("stEChartsChart").locator("canvas").first
    canvas.wait_for(timeout=30_000)
    page.wait_for_timeout(500)
    return canvas


def click_something(page: Page, canvas: Locator, wanted: Callable[[], bool]) -> None:
    """Click on what is clickable in the picture, place after place, until the page shows what is wanted."""
    box = canvas.bounding_box()
    assert box
    for y in range(60, int(box["height"]) - 60, 9):
        for x in range(30, int(box["width"]) - 30, 9):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if canvas.evaluate("canvas => canvas.parentElement.style.cursor") != "pointer":
                continue
            page.mouse.click(box["x"] + x, box["y"] + y)
            page.wait_for_timeout(700)
            if wanted():
                return
            break
    pytest.fail("nothing in the picture answered")


def heading(page: Page) -> str:
    found = page.locator("h4[id], [data-testid=stHeading] h4, [data-testid=stMarkdownContainer] h4").all()
    return found[0].inner_text() if found else ""


def test_a_node_and_an_edge_show_their_sentences(app: App, page: Page) -> None:
    sample_run(app)
    open_graph(page, app, "people")
    page.get_by_placeholder("Name of a node").fill("Ulm")
    page.keyboard.press("Enter")
    page.get_by_text("Showing 2 of 50 nodes, 1 edges.").wait_for()
    page.wait_for_timeout(800)
    ends, middle = two_nodes(page, ("ulm", "Location"), ("albert einstein", "Person"))
    page.mouse.click(*ends[0])
    page.get_by_role("heading", name="Ulm").wait_for()
    page.locator(".evidence .text .piece.selected").first.wait_for()
    assert page.locator(".evidence .text .piece.selected").all_inner_texts() == ["Ulm"]
    page.mouse.click(*middle)
    page.get_by_role("heading", name="Albert Einstein → born in → Ulm").wait_for()
    assert {"Albert Einstein", "Ulm"} <= set(page.locator(".evidence .text .piece").all_inner_texts())
    assert page.locator(".evidence .row.selected").inner_text().replace("\n", " ") == "Albert Einstein → born in → Ulm"


def two_nodes(page: Page, *names: tuple[str, str]) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Where a picture of two nodes has them, and their edge's middle: ECharts fills 4/5 of the frame, times zoom."""
    graph = build(extractions(SAMPLE))
    (ax, ay), (bx, by) = (layout(graph)[name] for name in names)
    box = page.get_by_test_id("stEChartsChart").locator("canvas").first.bounding_box()
    assert box
    scale = 0.8 * ZOOM * min(box["width"] / abs(bx - ax), box["height"] / abs(by - ay))
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    half = (bx - ax) / 2 * scale, (by - ay) / 2 * scale
    return [(x - half[0], y - half[1]), (x + half[0], y + half[1])], (x, y)


def test_text_and_table_follow_each_other(app: App, page: Page) -> None:
    open_graph(page, app)
    page.get_by_text("Table", exact=True).click()
    table = page.get_by_test_id("stDataFrame")
    pick_line(page, table.first, 0)
    page.locator(".evidence .text .piece").first.wait_for(timeout=10_000)
    assert heading(page) == "Marie Curie"
    label = page.locator(".evidence .text button.label").nth(2)
    record = label.get_attribute("data-record")
    label.click()
    page.locator(f".evidence .text button.label[data-record='{record}'][aria-pressed=true]").wait_for()
    page.wait_for_timeout(500)
    assert selected_lines(page) == [int(str(record).split(":")[1])]
    pick_line(page, table.last, 1)
    page.locator(".evidence .text button.label[data-record='entity:1'][aria-pressed=true]").wait_for()


def test_hovering_a_relation_lights_its_ends_and_the_keyboard_reaches_all(app: App, page: Page) -> None:
    open_graph(page, app)
    page.get_by_text("Table", exact=True).click()
    pick_line(page, page.get_by_test_id("stDataFrame").first, 0)
    relation = page.locator(".evidence .row.relation").first
    relation.wait_for(timeout=10_000)
    page.wait_for_timeout(500)  # the selection comes back and the evidence is drawn once more
    relation.hover()
    page.locator(".evidence .piece.lit").first.wait_for(timeout=5_000)
    head, _, tail = relation.inner_text().replace("\n", " ").split(" → ")
    lit = page.locator(".evidence .piece.lit").all_inner_texts()
    assert head in lit
    assert tail in lit
    relation.focus()
    page.keyboard.press("Enter")
    page.locator(".evidence .row.relation[aria-pressed=true]").wait_for()
    assert page.evaluate(FOCUSED) == "relation:0"


FOCUSED = """() => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element?.dataset?.record;
}"""


def test_markup_in_names_stays_text_everywhere(app: App, page: Page) -> None:
    folder = nasty_run(app.workspace / "runs" / "nasty")
    canvas = open_graph(page, app, folder.name)
    box = canvas.bounding_box()
    assert box
    for step in range(0, 100):  # every tooltip on the way
        page.mouse.move(
            box["x"] + box["width"] * (step % 10 + 0.5) / 10, box["y"] + box["height"] * (step // 10 + 0.5) / 10
        )
    click_something(page, canvas, lambda: bool(heading(page)))
    page.locator(".evidence .text .piece").first.wait_for()
    text = page.locator(".evidence .text").first
    assert text.locator("img, script, a").count() == 0
    page.get_by_text("Draggable", exact=True).click()
    frame = page.frame_locator("iframe")
    frame.locator("canvas").wait_for(timeout=20_000)
    assert frame.locator("img, a").count() == 0
    assert page.locator("img[src=x]").count() == 0
    assert "broken" not in page.title()


def test_emoji_do_not_shift_the_marks(app: App, page: Page) -> None:
    folder = nasty_run(app.workspace / "runs" / "nasty")
    open_graph(page, app, folder.name)
    page.get_by_text("Table", exact=True).click()
    pick_line(page, page.get_by_test_id("stDataFrame").first, 0)
    page.locator(".evidence .text .piece").first.wait_for(timeout=10_000)
    shown = {NASTY_SHOWN.get(name, name) for name in NASTY}
    assert set(page.locator(".evidence .text .piece").all_inner_texts()) <= shown


NASTY_SHOWN = {"two\nlines\x00": "two\nlines\ufffd"}


def test_the_downloaded_picture_works_without_a_network(browser: Browser, tmp_path: Path) -> None:
    folder = nasty_run(tmp_path / "nasty")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder / "graph"))
    for address in ((folder / "graph" / "graph.html").as_uri(), None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler) if address is None else None
        if server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(offline=address is not None)
        page = context.new_page()
        asked, complaints = watch(page)
        url = address or f"http://127.0.0.1:{server.server_port}/graph.html"  # type: ignore[union-attr]
        page.goto(url)
        page.locator("canvas").wait_for()
        for number in range(len(NASTY)):
            page.evaluate(f"network.body.emitter.emit('click', {{nodes: [{number}], edges: []}})")
            assert page.locator("#sentences h2").inner_text()
        assert page.locator("img, a, link, script[src]").count() == 0
        assert page.title() == "graph"
        assert [one for one in asked if one != url and not one.startswith(("data:", "blob:"))] == []
        assert complaints == []
        context.close()
        if server:
            server.shutdown()


def pick_line(page: Page, table: Locator, line: int) -> None:
    """Tick a line of a table, which is a canvas."""
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(600)
    box = table.bounding_box()
    assert box
    page.mouse.click(box["x"] + 18, box["y"] + 36 + 35 * line + 17)
    page.wait_for_timeout(900)


def selected_lines(page: Page) -> list[int]:
    """The ticked lines of the page's last table, as its accessible copy tells them."""
    rows = page.get_by_test_id("stDataFrame").last.locator("tr[aria-selected=true]").all()
    return [int(row.get_attribute("aria-rowindex") or 0) - 2 for row in rows]
