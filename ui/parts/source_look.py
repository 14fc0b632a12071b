"""What is known of a chosen file or folder: its facts in a line, and a preview of its rows or documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from core.extract import inputs
from core.extract.tables import TextFile
from ui.i18n import t
from ui.parts.errors import plain

PREVIEW_ROWS = 6
PREVIEW_COLUMNS = 30
CELL = 300
START = 1200
"""Characters shown of a single document."""


def look(path: Path, sheet: str | None, text_file: TextFile = "auto") -> inputs.TableInfo:
    """Looked at once a version of the file, not at every click. Of a folder, once a change of what lies right in it."""
    try:
        stat = path.stat()
    except OSError:
        stat = None
    version = (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
    return _inspected(str(path), sheet, text_file, version)


@st.cache_data(max_entries=8, show_spinner=False)
def _inspected(path: str, sheet: str | None, text_file: TextFile, version: tuple[int, int]) -> inputs.TableInfo:
    return inputs.inspect(path, sheet, text_file)


def facts(info: inputs.TableInfo) -> str:
    """`CSV · UTF-8 · comma · 20 rows · 2 columns`, `3 documents`, `PDF · 12 pages · 3 without text`."""
    if info.format == "document":
        return " · ".join(_of_document(info))
    if info.whole:
        return t("{n} documents", n=f"{info.rows_estimate:,}")
    signs = {",": t("comma"), "\t": t("tab"), ";": t("semicolon"), "|": t("vertical bar")}
    rows = (
        t("about {n} rows", n=f"{info.rows_estimate:,}")
        if info.rows_estimate >= inputs._SAMPLE and info.format not in ("xlsx", "parquet")
        else t("{n} rows", n=f"{info.rows_estimate:,}")
    )
    kind = t("a folder of tables") if info.format == "folder" else info.format.upper()
    parts = [kind, encoding_name(info.encoding), signs.get(info.delimiter, ""), rows]
    if not info.header:
        parts.append(t("no header: the columns are numbered"))
    return " · ".join(part for part in parts if part)


def _of_document(info: inputs.TableInfo) -> list[str]:
    about = info.about[0] if info.about else {}
    parts = [Path(str(about.get("file", ""))).suffix.lstrip(".").upper(), t("one document")]
    if pages := about.get("pages"):
        parts.append(t("{n} pages", n=f"{len(pages):,}"))
    if empty := about.get("pages_without_text"):
        parts.append(t("{n} of them without text: {pages}", n=len(empty), pages=_numbers(empty)))
    if unread := about.get("pages_unread"):
        parts.append(t("{n} of them damaged: {pages}", n=len(unread), pages=_numbers(unread)))
    if headings := about.get("headings"):
        parts.append(t("{n} headings", n=f"{len(headings):,}"))
    return [part for part in parts if part]


def _numbers(pages: list[int]) -> str:
    return ", ".join(map(str, pages[:8])) + (" …" if len(pages) > 8 else "")


def encoding_name(name: str) -> str:
    return {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 (BOM)", "gb18030": "GB18030"}.get(name.lower(), name.upper())


def left_out(info: inputs.TableInfo) -> None:
    """Say which files of a folder are not read."""
    if info.left_out:
        names = ", ".join(map(plain, info.left_out[:5])) + (" …" if len(info.left_out) > 5 else "")
        told = t("Tables beside documents are not read, {n} of them here: {names}", n=len(info.left_out), names=names)
        st.info(told, icon=":material/info:")


def preview(info: inputs.TableInfo, column: str | None) -> None:
    if info.whole:
        _documents(info)
        return
    if not info.preview:
        st.info(t("There are no rows under the header."), icon=":material/help:")
        return
    names = [one.name for one in info.columns]
    ordered = [*([column] if column else []), *(name for name in names if name != column)][:PREVIEW_COLUMNS]
    rows: list[dict[str, Any]] = [
        {name: row[name][:CELL] for name in ordered if name in row} for row in info.preview[:PREVIEW_ROWS]
    ]
    st.dataframe(
        rows,
        hide_index=True,
        height=min(38 + 35 * len(rows), 320),
        column_order=ordered,
        column_config={column: st.column_config.TextColumn(f"▸ {column}", width="large")} if column else None,
    )
    if len(names) > PREVIEW_COLUMNS:
        st.caption(t("{shown} of {n} columns", shown=PREVIEW_COLUMNS, n=f"{len(names):,}"))


def _documents(info: inputs.TableInfo) -> None:
    if len(info.preview) == 1:
        with st.container(border=True, height=220):
            st.text(_start(info.preview[0].get("text", "")))
        return
    rows = [
        {
            "file": about.get("file", ""),
            "pages": len(about.get("pages", ())) or None,
            "text": row.get("text", "")[:CELL],
        }
        for row, about in zip(info.preview, info.about, strict=False)
    ]
    st.dataframe(
        rows[:PREVIEW_ROWS],
        hide_index=True,
        column_config={
            "file": st.column_config.TextColumn(t("File")),
            "pages": st.column_config.NumberColumn(t("Pages"), width="small"),
            "text": st.column_config.TextColumn(t("Starts with"), width="large"),
        },
    )


def _start(text: str) -> str:
    return text[:START] + (" …" if len(text) > START else "")
