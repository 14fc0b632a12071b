"""The Graph page, and what the evidence component is given to draw."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core import paths
from core.graph import colours
from core.graph.build import build
from core.graph.layout import layout
from core.graph.run import BuildRequest, run
from core.jobs import store
from core.operation import Silent
from core.records import Argument, Entity, Event, Extraction, Relation, Span
from tests.ui.conftest import OpenPage, texts
from ui.parts.evidence import payload, record_lines
from ui.parts.graph_filters import row_numbers
from ui.parts.graph_sources import SAMPLE
from ui.parts.graph_view import spec

WORDS = {
    "en": {"title": "Graph", "sample": "small sample", "shown": "Showing 50 of 50 nodes", "none": "no graph yet"},
    "zh": {"title": "图谱", "sample": "小样例", "shown": "显示 50 / 50 个节点", "none": "还没有图谱"},
}


@pytest.fixture
def a_run(workspace: Path) -> Path:
    folder = paths.runs() / "20260101-people"
    shutil.copytree(SAMPLE, folder)
    return folder


def test_without_a_run_the_sample_is_shown_and_called_one(open_page: OpenPage, language: str) -> None:
    said = texts(open_page("graph"))
    assert all(WORDS[language][name] in said for name in ("title", "sample", "shown"))


def test_a_run_without_a_graph_has_one_button_that_builds_it(open_page: OpenPage, a_run: Path, language: str) -> None:
    page = open_page("graph")
    assert WORDS[language]["none"] in texts(page)
    page.button(key="graph.build").click().run()
    (job,) = store.all_jobs()
    assert store.wait(job.id, timeout=60).state == "done"
    page.run()
    assert WORDS[language]["shown"] in texts(page)
    assert not [button for button in page.button if button.key == "graph.build"]


def test_filters_say_how_much_is_left(open_page: OpenPage, a_run: Path, language: str) -> None:
    run(BuildRequest(run=a_run, out=a_run / "graph"), Silent())
    page = open_page("graph", run=a_run.name)
    page.text_input(key=f"graph.{a_run.name}.text").set_value("ulm").run()
    assert {"en": "Showing 2 of 50 nodes", "zh": "显示 2 / 50"}[language] in texts(page)
    page.text_input(key=f"graph.{a_run.name}.text").set_value("nobody at all").run()
    assert {"en": "Nothing matches", "zh": "没有符合"}[language] in texts(page)


def test_a_run_that_went_on_offers_to_build_again(open_page: OpenPage, a_run: Path) -> None:
    run(BuildRequest(run=a_run, out=a_run / "graph"), Silent())
    assert not [one for one in open_page("graph").button if one.key == "graph.again"]
    with (a_run / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert open_page("graph").button(key="graph.again")


def test_a_broken_graph_file_says_so(open_page: OpenPage, a_run: Path) -> None:
    (a_run / "graph").mkdir()
    (a_run / "graph" / "graph.json").write_text("{}", encoding="utf-8")
    page = open_page("graph")
    assert r"graph\.json" in page.error[0].value
    assert page.button(key="graph.build")


def test_a_node_chosen_shows_its_sentence(open_page: OpenPage) -> None:
    from ui.parts.graph_view import Picked

    page = open_page("graph")
    page.session_state["graph.sample_run.picked"] = Picked("node", ("ulm", "Location"))
    page.run()
    assert "#### Ulm" in texts(page)
    assert [frame.value["text"].tolist()[0] for frame in page.dataframe] == ["Albert Einstein"]


TEXT = "😀 Ann of the University of Paris met Bob."


def at(words: str) -> tuple[str, int, int]:
    start = TEXT.index(words)
    return words, start, start + len(words)


def entity(words: str, type: str) -> Entity:
    text, start, end = at(words)
    return Entity(text, type, start, end)


ROW = Extraction(
    "r",
    TEXT,
    entities=(entity("Ann", "Person"), entity("University of Paris", "Organization"), entity("Paris", "Location")),
    relations=(Relation(Span(*at("Ann")), "met", Span(*at("Bob"))), Relation(Span(*at("Ann")), "of", Span("Rome"))),
    events=(Event("Meeting", Span(*at("met")), (Argument("who", *at("Ann")), Argument("where", "Mars"))),),
    confidence=0.5,
    provenance={"warnings": [{"problem": "Careful, {who}.", "remedy": "", "values": {"who": "you"}}]},
)


def test_every_span_is_marked_and_relations_lie_on_their_entities() -> None:
    marks = {TEXT[mark["start"] : mark["end"]]: mark for mark in payload(ROW)["marks"]}
    assert set(marks) == {"Ann", "University of Paris", "Paris", "Bob", "met"}
    assert marks["Ann"]["records"] == ["entity:0", "relation:0", "relation:1", "event:0"]
    assert (marks["Bob"]["kind"], marks["Bob"]["label"]) == ("end", "")
    assert (marks["met"]["kind"], marks["met"]["label"]) == ("trigger", "Meeting")


def test_what_the_text_does_not_hold_stands_apart() -> None:
    told = payload(ROW)
    assert [row["record"] for row in told["rows"]] == ["relation:0"]
    assert [row["record"] for row in told["lost"]] == ["relation:1", "event:0"]
    assert payload(Extraction("r", "abc", (Entity("x", "T", 0, 1),)))["lost"][0]["record"] == "entity:0"


def test_warnings_and_errors_come_along() -> None:
    assert payload(ROW)["badges"] == ["Careful, you."]
    assert payload(Extraction("r", "x", provenance={"reads_language": False}))["badges"]
    failed = Extraction("r", "x", error={"problem": "No {n}.", "remedy": "Wait.", "values": {"n": "1"}})
    assert payload(failed)["error"] == "No 1. Wait."


def test_text_that_no_message_can_carry_keeps_its_length() -> None:
    told = payload(Extraction("r", "a\ud800b\x00", (Entity("\ud800", "T\ud800", 1, 2),)))
    assert told["text"] == "a\ufffdb\ufffd"
    assert told["marks"][0]["start"] == 1
    str(told).encode("utf-8")


def test_the_table_has_one_line_a_record() -> None:
    lines = record_lines(ROW)
    assert [line["record"] for line in lines] == [
        "entity:0",
        "entity:1",
        "entity:2",
        "relation:0",
        "relation:1",
        "event:0",
    ]
    assert lines[4]["text"] == "Ann → of → Rome"
    assert lines[4]["place"] == "2-5, –"


def test_a_type_has_one_colour_everywhere() -> None:
    types = ["Person", "Organization", "Location", "Date", "Odd", "Other", "Seventh"]
    places = colours.slots(types)
    assert len({colours.colour(type, places) for type in types[:6]}) == 6
    assert (colours.colour("Seventh", places), colours.shape("Seventh", "entity", places)) != (
        colours.colour("Person", places),
        colours.shape("Person", "entity", places),
    )
    mark = next(mark for mark in payload(ROW, types=types)["marks"] if mark["label"] == "Location")
    assert mark["colour"] == colours.colour("Location", places)
    assert colours.colour("", places) == colours.UNTYPED


def test_the_picture_holds_no_markup_and_every_click_has_a_name() -> None:
    text = "<b>x</b> y"
    row = Extraction(
        "a", text, (Entity("<b>x</b>", "T", 0, 8),), (Relation(Span("<b>x</b>", 0, 8), "r", Span("y", 9, 10)),)
    )
    graph = build([row, row])
    series = spec(graph, layout(graph), dark=False)["series"][0]
    assert [node["name"] for node in series["data"]] == ["<b>x</b>", "y"]
    assert series["links"] == [{"source": 0, "target": 1, "value": "r"}]


def test_parallel_edges_are_bent_apart() -> None:
    head, tail = Span("a", 0, 1), Span("b", 2, 3)
    relations = tuple(Relation(*ends) for ends in ((head, "r", tail), (head, "s", tail), (tail, "t", head)))
    graph = build([Extraction("a", "a b", relations=relations)])
    links = spec(graph, layout(graph), dark=True)["series"][0]["links"]
    assert (
        len({link.get("lineStyle", {}).get("curveness", 0) * (1 if link["source"] == 0 else -1) for link in links}) == 3
    )


@pytest.mark.parametrize(
    ("asked", "rows"),
    [("", None), ("x", None), ("1", {0}), ("2-4, 7", {1, 2, 3, 6}), ("3，1", {0, 2}), ("5-3", None), ("0", {-1})],
)
def test_rows_are_counted_from_one(asked: str, rows: set[int] | None) -> None:
    assert row_numbers(asked) == (frozenset(rows) if rows else None)
