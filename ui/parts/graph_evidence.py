"""What is known of a node or an edge: its sentences, and the row that each stands in."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import streamlit as st

from core.graph.build import Evidence
from core.graph.query import neighbours
from core.graph.text import clean
from core.records import Extraction
from ui.i18n import t
from ui.parts.errors import plain
from ui.parts.evidence import evidence_and_table
from ui.parts.graph_filters import show_around
from ui.parts.graph_view import Picked, type_of

MANY = 500
"""Sentences listed of a node or edge; more would only slow the page."""


def graph_evidence(
    graph: nx.MultiDiGraph, picked: Picked | None, read_row: Callable[[str], Extraction | None], key: str
) -> None:
    """Draw it at the right of the picture. `read_row` gives the row of a document id."""
    if picked is None or not picked.within(graph):
        st.caption(t("Click a node or a line: its sentences appear here."))
        return
    seen = _edge(graph, picked) if picked.kind == "edge" else _node(graph, picked, key)
    name = f"{key}.{hash(picked)}"
    one = _sentence(seen, name)
    row = read_row(one.doc)
    if row is None:
        st.text(one.sentence)
        return
    types = {type for _, type in graph.nodes(data="type")}
    evidence_and_table(row, f"{name}.{seen.index(one)}", one.record, types=types)


def _node(graph: nx.MultiDiGraph, picked: Picked, key: str) -> list[Evidence]:
    node, data = picked.name, graph.nodes[picked.name]
    _title(plain(clean(data["label"])))
    near = len(neighbours(graph, [node], 1)) - 1
    kind = t("event") if data["kind"] == "event" else ""
    told = [
        plain(clean(type_of(graph, node))),
        kind,
        t("mentions: {n}", n=len(data["mentions"])),
        t("neighbours: {n}", n=near),
    ]
    st.caption(" · ".join(part for part in told if part))
    if near:
        with st.container(horizontal=True):
            for hops, label in ((1, t("Only its neighbours")), (2, t("Two steps around it"))):
                st.button(
                    label,
                    key=f"{key}.hops.{hops}",
                    type="tertiary",
                    icon=":material/zoom_in:",
                    on_click=show_around,
                    args=(key, node, hops),
                )
    return data["mentions"]


def _edge(graph: nx.MultiDiGraph, picked: Picked) -> list[Evidence]:
    head, tail, _ = picked.name
    data = graph.edges[picked.name]
    ends = [plain(clean(graph.nodes[node]["label"])) for node in (head, tail)]
    _title(f"{ends[0]} → {plain(clean(data['relation']))} → {ends[1]}")
    st.caption(t("read {n} times", n=len(data["evidence"])) if len(data["evidence"]) > 1 else t("read once"))
    return data["evidence"]


def _title(words: str) -> None:
    st.markdown(f"#### {words}")


def _sentence(seen: list[Evidence], key: str) -> Evidence:
    """The sentence that is chosen of those listed; the first one until another is."""
    if len(seen) == 1:
        st.caption(t("Row {row}", row=seen[0].row + 1))
        return seen[0]
    listed = seen[:MANY]
    if len(seen) > MANY:
        st.caption(t("The first {n} of {all} sentences.", n=MANY, all=f"{len(seen):,}"))
    chosen = st.dataframe(
        [{"row": one.row + 1, "sentence": clean(one.sentence)} for one in listed],
        key=f"{key}.sentences",
        hide_index=True,
        height=min(38 + 35 * len(listed), 213),
        on_select="rerun",
        selection_mode="single-row-required",
        column_config={
            "row": st.column_config.NumberColumn(t("Row"), width=60),
            "sentence": st.column_config.TextColumn(t("Sentence"), width="large"),
        },
    )["selection"]["rows"]
    return listed[chosen[0]] if chosen and chosen[0] < len(listed) else listed[0]
