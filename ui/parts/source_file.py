"""A person's file: dropped or the sample, looked at, and the column to read chosen from a preview."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import UserError
from core.extract import inputs
from core.extract.tables import FORMATS
from core.paths import ASSETS
from ui.i18n import t
from ui.parts.errors import plain, show_error
from ui.parts.pickers import keep_upload

CHOSEN = "extract.file"
"""The path of the file that is worked on; the only thing of this part in the session."""
PREVIEW_ROWS = 6
CELL = 300


@dataclass(frozen=True)
class Source:
    """What a run reads. `language`: of the chosen column, None where unclear."""

    path: Path
    column: str
    id_column: str | None
    sheet: str | None
    rows: int
    language: str | None


def source_file() -> Source | None:
    """Draw uploader, facts, preview and choosers; None until a readable column is chosen."""
    chosen = st.session_state.get(CHOSEN)
    if chosen is None:
        _offer()
        return None
    path = Path(chosen)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/table: **{plain(path.name)}**", width="content")
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


def sample(code: str) -> Path:
    """Sentences written for this app, in English or Chinese."""
    return ASSETS / "samples" / ("people_zh.csv" if code == "zh" else "people.csv")


def _offer() -> None:
    dropped = st.file_uploader(
        t("A table or a text file"),
        type=sorted(suffix.lstrip(".") for suffix in FORMATS),
        key="extract.upload",
        help=t("CSV, TSV, JSON lines, JSON, plain text (one text a line) or Excel. It stays on this machine."),
    )
    if dropped is not None:
        try:
            choose(keep_upload(dropped))
        except OSError as error:
            show_error(
                UserError(
                    "The file {name} could not be kept in the workspace: {why}.",
                    remedy="Free some space on that disk, or choose another workspace.",
                    name=dropped.name,
                    why=error.strerror or error,
                )
            )
            return
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(t("Nothing at hand?"), width="content")
        for code, label in (("en", t("English sample")), ("zh", t("Chinese sample"))):
            if st.button(label, icon=":material/science:", key=f"extract.sample.{code}"):
                choose(sample(code))
                st.rerun()


def _look(path: Path) -> Source | None:
    info = look(path, st.session_state.get(key_of(path, "sheet")))
    st.caption(facts(info))
    sheet = _sheet(path, info)
    text_place, id_place = st.columns(2)
    with text_place:
        chosen = _column(path, info)
    column = checked(info, chosen)
    with id_place:
        id_column = _id_column(path, info, column)
    _preview(info, column)
    if column is None or not info.preview:
        return None
    found = inputs.language_of(row.get(column, "") for row in info.preview)
    return Source(path, column, id_column, sheet, info.rows_estimate, found)


def look(path: Path, sheet: str | None) -> inputs.TableInfo:
    """Looked at once a version of the file, not at every click."""
    try:
        stat = path.stat()
    except OSError:
        stat = None
    version = (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
    return _inspected(str(path), sheet, version)


@st.cache_data(max_entries=8, show_spinner=False)
def _inspected(path: str, sheet: str | None, version: tuple[int, int]) -> inputs.TableInfo:
    return inputs.inspect(path, sheet)


def facts(info: inputs.TableInfo) -> str:
    """`CSV · UTF-8 · comma · 20 rows · 2 columns`, as found out."""
    signs = {",": t("comma"), "\t": t("tab"), ";": t("semicolon"), "|": t("vertical bar")}
    rows = (
        t("about {n} rows", n=f"{info.rows_estimate:,}")
        if info.rows_estimate >= inputs._SAMPLE and info.format != "xlsx"
        else t("{n} rows", n=f"{info.rows_estimate:,}")
    )
    parts = [info.format.upper(), encoding_name(info.encoding), signs.get(info.delimiter, ""), rows]
    if not info.header:
        parts.append(t("no header: the columns are numbered"))
    return " · ".join(part for part in parts if part)


def encoding_name(name: str) -> str:
    return {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 (BOM)", "gb18030": "GB18030"}.get(name.lower(), name.upper())


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
    return st.selectbox(
        t("Column with an id (optional)"),
        names,
        None,
        key=key_of(path, "id_column"),
        persist_state="session",
        placeholder=t("the row's number"),
        help=t("Goes into every record, so that you can join the results with your table."),
    )


def _preview(info: inputs.TableInfo, column: str | None) -> None:
    rows: list[dict[str, Any]] = [
        {name: cell[:CELL] for name, cell in row.items()} for row in info.preview[:PREVIEW_ROWS]
    ]
    if not rows:
        st.info(t("There are no rows under the header."), icon=":material/help:")
        return
    names = [one.name for one in info.columns]
    ordered = [*([column] if column else []), *(name for name in names if name != column)]
    st.dataframe(
        rows,
        hide_index=True,
        height=min(38 + 35 * len(rows), 320),
        column_order=ordered,
        column_config={column: st.column_config.TextColumn(f"▸ {column}", width="large")} if column else None,
    )
