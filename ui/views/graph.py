"""Graph: the picture left, its evidence right, filters above."""

from __future__ import annotations

import json
import mimetypes
from functools import partial
from pathlib import Path
from typing import Any, Literal

import networkx as nx
import streamlit as st

from core.errors import UserError
from core.graph.exports import html
from core.graph.text import clean
from ui.i18n import error_text, t
from ui.parts.audit_badge import audit_badge
from ui.parts.colours import chip_column, is_dark
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.graph_evidence import graph_evidence
from ui.parts.graph_filters import filters
from ui.parts.graph_sources import DOWNLOADS, Loaded, Source, download, job_of, load, outdated, sources, submit
from ui.parts.graph_view import HEIGHT, Picked, draw
from ui.parts.job_panel import job_panel
from ui.parts.pickers import model_titles
from ui.parts.sandbox import sandboxed

DRAGGABLE = 300  # nodes that can be dragged smoothly
LISTED = 5000


def page() -> None:
    st.title(t("Graph"))
    chosen = _choose()
    if not chosen.sample and not chosen.built:
        st.write(t("This run has no graph yet. Hundreds of rows take seconds, a hundred thousand about a minute."))
        _build(chosen)
        return
    try:
        loaded = load(chosen)
    except UserError as error:
        show_error(error)
        _build(chosen)
    else:
        _built(chosen, loaded)


def _choose() -> Source:
    """The run of the address, else the newest; the sample where there is none."""
    known = sources()
    names = [str(source.run) for source in known]
    asked = st.query_params.get("run", "")
    wanted = {asked, str(Path(asked).resolve())} if asked else set()
    default = next((place for place, source in enumerate(known) if wanted & {str(source.run), source.run.name}), 0)
    if len(known) == 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(
                t("This is a small sample, made by hand. Your own graphs appear here once you have run an extraction."),
                icon=":material/school:",
                width="stretch",
            )
            st.page_link("views/extract.py", label=t("Extract from your own text"), icon=":material/arrow_forward:")
        return known[0]
    place = st.selectbox(
        t("Extraction run"),
        range(len(known)),
        index=default,
        format_func=lambda place: t("Sample graph, made by hand") if known[place].sample else known[place].run.name,
        key=f"graph.run.{hash(tuple(names))}",
        width=460,
    )
    st.query_params["run"] = known[place].run.name
    return known[place]


def _build(chosen: Source) -> None:
    """The button that starts the job, or the job where it is at work."""
    job = job_of(chosen)
    if job is not None and not job.over:
        job_panel(job.id)
        return
    if st.button(t("Build the graph"), type="primary", icon=":material/hub:", key="graph.build"):
        with errors_shown():
            submit(chosen)
            st.rerun()
    if job is not None and job.state in ("failed", "died"):
        job_panel(job.id)


def _built(chosen: Source, loaded: Loaded) -> None:
    _about(chosen, loaded)
    _again(chosen, loaded)
    if not len(loaded.graph):
        st.info(t("The model found nothing in these rows, so there is nothing to draw."), icon=":material/info:")
        return
    _explorer(chosen, loaded)


def _about(chosen: Source, loaded: Loaded) -> None:
    """What it was made of, what to be careful with, and the files to take away."""
    facts = loaded.graph.graph
    with st.container(horizontal=True, vertical_alignment="center"):
        for ref, count in facts["models"].items():
            if ref:
                name = t("made by hand") if chosen.sample else plain(clean(model_titles().get(ref, ref)))
                st.badge(
                    t("{model} (rows: {n})", model=name, n=f"{count:,}"), icon=":material/smart_toy:", color="gray"
                )
        for warning, count in facts["warnings"].items():
            st.badge(
                t("{warning} (rows: {n})", n=f"{count:,}", warning=plain(error_text(json.loads(warning))[0])),
                icon=":material/warning:",
                color="orange",
            )
        if facts["failed"]:
            st.badge(t("failed rows: {n}", n=f"{facts['failed']:,}"), icon=":material/error:", color="red")
        if not chosen.sample:
            audit_badge(chosen.run)
        st.space("stretch")
        _downloads(chosen, loaded)


def _downloads(chosen: Source, loaded: Loaded) -> None:
    told = {
        "graph.html": t("Picture to drag, in one file"),
        "nodes.csv": t("Nodes"),
        "edges.csv": t("Edges with their sentences"),
        "graph.jsonl": t("Everything, one JSON a line"),
        "graph.graphml": t("For Gephi, yEd and Cytoscape"),
    }
    with st.popover(t("Download"), icon=":material/download:"):
        st.caption(t("The whole graph, whatever the filters show."))
        for name in DOWNLOADS:
            st.download_button(
                f"{told[name]} ({name})",
                partial(download, chosen, loaded, name),
                f"{chosen.run.name}-{name}",
                mimetypes.guess_type(name)[0] or "application/octet-stream",
                key=f"graph.download.{name}",
                on_click="ignore",
                width="stretch",
            )


def _again(chosen: Source, loaded: Loaded) -> None:
    job = job_of(chosen) if not chosen.sample else None
    if job is not None and not job.over:
        job_panel(job.id)
    elif outdated(chosen, loaded):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("The run has changed since this graph was built."), width="content")
            if st.button(t("Build the graph again"), icon=":material/refresh:", key="graph.again"):
                with errors_shown():
                    submit(chosen)
                    st.rerun()


@st.fragment
def _explorer(chosen: Source, loaded: Loaded) -> None:
    key = f"graph.{chosen.run.name}"
    found = filters(loaded.graph, key)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _pictures(found.graph, loaded, key)
    with right:
        picked = st.session_state.get(f"{key}.picked")
        graph_evidence(loaded.graph, picked, loaded.read_row, key)


def _pictures(graph: nx.MultiDiGraph, loaded: Loaded, key: str) -> None:
    shown = st.segmented_control(
        t("View"),
        ["picture", "table", "drag"],
        default="picture",
        format_func=lambda view: {"picture": t("Picture"), "table": t("Table"), "drag": t("Draggable")}[view],
        key=f"{key}.view",
        label_visibility="collapsed",
        required=True,
    )
    if not len(graph):
        st.caption(t("Nothing matches these filters."))
    elif shown == "table":
        _tables(graph, key)
    elif shown == "drag":
        _draggable(graph, loaded)
    else:
        name = hash((tuple(graph), graph.number_of_edges()))
        draw(graph, loaded.positions, f"{key}.chart.{name}", partial(_pick, key))
        st.caption(t("A grammar makes answers verbatim, never true: read the sentence before you believe an edge."))


def _pick(key: str, picked: Picked | None) -> None:
    st.session_state[f"{key}.picked"] = picked


def _draggable(graph: nx.MultiDiGraph, loaded: Loaded) -> None:
    if len(graph) > DRAGGABLE:
        st.caption(t("Up to {n} nodes can be dragged; these are the ones with the most edges.", n=DRAGGABLE))
    words = {
        "note": t("{shown} of {all} nodes: those with the most edges."),
        "hint": t("Click a node or a line to read its sentences. Drag nodes; scroll to zoom."),
        "row": t("row {row}"),
        "not_audited": t("Not audited: nobody has checked how right it is."),
        "audited": t("Audited, {n} sentences: precision {precision}, recall {recall}."),
    }
    sandboxed(html.render(graph, loaded.positions, dark=is_dark(), limit=DRAGGABLE, words=words), height=HEIGHT)


def _tables(graph: nx.MultiDiGraph, key: str) -> None:
    """The same graph for keyboards and for those who'd rather read: choose a line as one would click a node."""
    kind: Literal["node", "edge"] = st.segmented_control(
        t("Table"),
        ["node", "edge"],
        default="node",
        format_func=lambda kind: t("Nodes") if kind == "node" else t("Edges"),
        key=f"{key}.kind",
        label_visibility="collapsed",
        required=True,
    )
    names, lines = _node_lines(graph) if kind == "node" else _edge_lines(graph)
    if len(names) > LISTED:
        st.caption(t("The first {n} of {all}; filter to see others.", n=f"{LISTED:,}", all=f"{len(names):,}"))
    table = f"{key}.table.{kind}.{hash(tuple(names))}"

    def picked() -> None:
        rows = st.session_state[table]["selection"]["rows"]
        _pick(key, Picked(kind, names[rows[0]]) if rows and rows[0] < len(names) else None)

    st.dataframe(
        lines[:LISTED],
        key=table,
        hide_index=True,
        height=HEIGHT - 60,
        on_select=picked,
        selection_mode="single-row",
        column_config=_columns(graph),
    )


def _node_lines(graph: nx.MultiDiGraph) -> tuple[list, list[dict[str, Any]]]:
    names = sorted(graph, key=lambda node: (-graph.degree(node), node))
    lines = []
    for node in names[:LISTED]:
        data = graph.nodes[node]
        type = [clean(data["type"])] if data["type"] else []
        lines.append(
            {
                "label": clean(data["label"]),
                "type": type,
                "degree": graph.degree(node),
                "mentions": len(data["mentions"]),
            }
        )
    return names, lines


def _edge_lines(graph: nx.MultiDiGraph) -> tuple[list, list[dict[str, Any]]]:
    names = sorted(graph.edges(keys=True), key=lambda edge: -len(graph.edges[edge]["evidence"]))
    lines = []
    for head, tail, relation in names[:LISTED]:
        ends = [clean(graph.nodes[node]["label"]) for node in (head, tail)]
        count = len(graph.edges[head, tail, relation]["evidence"])
        lines.append({"head": ends[0], "relation": clean(relation[0]), "tail": ends[1], "times": count})
    return names, lines


def _columns(graph: nx.MultiDiGraph) -> dict[str, Any]:
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    return {
        "label": text(t("Name"), width="medium"),
        "type": chip_column(t("Type"), {clean(type) for _, type in graph.nodes(data="type")}),
        "degree": number(t("Edges")),
        "mentions": number(t("Mentions")),
        "head": text(t("Head"), width="medium"),
        "relation": text(t("Relation")),
        "tail": text(t("Tail"), width="medium"),
        "times": number(t("Times read")),
    }


page()
