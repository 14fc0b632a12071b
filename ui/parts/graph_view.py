"""The picture of a graph, drawn by ECharts from positions that are known already, and what was clicked in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import networkx as nx
import streamlit as st

from core.graph.build import NodeKey
from core.graph.exports.html import shortened
from core.graph.layout import Positions
from core.graph.query import top
from core.graph.text import clean
from ui.i18n import t
from ui.parts.colours import colour, is_dark, shape, slots

HEIGHT = 580
ZOOM = 1.05  # ECharts alone would leave a fifth of the frame empty
SYMBOLS = {"circle": "circle", "rect": "roundRect", "triangle": "triangle", "diamond": "diamond"}
NAMED = 60
"""Nodes that carry their name in a large picture: those with the most edges. Small pictures name all."""
SMALL = 150
LARGE = 2000


@dataclass(frozen=True)
class Picked:
    """A node, or an edge: (head, tail, (relation, kind))."""

    kind: Literal["node", "edge"]
    name: Any

    def within(self, graph: nx.MultiDiGraph) -> bool:
        return graph.has_edge(*self.name) if self.kind == "edge" else self.name in graph


def draw(
    graph: nx.MultiDiGraph,
    positions: Positions,
    key: str,
    on_pick: Callable[[Picked | None], None],
    *,
    height: int = HEIGHT,
) -> None:
    """Draw it; `on_pick` hears of every click on a node or an edge, and of None when it is taken back.

    `key` must change with the graph: a selection is kept by place, not by name.
    """
    nodes = list(graph)
    edges = list(graph.edges(keys=True))

    def picked() -> None:
        groups = st.session_state[key]["selection"]["selected"]
        on_pick(_picked(groups, nodes, edges))

    st.echarts_chart(
        spec(graph, positions, dark=is_dark()),
        height=height,
        key=key,
        on_select=picked,
        alt=t("Graph of {nodes} nodes and {edges} edges", nodes=len(nodes), edges=len(edges)),
    )


def _picked(groups: list[dict], nodes: list[NodeKey], edges: list[tuple]) -> Picked | None:
    for group in groups:
        kind, names = ("edge", edges) if group["data_type"] == "edge" else ("node", nodes)
        for place in group["data_indices"]:
            if place < len(names):
                return Picked(kind, names[place])  # type: ignore[arg-type]
    return None


def spec(graph: nx.MultiDiGraph, positions: Positions, *, dark: bool) -> dict[str, Any]:
    """The ECharts option: plain JSON, no markup from any name. See the graph series in ECharts' documentation."""
    ink, line, ground = ("#E4EAEA", "#5B6B71", "#14191B") if dark else ("#1F2A2E", "#B4C0C4", "#FFFFFF")
    count = len(graph)
    types = sorted({data["type"] for _, data in graph.nodes(data=True)}, key=lambda type: (type == "", type))
    places = slots(types)
    categories = [{"name": clean(type) or t("no type"), "itemStyle": {"color": colour(type, places)}} for type in types]
    series = {
        "type": "graph",
        "layout": "none",
        "roam": True,
        "zoom": ZOOM,
        "animation": False,
        "selectedMode": "single",
        "scaleLimit": {"min": 0.3, "max": 40},
        "categories": categories,
        "data": _nodes(graph, positions, types),
        "links": _links(graph),
        "itemStyle": {"borderColor": ground, "borderWidth": 1 if count <= LARGE else 0},
        "label": {"show": count <= SMALL, "color": ink, "position": "right", "fontSize": 12, "textBorderWidth": 0},
        "labelLayout": {"hideOverlap": True},
        "edgeSymbol": ["none", "arrow" if count <= LARGE else "none"],
        "edgeSymbolSize": 6,
        "lineStyle": {
            "color": line,
            "width": 1.4 if count <= LARGE else 0.7,
            "opacity": 0.9 if count <= LARGE else 0.5,
        },
        "emphasis": {"focus": "adjacency" if count <= LARGE else "none", "lineStyle": {"width": 2.5}},
        "blur": {"itemStyle": {"opacity": 0.25}, "lineStyle": {"opacity": 0.15}, "label": {"opacity": 0.35}},
        "select": {
            "itemStyle": {"borderColor": ink, "borderWidth": 3},
            "lineStyle": {"color": ink, "width": 3, "opacity": 1},
            "label": {"show": True, "fontWeight": "bold"},
        },
    }
    legend = {"type": "scroll", "bottom": 4, "textStyle": {"color": ink}, "data": [one["name"] for one in categories]}
    return {"tooltip": {"confine": True}, "legend": legend, "series": [series]}


def _nodes(graph: nx.MultiDiGraph, positions: Positions, types: list[str]) -> list[dict[str, Any]]:
    category = {type: place for place, type in enumerate(types)}
    places = slots(types)
    degrees = dict(graph.degree())
    small = len(graph) <= SMALL
    named = set() if small else set(top(graph, NAMED))
    base, growth = (11, 4.5) if small else (6, 2.5) if len(graph) <= LARGE else (3, 1.2)
    made = []
    for number, (node, data) in enumerate(graph.nodes(data=True)):
        x, y = positions[node]
        one: dict[str, Any] = {
            "id": str(number),
            "name": shortened(clean(data["label"])),
            "x": x,
            "y": y,
            "category": category[data["type"]],
            "value": clean(data["type"]),
            "symbolSize": round(base + growth * min(degrees[node], 100) ** 0.5, 1),
        }
        symbol = SYMBOLS[shape(data["type"], data["kind"], places)]
        if symbol != "circle":
            one["symbol"] = symbol
        if node in named:
            one["label"] = {"show": True}
        made.append(one)
    return made


def _links(graph: nx.MultiDiGraph) -> list[dict[str, Any]]:
    """Edges between the same two nodes are bent apart, so that each can be clicked. Their names are in the tooltip:
    ECharts misplaces edge labels where labels may hide."""
    index = {node: number for number, node in enumerate(graph)}
    drawn: Counter[tuple[int, int]] = Counter()
    made = []
    for head, tail, relation in graph.edges(data="relation"):
        source, target = index[head], index[tail]
        pair = (min(source, target), max(source, target))
        bend = drawn[pair]
        drawn[pair] += 1
        one: dict[str, Any] = {"source": source, "target": target, "value": shortened(clean(relation))}
        if bend:
            one["lineStyle"] = {
                "curveness": (0.18 * ((bend + 1) // 2)) * (1 if bend % 2 else -1) * (1 if source < target else -1)
            }
        made.append(one)
    return made


def type_of(graph: nx.MultiDiGraph, node: NodeKey) -> str:
    return graph.nodes[node]["type"] or t("no type")
