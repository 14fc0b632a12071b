"""What to show of a graph, asked above its picture; answers with the part that is left, and says how much that is."""

from __future__ import annotations

import networkx as nx
import streamlit as st

from core.graph.query import Query, Selection, select
from ui.i18n import t

TOPS = (100, 300, 1000, 3000, 10_000)
DEFAULT_TOP = 300


def filters(graph: nx.MultiDiGraph, key: str) -> Selection:
    """Draw the filters and apply them."""
    types = sorted({type for _, type in graph.nodes(data="type")})
    relations = sorted({relation for *_, relation in graph.edges(data="relation")})
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"{key}.filters"):
        text = st.text_input(
            t("Find"), key=f"{key}.text", placeholder=t("Name of a node"), icon=":material/search:", width=200
        )
        chosen = st.multiselect(
            t("Types"),
            types,
            key=f"{key}.types",
            placeholder=t("All types"),
            format_func=lambda type: type or t("no type"),
            width=220,
        )
        related = st.multiselect(
            t("Relations"), relations, key=f"{key}.relations", placeholder=t("All relations"), width=240
        )
        count = _top(graph, key)
        with st.popover(t("More"), icon=":material/tune:"):
            degree = st.number_input(t("Edges at least"), min_value=0, value=0, step=1, key=f"{key}.degree")
            rows = st.text_input(
                t("Rows"),
                key=f"{key}.rows",
                placeholder="1-20, 35",
                help=t("Only what was read in these rows, counted from 1."),
            )
    around = st.session_state.get(f"{key}.around")
    found = select(
        graph,
        Query(
            rows=row_numbers(rows),
            types=frozenset(chosen) or None,
            relations=frozenset(related) or None,
            around=around[0] if around and around[0] in graph else None,
            hops=around[1] if around else 1,
            text=text,
            min_degree=int(degree),
            top=count,
        ),
    )
    _told(graph, found, key)
    return found


def row_numbers(text: str) -> frozenset[int] | None:
    """`1-20, 35`, counted from 1, as rows counted from 0; None where nothing readable is asked."""
    found: set[int] = set()
    for part in text.replace("，", ",").split(","):
        first, _, last = (word.strip() for word in part.partition("-"))
        if first.isdecimal() and (last.isdecimal() or not last):
            low, high = int(first), int(last or first)
            found.update(range(low - 1, min(high, low + 1_000_000)))
    return frozenset(found) or None


def show_around(key: str, node: tuple[str, str] | None, hops: int = 1) -> None:
    """From the next run on, only a node and what is `hops` edges away; None shows all again."""
    st.session_state[f"{key}.around"] = (node, hops) if node else None


def _top(graph: nx.MultiDiGraph, key: str) -> int | None:
    """How many nodes at most. Asked only where the graph is large enough for it to matter."""
    choices = [count for count in TOPS if count < len(graph)]
    if not choices:
        return None
    return st.selectbox(
        t("Nodes at most"),
        [*choices, None],
        index=choices.index(DEFAULT_TOP) if DEFAULT_TOP in choices else len(choices),
        format_func=lambda count: t("all {n}", n=f"{len(graph):,}") if count is None else f"{count:,}",
        key=f"{key}.top",
        width=130,
    )


def _told(graph: nx.MultiDiGraph, found: Selection, key: str) -> None:
    shown, edges, whole = len(found.graph), found.graph.number_of_edges(), len(graph)
    parts = [
        t("Showing {shown} of {all} nodes, {edges} edges.", shown=f"{shown:,}", all=f"{whole:,}", edges=f"{edges:,}")
    ]
    if shown < found.matching:
        parts.append(t("{n} match; these have the most edges.", n=f"{found.matching:,}"))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(" ".join(parts), width="content")
        around = st.session_state.get(f"{key}.around")
        if around and around[0] in graph:
            st.button(
                t("Show the whole graph again"),
                key=f"{key}.whole",
                type="tertiary",
                icon=":material/zoom_out_map:",
                on_click=show_around,
                args=(key, None),
            )
