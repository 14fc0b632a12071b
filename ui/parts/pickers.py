"""Widgets that choose a model, a schema, a file or a folder. Each returns what a Request's field takes, or None."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from core import models, paths, settings
from core.errors import UserError
from ui.i18n import t
from ui.parts.labels import distinct

NAMES_KEPT = 80


def model_picker(label: str, key: str, *, value: str = "", help: str | None = None) -> str | None:
    """A model reference: an installed one, one added in Models or Settings, or one typed in."""
    titles = distinct(model_titles())
    value = value or settings.read().default_model
    options = list(titles) if value in titles or not value else [value, *titles]
    return st.selectbox(
        label,
        options,
        index=options.index(value) if value in options else None,
        format_func=lambda ref: titles.get(ref, ref),
        key=key,
        help=help,
        accept_new_options=True,
        placeholder=t("Choose, or type a path or an address"),
    )


def model_titles() -> dict[str, str]:
    """{reference: title} of everything that can be loaded or called; an added path that is gone is left out."""
    chosen = settings.read()
    found = {model.ref: model.title for model in models.installed()}
    for place in chosen.local_models:
        try:
            model = models.resolve(place)
        except UserError:
            continue
        found[model.ref] = model.title
    found |= {model.ref: t("{title} (training)", title=model.title) for model in models.trained()}
    return found | {endpoint.ref: endpoint.name for endpoint in chosen.endpoints}


def schema_picker(label: str, key: str, *, value: str = "", help: str | None = None) -> str | None:
    """The name of a ready-made schema, or the path of one's own."""
    from core.extract.schema import ready_made

    titles = {schema.name: schema.title for schema in ready_made()}
    options = list(titles) if value in titles or not value else [value, *titles]
    return st.selectbox(
        label,
        options,
        index=options.index(value) if value in options else None,
        format_func=lambda name: titles.get(name, name),
        key=key,
        help=help,
        accept_new_options=True,
        placeholder=t("Choose, or type a path"),
    )


def file_picker(label: str, key: str, *, value: str = "", help: str | None = None, types: Any = None) -> str | None:
    """A file of this machine by its path, or one dropped here and kept in the workspace."""
    dropped = st.file_uploader(label, type=types, key=f"{key}.upload", help=help)
    if dropped is not None:
        return str(keep_upload(dropped))
    return st.text_input(t("…or its path on this machine"), value=value, key=f"{key}.path") or None


def folder_picker(label: str, key: str, *, value: str = "", help: str | None = None) -> str | None:
    return st.text_input(label, value=value, key=key, help=help, placeholder=t("Path of a folder")) or None


def keep_upload(dropped: Any) -> Path:
    """Store a dropped file once, under its content's hash; the same file dropped again is the same path."""
    digest = hashlib.sha256()
    dropped.seek(0)
    while block := dropped.read(1 << 20):
        digest.update(block)
    name = Path(dropped.name.replace("\\", "/")).name.lstrip(".")[-NAMES_KEPT:] or "file"
    place = paths.uploads() / f"{digest.hexdigest()[:16]}-{name}"
    if not place.exists():
        dropped.seek(0)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".tmp", delete=False) as out:  # readable by us alone
            while block := dropped.read(1 << 20):
                out.write(block)
        Path(out.name).replace(place)
    return place
