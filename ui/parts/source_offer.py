"""Where a person's texts come from: files dropped here, a folder or file of this machine, or the sample."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from core import paths
from core.errors import UserError
from core.extract.tables import FORMATS
from core.paths import ASSETS
from ui.i18n import t
from ui.parts.errors import show_error
from ui.parts.pickers import keep_upload


def sample(code: str) -> Path:
    """Sentences written for this app, in English or Chinese."""
    return ASSETS / "samples" / ("people_zh.csv" if code == "zh" else "people.csv")


def offer() -> Path | None:
    """Draw the ways to a file or folder; the one that was chosen just now."""
    dropped = st.file_uploader(
        t("A table, documents or a text file"),
        type=sorted(suffix.lstrip(".") for suffix in FORMATS),
        accept_multiple_files=True,
        key="extract.upload",
        help=t(
            "Tables: CSV, TSV, JSON, Parquet or Excel. Documents: PDF, Word, HTML, Markdown or text; several at once"
            " become one run. All of it stays on this machine."
        ),
    )
    if dropped:
        try:
            return keep_uploads(dropped)
        except OSError as error:
            show_error(
                UserError(
                    "The file {name} could not be kept in the workspace: {why}.",
                    remedy="Free some space on that disk, or choose another workspace.",
                    name=dropped[0].name,
                    why=error.strerror or error,
                )
            )
            return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(t("Nothing at hand?"), width="content")
        for code, label in (("en", t("English sample")), ("zh", t("Chinese sample"))):
            if st.button(label, icon=":material/science:", key=f"extract.sample.{code}"):
                return sample(code)
    return _by_path()


def _by_path() -> Path | None:
    with (
        st.expander(t("A folder or file of this machine"), icon=":material/folder_open:"),
        st.form("extract.by_path", border=False),
    ):
        typed = st.text_input(t("Path"), key="extract.path", help=t("Of a folder, every document in it is read."))
        pressed = st.form_submit_button(t("Read it"), icon=":material/arrow_forward:")
    if not pressed or not typed.strip():
        return None
    path = Path(typed.strip().strip("\"'")).expanduser()
    if path.exists():
        return path
    show_error(UserError("There is no file {path}.", remedy="Check the name and the folder.", path=path))
    return None


def keep_uploads(dropped: Sequence[Any]) -> Path:
    """One file as it is; several in a folder of their own, named by what they hold, so that it is the same again."""
    kept = [keep_upload(one) for one in dropped]
    if len(kept) == 1:
        return kept[0]
    names = _distinct([Path(one.name.replace("\\", "/")).name for one in dropped])
    mark = hashlib.sha256("\n".join(f"{path.name} {name}" for path, name in zip(kept, names, strict=True)).encode())
    place = paths.uploads() / f"{mark.hexdigest()[:16]}-{len(kept)}-files"
    if not place.exists():
        making = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        making.mkdir(mode=0o700)
        for path, name in zip(kept, names, strict=True):
            try:
                os.link(path, making / name)
            except OSError:  # a file system without links
                shutil.copyfile(path, making / name)
        making.replace(place)
    return place


def _distinct(names: Sequence[str]) -> list[str]:
    made: list[str] = []
    for name in names:
        stem, suffix, number = Path(name).stem.lstrip(".~$") or "file", Path(name).suffix, 1
        wanted = f"{stem}{suffix}"
        while wanted.casefold() in {one.casefold() for one in made}:
            number += 1
            wanted = f"{stem} ({number}){suffix}"
        made.append(wanted)
    return made
