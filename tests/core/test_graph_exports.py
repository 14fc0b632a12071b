"""Exports hold what any model may write: markup, quotes, control characters, right-to-left text."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.graph.build import build
from core.graph.exports import csv as csv_export
from core.graph.exports import graphml, html, jsonl
from core.graph.layout import layout
from core.records import Entity, Extraction, Relation, Span

NASTY = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    '<a href="javascript:alert(3)">click</a>',
    "<!-- <link href='http://example.com/x.css'> -->",
    "quotes \" ' ` and \\ backslash",
    "two\nlines\r\nand\ttab",
    "NUL\x00 bell\x07 \ufffe",
    "lone \ud800 surrogate",
    "القاهرة",
    "人物 😀 \u2028 🇫🇷",
    "=1+1",
    "{{ 7 * 7 }} {% raw %}",
    "</title></head><body onload=alert(4)>",
)


def graph_of(names: tuple[str, ...]) -> nx.MultiDiGraph:
    """Each name is an entity, a relation and a type, joined in a ring."""
    rows = []
    for number, name in enumerate(names):
        other = names[(number + 1) % len(names)]
        text = f"{name} {other}."
        first, second = Span(name, 0, len(name)), Span(other, len(name) + 1, len(name) + 1 + len(other))
        entities = (Entity(name, name, 0, len(name)),)
        rows.append(Extraction(f"row {number}", text, entities, (Relation(first, name, second),)))
    return build(rows)


@pytest.fixture(scope="module")
def nasty() -> nx.MultiDiGraph:
    return graph_of(NASTY)


def test_csv_opens_with_its_marks_and_keeps_rows_together(nasty: nx.MultiDiGraph, tmp_path: Path) -> None:
    csv_export.write(nasty, layout(nasty), tmp_path)
    for name, count in (("nodes.csv", len(nasty)), ("edges.csv", nasty.number_of_edges())):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\xef\xbb\xbf")
        assert b"\x00" not in content
        with (tmp_path / name).open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == count
    labels = {line["label"] for line in csv.DictReader((tmp_path / "nodes.csv").open(encoding="utf-8-sig", newline=""))}
    assert "القاهرة" in labels
    assert "'=1+1" in labels


def test_jsonl_holds_every_node_and_edge_with_its_evidence(nasty: nx.MultiDiGraph, tmp_path: Path) -> None:
    jsonl.write(nasty, layout(nasty), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "graph.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert sum("node" in line for line in lines) == len(nasty)
    edges = [line for line in lines if "edge" in line]
    assert len(edges) == nasty.number_of_edges()
    assert all(line["evidence"][0]["sentence"] for line in edges)


def test_graphml_is_read_back(nasty: nx.MultiDiGraph, tmp_path: Path) -> None:
    graphml.write(nasty, layout(nasty), tmp_path)
    again = nx.read_graphml(tmp_path / "graph.graphml")
    assert len(again) == len(nasty)
    assert again.number_of_edges() == nasty.number_of_edges()


class Tags(HTMLParser):
    """Every element of a document and its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_never_become_elements_and_nothing_is_asked_of_the_net(nasty: nx.MultiDiGraph) -> None:
    plain = graph_of(("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"))
    tags = Tags(html.render(nasty, layout(nasty))).found
    assert tags == Tags(html.render(plain, layout(plain))).found
    assert {tag for tag, _ in tags} <= {
        "html", "head", "meta", "title", "style", "script", "body", "div", "aside", "p", "h1", "center"
    }  # fmt: skip
    assert not [attributes for _, attributes in tags if {"src", "href"} & set(attributes)]
    (policy,) = [made["content"] for _, made in tags if made.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4))
def test_any_names_can_be_exported(names: list[str], tmp_path: Path) -> None:
    graph = graph_of(tuple(names))
    positions = layout(graph)
    for export in (csv_export, jsonl, graphml):
        export.write(graph, positions, tmp_path)
    html.render(graph, positions).encode("utf-8")
    nx.read_graphml(tmp_path / "graph.graphml")


def test_a_large_picture_is_cut_and_says_so() -> None:
    graph = graph_of(tuple(f"name {number}" for number in range(40)))
    page = html.render(graph, layout(graph), limit=30)
    assert f"30 of {len(graph)} nodes" in page
    assert "of 40 nodes" not in html.render(graph, layout(graph))
