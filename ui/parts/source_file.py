"""A person's file or folder: chosen, looked at, and the column to read chosen from a preview."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import streamlit as st

from core.errors import UserError
from core.extract import inputs
from core.extract.tables import PLAIN, TABLES, TextFile
from ui.i18n import t
from ui.parts import source_look
from ui.parts.errors import plain, show_error
from ui.parts.source_look import look
from ui.parts.source_offer import offer, sample

__all__ = ["CHOSEN", "Source", "choose", "first_text", "key_of", "look", "sample", "source_file"]

CHOSEN = "extract.file"
"""The path of the file that is worked on; the only thing of this part in the session."""


@dataclass(frozen=True)
class Source:
    """What a run reads. `language`: of the chosen column, None where unclear."""

    path: Path
    column: str
    id_column: str | None
    sheet: str | None
    rows: int
    language: str | None
    text_file: TextFile = "auto"


def source_file() -> Source | None:
    """Draw uploader, facts, preview and choosers; None until a readable column is chosen."""
    chosen = st.session_state.get(CHOSEN)
    if chosen is None:
        taken = offer()
        if taken is not None:
            choose(taken)
            st.rerun()
        return None
    path = Path(chosen)
    icon = "folder" if path.is_dir() else "description" if path.suffix.lower() not in TABLES else "table"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/{icon}: **{plain(path.name)}**", width="content")
        if st.button(t("Another file"), icon=":material/swap_horiz:", type="tertiary", key="extract.another"):
            choose(None)
            st.rerun()
    try:
        return _look(path)
    except UserError as error:
        show_error(error)
        return None


def choose(path: Path | None) -> None:
    """Work on this file from the next run of the page on; None: ask for one again."""
    if path is None:
        st.session_state.pop(CHOSEN, None)
    else:
        st.session_state[CHOSEN] = str(path)


def key_of(path: Path, name: str) -> str:
    """A chooser's key, one a file, so that each file keeps its own choices."""
    return f"extract.{name}.{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def first_text(source: Source) -> str:
    """The first text of the chosen column that has something in it, "" where there is none or it can't be read."""
    try:
        rows = inputs.documents(source.path, source.column, source.id_column, sheet=source.sheet)
        return next((row.text for row in islice(rows, 50) if row.text.strip()), "")
    except UserError:
        return ""


def _look(path: Path) -> Source | None:
    text_file = _text_file(path)
    info = look(path, st.session_state.get(key_of(path, "sheet")), text_file)
    st.caption(source_look.facts(info))
    source_look.left_out(info)
    if info.whole:
        source_look.preview(info, None)
        found = inputs.language_of(row.get("text", "") for row in info.preview)
        return Source(path, "text", None, None, info.rows_estimate, found, text_file)
    sheet = _sheet(path, info)
    text_place, id_place = st.columns(2)
    with text_place:
        chosen = _column(path, info)
    column = checked(info, chosen)
    with id_place:
        id_column = _id_column(path, info, column)
    source_look.preview(info, column)
    if column is None or not info.preview:
        return None
    found = inputs.language_of(row.get(column, "") for row in info.preview)
    return Source(path, column, id_column, sheet, info.rows_estimate, found, text_file)


def _text_file(path: Path) -> TextFile:
    """Of a file of plain text, which alone may be either."""
    if path.is_dir() or path.suffix.lower() not in PLAIN:
        return "auto"
    key = key_of(path, "text_file")
    if key not in st.session_state:
        st.session_state[key] = "document" if look(path, None).whole else "lines"
    ways: dict[TextFile, str] = {"lines": t("Each line is a text"), "document": t("The whole file is one text")}
    chosen = st.segmented_control(
        t("What the file holds"),
        list(ways),
        format_func=lambda way: ways[way],
        key=key,
        label_visibility="collapsed",
        required=True,
        persist_state="session",
    )
    return chosen or "auto"


def _sheet(path: Path, info: inputs.TableInfo) -> str | None:
    if len(info.sheets) < 2:
        return info.sheet or None
    return st.selectbox(
        t("Sheet"), info.sheets, info.sheets.index(info.sheet), key=key_of(path, "sheet"), persist_state="session"
    )


def _column(path: Path, info: inputs.TableInfo) -> str | None:
    names = [column.name for column in info.columns]
    if len(names) == 1:
        return names[0]
    return st.selectbox(
        t("Column with the text"),
        names,
        names.index(info.text_column) if info.text_column in names else None,
        key=key_of(path, "column"),
        placeholder=t("Choose a column"),
        persist_state="session",
    )


def checked(info: inputs.TableInfo, name: str | None) -> str | None:
    """The column's name, or None with the reason on the page where there is no text in it to read."""
    column = next((one for one in info.columns if one.name == name), None)
    if column is None:
        st.info(t("No column looks like text: choose the one to read."), icon=":material/help:")
        return None
    if not column.numeric and column.sample:
        return column.name
    others = ", ".join(one.name for one in info.columns if one.sample and not one.numeric) or "–"
    if column.numeric:
        error = UserError(
            "The column “{column}” holds numbers, not text.",
            remedy="Choose another column: {columns}.",
            column=column.name,
            columns=others,
        )
    else:
        error = UserError(
            "The column “{column}” is empty in the rows looked at.",
            remedy="Choose another column: {columns}.",
            column=column.name,
            columns=others,
        )
    show_error(error)
    return None


def _id_column(path: Path, info: inputs.TableInfo, text_column: str | None) -> str | None:
    names = [column.name for column in info.columns if column.name != text_column]
    if not names:
        return None
    chosen = st.selectbox(
        t("Column with an id (optional)"),
        names,
        None,
        key=key_of(path, "id_column"),
        persist_state="session",
        placeholder=t("the row's number"),
        help=t("Goes into every record, so that you can join the results with your table."),
    )
    doubles = next((one.doubles for one in info.columns if one.name == chosen), 0)
    if doubles:
        told = t("{n} of the first ids stand twice: later rows get their number behind it.", n=doubles)
        st.caption(f":material/warning: {told}")
    return chosen
