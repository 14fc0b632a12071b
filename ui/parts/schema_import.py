"""A schema from a file of any kind that core/extract/schema_files.py reads, and what was read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from core.errors import UserError
from core.extract import schema_files
from core.extract.schema_versions import save_version
from ui.i18n import t
from ui.parts.errors import show_error
from ui.parts.pickers import keep_upload
from ui.parts.schema_editor import free_place, slug

TAKEN = "extract.schema.taken"
READ = "extract.schema.read"


def schema_upload(used: Callable[[str], None]) -> None:
    """The uploader; `used` gets the path of the schema made from what was dropped."""
    dropped = st.file_uploader(
        t("Upload a schema"),
        type=["json", "jsonl", "csv", "tsv", "txt", "md"],
        key="extract.schema.upload",
        help=t(
            "Our own JSON, IEPile's schema.json, JSON Schema, a table (name, kind, description, head, tail, roles) "
            "or a list with a type a line."
        ),
    )
    if dropped is None or st.session_state.get(TAKEN) == dropped.file_id:
        return
    st.session_state[TAKEN] = dropped.file_id
    name = Path(dropped.name).stem
    try:
        made, kind = schema_files.read(keep_upload(dropped), name)
        place = free_place(slug(made.name or name))
        save_version(made, place)
    except UserError as error:
        show_error(error)
        return
    st.session_state[READ] = (str(place), kind)
    used(str(place))
    st.rerun()


def read_as(ref: str) -> None:
    """Under the chooser, once: what the file was taken for, since a person may have meant something else."""
    place, kind = st.session_state.get(READ, ("", ""))
    if place != ref:
        return
    name = {
        "studio": t("our own format"),
        "iepile": t("IEPile's format"),
        "json-schema": "JSON Schema",
        "csv": t("a table of types"),
        "list": t("a list of types"),
    }[kind]
    told = t("Read as {format}. Look its types over, and edit them where they are wrong.", format=name)
    st.caption(f":material/info: {told}")
