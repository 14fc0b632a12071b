"""Runs that can be reviewed: those of the workspace and of jobs, and reviews received from somebody."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core import paths
from core.errors import UserError
from core.extract import schema as schemas
from core.extract.review.book import FILE, Book
from core.extract.schema import Schema
from core.store import FILE as STORE
from ui.i18n import t
from ui.parts import runs
from ui.parts.labels import distinct

PATIENCE = 1.0
"""Seconds of taking in sentences before the page is drawn; the rest follows while it is looked at."""


@dataclass(frozen=True)
class Reviewable:
    folder: Path
    schema_ref: str
    title: str

    @property
    def name(self) -> str:
        """In the page's address."""
        return self.folder.name if self.folder.parent == paths.runs() else str(self.folder)


def reviewable() -> list[Reviewable]:
    """Newest first."""
    known = {run.folder: run for run in runs.all_runs()}
    folders = {folder for folder in (*paths.runs().iterdir(), *known) if folder.is_dir()}
    found = []
    for folder in folders:
        files = [folder / name for name in (STORE, FILE) if (folder / name).is_file()]
        if files:
            run = known.get(folder)
            ref = str(run.request.get("schema_ref", "")) if run else ""
            title = f"{run.input_name} · {folder.name}" if run else folder.name
            found.append((max(file.stat().st_mtime for file in files), Reviewable(folder, ref, title)))
    return [one for _, one in sorted(found, key=lambda pair: (-pair[0], pair[1].title))]


def choose(known: list[Reviewable]) -> Reviewable:
    """The run that the address names, else the newest."""
    labels = distinct({one.name: one.title for one in known})
    asked = st.query_params.get("run", "")
    current = next((one.name for one in known if asked in (one.name, str(one.folder))), known[0].name)
    st.session_state["review.run"] = current
    chosen = st.selectbox(
        t("Runs"),
        list(labels),
        format_func=lambda name: labels.get(name, name),
        key="review.run",
        on_change=lambda: st.query_params.update(run=st.session_state["review.run"]),
        label_visibility="collapsed",
        width=340,
    )
    return next(one for one in known if one.name == chosen)


def schema_of(one: Reviewable) -> Schema | None:
    try:
        return schemas.load(one.schema_ref) if one.schema_ref else None
    except UserError:  # a schema of one's own that was moved away; the types that occur are offered
        return None


def take_in(book: Book, schema: Schema | None) -> bool:
    """Take in what the run has finished; True once nothing is left."""
    deadline = time.monotonic() + PATIENCE
    while book.refresh(schema=schema):
        if time.monotonic() > deadline:
            return not book.behind
    return True
