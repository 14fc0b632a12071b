"""The records of a run: a page of a table beside the sentence of the chosen one; a click in either shows the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import UserError
from ui.i18n import error_text, t
from ui.parts.colours import chip_column
from ui.parts.evidence import evidence
from ui.parts.records_index import ORDERS, PAGE, Kind, Query, RecordsIndex, Row

TABLE_HEIGHT = 460


def records_index(folder: Path) -> RecordsIndex:
    """The one index of that run in this server, brought up to date by a piece."""
    store = folder / "store.sqlite"
    born = store.stat().st_ino if store.exists() else 0
    index = _index(str(folder), born)
    index.refresh()
    return index


@st.cache_resource(max_entries=4, show_spinner=False)
def _index(folder: str, born: int) -> RecordsIndex:
    return RecordsIndex(Path(folder))


def records_table(index: RecordsIndex, kind: Kind) -> None:
    """Filters, a page of the table, and the evidence of the selected record."""
    key = f"records.{index.folder.name}.{kind}"
    query = _query(index, kind, key)
    total = index.count(query)
    if not total:
        st.caption(t("No record matches the filter.") if query.words or query.types else _nothing(kind))
        return
    table, beside = st.columns([3, 2], gap="medium")
    with table:
        rows = _page(index, query, total, key)
        chosen = _table(index, rows, kind, key)
    with beside:
        if chosen is None:
            st.caption(t("Choose a row to see its sentence."))
        else:
            _evidence(index, query, chosen, key)


def _query(index: RecordsIndex, kind: Kind, key: str) -> Query:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            t("Find"),
            key=f"{key}.words",
            placeholder=t("Find in text, type or id"),
            label_visibility="collapsed",
            icon=":material/search:",
            width=260,
        )
        types = index.types(kind)
        chosen: list[str] = []
        if kind != "failure" and len(types) > 1:
            chosen = st.multiselect(
                t("Types"),
                types,
                key=f"{key}.types",
                persist_state="page",
                placeholder=t("All types"),
                label_visibility="collapsed",
                width=260,
            )
        names = {
            "file": t("In the file's order"),
            "type": t("By type"),
            "text": t("By text"),
            "sure": t("Least sure first"),
        }
        order = st.selectbox(
            t("Order"),
            [one for one in ORDERS if one != "sure" or index.judged(kind)],
            format_func=lambda order: names[order],
            key=f"{key}.order",
            label_visibility="collapsed",
            width=180,
        )
    return Query(kind, words, tuple(chosen), order)


def _page(index: RecordsIndex, query: Query, total: int, key: str) -> list[Row]:
    pages = -(-total // PAGE)
    wanted = st.session_state.pop(f"{key}.goto", None)
    if wanted is not None:
        st.session_state[f"{key}.page"] = wanted
    if st.session_state.get(f"{key}.page", 1) > pages:
        st.session_state[f"{key}.page"] = pages
    number = 1
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            number = st.pagination(pages, key=f"{key}.page")
            st.caption(t("{n} records", n=f"{total:,}"), width="content")
    return index.page(query, number)


def _table(index: RecordsIndex, rows: list[Row], kind: Kind, key: str) -> Row | None:
    """The table; the selected row. Its key turns when a span was clicked, so that its selection can be set."""
    turn = st.session_state.get(f"{key}.turn", 0)
    selected = st.dataframe(
        [_cells(row) for row in rows],
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(rows)),
        column_config=_columns(kind, index.types(kind)),
        column_order=_order(kind, rows),
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [st.session_state.get(f"{key}.row", 0)]}},
        key=f"{key}.table.{turn}",
    )["selection"]["rows"]
    return rows[selected[0]] if selected and selected[0] < len(rows) else None


def _cells(row: Row) -> dict[str, Any]:
    return {
        "type": [row.type],
        "one": row.one,
        "two": row.two,
        "id": row.id,
        "located": "" if row.located else t("not in the text"),
        "marked": t("not its language") if row.marked else "",
        "swapped": t("ends swapped?") if row.swapped else "",
        "sure": row.sure,
    }


def _columns(kind: Kind, types: list[str]) -> dict[str, Any]:
    labels = {
        "entity": (t("Type"), t("Text"), ""),
        "relation": (t("Relation"), t("Head"), t("Tail")),
        "event": (t("Event"), t("Trigger"), t("Arguments")),
    }[kind]
    text = st.column_config.TextColumn
    return {
        "type": chip_column(labels[0], types),
        "one": text(labels[1], width="medium"),
        "two": text(labels[2], width="medium"),
        "id": text(t("Row"), width="small"),
        "located": text(
            t("Place"), help=t("These words are not in the text as they stand; nothing is highlighted for them.")
        ),
        "marked": text(t("Caution"), help=t("The model does not declare the language of this text.")),
        "swapped": text(
            t("Direction"),
            help=t("Head and tail may have changed places: swapped they fit the schema, or passes said it either way."),
        ),
        "sure": st.column_config.ProgressColumn(
            t("Confidence"),
            help=t("The share of passes that say it, times the mean probability of its tokens where the engine tells."),
            min_value=0.0,
            max_value=1.0,
            format="percent",
            width="small",
        ),
    }


def _order(kind: Kind, rows: list[Row]) -> list[str]:
    names = {"entity": ["one", "type"], "relation": ["one", "type", "two"], "event": ["type", "one", "two"]}[kind]
    told = [
        name
        for name, there in (
            ("located", any(not row.located for row in rows)),
            ("marked", any(row.marked for row in rows)),
            ("swapped", any(row.swapped for row in rows)),
            ("sure", any(row.sure is not None for row in rows)),
        )
        if there
    ]
    return ["id", *names, *told]


def _evidence(index: RecordsIndex, query: Query, row: Row, key: str) -> None:
    extraction = index.extraction(row.doc)
    if extraction is None:
        return
    record = f"{query.kind}:{row.nth}"
    clicked = evidence(extraction, f"{key}.evidence", selected=record, types=index.types("entity"))
    if clicked is not None and clicked != record:
        _follow(index, query, row, clicked, key)


def _follow(index: RecordsIndex, query: Query, row: Row, clicked: str, key: str) -> None:
    """Select the clicked record's row, on whatever page of the table it stands."""
    kind, _, nth = clicked.partition(":")
    place = index.place(query, row.doc, int(nth)) if kind == query.kind and nth.isdigit() else None
    if place is None:
        return
    st.session_state[f"{key}.goto"] = place // PAGE + 1
    st.session_state[f"{key}.row"] = place % PAGE
    st.session_state[f"{key}.turn"] = st.session_state.get(f"{key}.turn", 0) + 1
    st.rerun()


def failures_table(index: RecordsIndex) -> None:
    """The rows that yielded an error, each with its reason and remedy; the others are not touched by them."""
    import json

    query = Query("failure")
    total = index.count(query)
    rows = _page(index, query, total, f"records.{index.folder.name}.failure")
    cells = []
    for row in rows:
        problem, remedy = error_text(UserError.from_dict(json.loads(row.one)))
        cells.append({"id": row.id, "problem": problem, "remedy": remedy, "text": row.two})
    text = st.column_config.TextColumn
    st.dataframe(
        cells,
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(cells)),
        column_config={
            "id": text(t("Row"), width="small"),
            "problem": text(t("Reason"), width="large"),
            "remedy": text(t("Remedy"), width="large"),
            "text": text(t("Text")),
        },
    )


def _nothing(kind: Kind) -> str:
    return {
        "entity": t("No entities so far."),
        "relation": t("No relations so far."),
        "event": t("No events so far."),
        "failure": t("No failures."),
    }[kind]
