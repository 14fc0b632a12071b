"""graph.html: a picture to drag and zoom, in one file that works without a network.

Drawn by pyvis, whose template names other hosts and would run a node's title as HTML. So: positions
given, physics off, no titles; outside tags are cut out; a policy in the file forbids every request;
labels go to a canvas and evidence to `textContent`, never to markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import networkx as nx

from core.graph import colours
from core.graph.build import Evidence
from core.graph.exports import audit
from core.graph.files import replacing
from core.graph.layout import Positions
from core.graph.query import Query, select
from core.graph.text import clean

FILES = ("graph.html",)
LIMIT = 2000
"""Nodes in the file; of a larger graph those with the most edges, and the file says so."""
SHOWN = 5
"""Sentences of evidence for each node and edge."""
WORDS = {
    "note": "{shown} of {all} nodes: those with the most edges.",
    "hint": "Click a node or a line to read its sentences. Drag nodes; scroll to zoom.",
    "row": "row {row}",
    "not_audited": "Not audited: nobody has checked how right it is.",
    "audited": "Audited, {n} sentences: precision {precision}, recall {recall}.",
}
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_OUTSIDE = re.compile(r"""<!--.*?-->|<link\b[^>]*>|<script\b[^>]*\bsrc=[^>]*>\s*</script>|<center>.*?</center>""", re.S)
_HERE = Path(__file__).parent


def write(graph: nx.MultiDiGraph, positions: Positions, folder: Path) -> None:
    with replacing(folder / FILES[0]) as temporary:
        temporary.write_text(render(graph, positions), encoding="utf-8")


def render(
    graph: nx.MultiDiGraph,
    positions: Positions,
    *,
    dark: bool = False,
    limit: int = LIMIT,
    words: dict[str, str] = WORDS,
) -> str:
    """The whole document. `words` are the texts of the file, in the reader's language."""
    shown = select(graph, Query(top=limit)).graph
    audited = audit.in_words(audit.told(graph), words)
    note = words["note"].format(shown=len(shown), all=len(graph)) if len(shown) < len(graph) else ""
    page = _pyvis(shown, positions, dark)
    evidence = {"nodes": _nodes_evidence(shown), "edges": _edges_evidence(shown), "row": words["row"]}
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><title>graph</title>'
    )
    body = (
        f'<aside id="evidence"><p class="hint">{_text(note)} {_text(words["hint"])} {_text(audited)}</p>'
        '<div id="sentences"></div></aside>'
        f'<script type="application/json" id="data">{_json(evidence)}</script>'
        f"<script>{(_HERE / 'html.js').read_text(encoding='utf-8')}</script>"
    )
    style = f"<style>{(_HERE / 'html.css').read_text(encoding='utf-8')}</style>"
    page = page.replace('<meta charset="utf-8">', f'<meta charset="utf-8">{head}', 1).replace(
        "<html>", f'<html data-theme="{"dark" if dark else "light"}">', 1
    )
    start, end = page.rsplit("</body>", 1)
    return f"<!doctype html>\n{start}{style}{body}</body>{end}"


def _pyvis(graph: nx.MultiDiGraph, positions: Positions, dark: bool) -> str:
    from pyvis.network import Network

    drawn = Network(height="100vh", width="100%", directed=True, cdn_resources="in_line", bgcolor="transparent")
    # Set whole: add_node and add_edge search a list each time, minutes for thousands of nodes.
    drawn.nodes = list(_nodes(graph, positions))
    drawn.edges = list(_edges(graph))
    drawn.set_options(json.dumps(_options(dark, len(graph))))
    return _without_outside_tags(drawn.generate_html())


def _without_outside_tags(page: str) -> str:
    """Cuts in the markup only: the libraries and the data between script tags stay as they are."""
    parts = re.split(r"(<script(?: type=\"text/javascript\")?>.*?</script>)", page, flags=re.S)
    return "".join(part if place % 2 else _OUTSIDE.sub("", part) for place, part in enumerate(parts))


def _nodes(graph: nx.MultiDiGraph, positions: Positions) -> Iterable[dict]:
    places = colours.slots(data["type"] for _, data in graph.nodes(data=True))
    shapes = {"circle": "dot", "rect": "square", "triangle": "triangle", "diamond": "diamond"}
    for number, (node, data) in enumerate(graph.nodes(data=True)):
        x, y = positions[node]
        yield {
            "id": number,
            "label": shortened(clean(data["label"])),
            "x": x * 4,
            "y": y * 4,
            "size": 8 + 2.5 * graph.degree(node) ** 0.5,
            "color": colours.colour(data["type"], places),
            "shape": shapes[colours.shape(data["type"], data["kind"], places)],
        }


def _edges(graph: nx.MultiDiGraph) -> Iterable[dict]:
    index = {node: number for number, node in enumerate(graph)}
    named = graph.number_of_edges() <= 400
    for number, (head, tail, data) in enumerate(graph.edges(data=True)):
        label = shortened(clean(data["relation"])) if named else ""
        yield {"id": number, "from": index[head], "to": index[tail], "label": label, "arrows": "to"}


def _options(dark: bool, count: int) -> dict:
    ink, line = ("#E4EAEA", "#55646A") if dark else ("#1F2A2E", "#B4C0C4")
    return {
        "physics": {"enabled": False},
        "nodes": {"font": {"color": ink, "size": 14, "face": "sans-serif"}, "borderWidth": 0},
        "edges": {
            "color": {"color": line, "highlight": "#0F766E"},
            "smooth": {"enabled": count <= 500, "type": "dynamic" if count <= 100 else "continuous"},
            "font": {"color": ink, "size": 10, "strokeWidth": 0, "align": "middle"},
            "arrows": {"to": {"scaleFactor": 0.5}},
        },
        "interaction": {
            "hover": True,
            "keyboard": {"enabled": True, "bindToWindow": False},
            "hideEdgesOnDrag": count > 500,
        },
    }


def _nodes_evidence(graph: nx.MultiDiGraph) -> list[dict]:
    return [
        {"title": clean(data["label"]), "kind": clean(data["type"]), "seen": _seen(data["mentions"])}
        for _, data in graph.nodes(data=True)
    ]


def _edges_evidence(graph: nx.MultiDiGraph) -> list[dict]:
    return [
        {
            "title": clean(f"{graph.nodes[head]['label']} → {data['relation']} → {graph.nodes[tail]['label']}"),
            "kind": "",
            "seen": _seen(data["evidence"]),
        }
        for head, tail, data in graph.edges(data=True)
    ]


def _seen(evidence: list[Evidence]) -> list[list]:
    """[row, sentence], the first few; rows count from 1, as people do."""
    return [[one.row + 1, clean(one.sentence)] for one in evidence[:SHOWN]]


def shortened(label: str, limit: int = 40) -> str:
    """One line of at most `limit` characters, for pictures; the evidence has the whole."""
    line = " ".join(label.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _json(value: object) -> str:
    """JSON that can't end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
