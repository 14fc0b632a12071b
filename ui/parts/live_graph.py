"""A small graph of a run's first rows, which grows while it works; the Graph page has all of it, and the filters."""

from __future__ import annotations

import networkx as nx
import streamlit as st

from core.graph.build import Evidence, build
from core.graph.layout import Positions, layout
from core.graph.query import top
from core.store import Store
from ui.i18n import t
from ui.parts.evidence import evidence
from ui.parts.graph_view import Picked, draw
from ui.parts.records_index import RecordsIndex

ROWS = (1, 3, 10, 20, 50, 100, 200)
"""It is drawn anew when so many rows are finished: at every row it would never stand still."""
NODES = 60
HEIGHT = 440


def live_graph(index: RecordsIndex, rows: int, *, over: bool) -> None:
    """Draw it for a run of which `rows` are finished; a click on a node or a line shows where it was read."""
    count = min(rows, ROWS[-1]) if over else max((step for step in ROWS if step <= rows), default=0)
    graph, positions = _graph(str(index.folder), count, index.seen if over else 0)
    if not len(graph):
        st.caption(t("Nothing to draw so far."))
        return
    key = f"run.graph.{index.folder.name}.{count}"
    picture, beside = st.columns([3, 2], gap="medium")
    with picture:
        draw(graph, positions, key, lambda picked: _keep(key, picked), height=HEIGHT)
        told = {"nodes": len(graph), "rows": count}
        st.caption(t("Nodes: {nodes}, the most connected of the first {rows} rows.", **told))
    with beside:
        _evidence(index, graph, st.session_state.get(f"{key}.picked"), key)


@st.cache_data(max_entries=16, show_spinner=False)
def _graph(folder: str, rows: int, seen: int) -> tuple[nx.MultiDiGraph, Positions]:
    """`seen` tells a run whose failed rows were asked again from what it was before."""
    whole = build(Store(folder).results(limit=rows))
    graph = whole.subgraph(top(whole, NODES)).copy()
    return graph, layout(graph)


def _keep(key: str, picked: Picked | None) -> None:
    st.session_state[f"{key}.picked"] = picked


def _evidence(index: RecordsIndex, graph: nx.MultiDiGraph, picked: Picked | None, key: str) -> None:
    if picked is None or not picked.within(graph):
        st.caption(t("Click a node or a line: its sentences appear here."))
        return
    one = _first(graph, picked)
    extraction = index.extraction(one.row)
    if extraction is not None:
        evidence(extraction, f"{key}.evidence", selected=one.record, types=index.types("entity"))


def _first(graph: nx.MultiDiGraph, picked: Picked) -> Evidence:
    if picked.kind == "node":
        return graph.nodes[picked.name]["mentions"][0]
    return graph.edges[picked.name]["evidence"][0]
