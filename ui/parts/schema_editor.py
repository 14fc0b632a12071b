"""A schema as tables that a person edits; what comes out is a checked schema in the workspace, and a version of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from core import paths
from core.errors import UserError
from core.extract import schema_rows
from core.extract.schema import Schema, from_json, strays
from core.extract.schema_versions import save_version
from ui.i18n import t
from ui.parts import schema_sentences
from ui.parts.errors import plain, show_error

LANGUAGES = ("en", "zh")
WIDE = ("description", "roles", "attributes")


def edit(schema: Schema, place: Path | None, saved: Callable[[Path], None]) -> None:
    """Open the editor. `place`: the person's own file that is edited, None to make a new one; `saved` gets its path."""
    schema_sentences.start()
    title = t("Edit the schema") if place else t("Edit a copy") if schema.name else t("New schema")
    st.dialog(title, width="large")(_editor)(schema, place, saved)


def _editor(schema: Schema, place: Path | None, saved: Callable[[Path], None]) -> None:
    name_column, language_column = st.columns([3, 1])
    name = name_column.text_input(t("Name"), schema.title or schema.name, key="schema_editor.name", max_chars=80)
    language = language_column.selectbox(
        t("Language of its words"),
        LANGUAGES,
        LANGUAGES.index(schema.language) if schema.language in LANGUAGES else 0,
        format_func=lambda code: {"en": "English", "zh": "中文"}[code],
        key="schema_editor.language",
    )
    st.caption(t("Short names and one-line descriptions work best: the model reads both."))
    about = {"title": name, "name": slug(name), "language": language}
    types, sentences = _tables(schema)
    _slips(about, types)
    if st.button(t("Save the schema"), type="primary", icon=":material/save:", key="schema_editor.save"):
        try:
            made = _made(about, types, sentences, schema)
            path = place or free_place(slug(name))
            save_version(made, path)
        except UserError as error:
            show_error(error)
            return
        saved(path)
        st.rerun()


def _made(
    about: Mapping[str, str], types: Mapping[str, Any], sentences: Sequence[schema_sentences.Sentence], before: Schema
) -> Schema:
    """Raises UserError: what the checks of a schema refuse, and examples whose words aren't in their sentence."""
    bare = from_json({**about, **types}, about["title"])
    examples = schema_sentences.read(bare, before, sentences)
    return from_json({**about, **types, "examples": examples}, about["title"])


def _slips(about: Mapping[str, str], types: Mapping[str, Any]) -> None:
    """Heads and tails that are no entity type: allowed, but said while it is edited."""
    try:
        unknown = strays(from_json({**about, **types}, about["title"]))
    except UserError:
        return  # said once it is saved; while typing, a table is often not whole
    if unknown:
        told = ", ".join(map(plain, unknown))
        st.caption(f":material/help: {t('No entity type of this schema is called {names}.', names=told)}")


def _tables(schema: Schema) -> tuple[dict[str, Any], list[schema_sentences.Sentence]]:
    """The types as drawn now, as a schema's file holds them, and the sentences."""
    entities, relations, events, sentences = st.tabs(
        [t("Entities"), t("Relations"), t("Events"), t("Example sentences")]
    )
    rows = schema_rows.rows(schema)
    labels = {"description": t("Description"), "examples": t("Examples")}
    with entities:
        drawn = {
            "entities": _table(
                "entities", rows["entities"], {"name": t("Type"), **labels, "attributes": t("Attributes")}
            )
        }
        st.caption(
            t(
                "Attributes and examples are separated by semicolons; a colon starts an attribute's description: "
                "`age; title: what somebody is called`. Their values are extracted with the relations."
            )
        )
    with relations:
        columns = {"name": t("Relation"), **labels, "head": t("Head"), "tail": t("Tail")}
        drawn["relations"] = _table("relations", rows["relations"], columns)
        st.caption(t("Head and tail name entity types; left empty they may be anything."))
    with events:
        drawn["events"] = _table("events", rows["events"], {"name": t("Event"), **labels, "roles": t("Roles")})
        st.caption(
            t("Roles are separated by semicolons; a colon starts a role's description: `place: where it was; time`")
        )
    with sentences:
        told = schema_sentences.draw(schema)
    return schema_rows.data(drawn), told


def _table(name: str, rows: list[dict[str, str]], labels: Mapping[str, str]) -> list[dict[str, str]]:
    """An editable table; its rows as texts."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(labels), dtype="str")
    edited = st.data_editor(
        frame,
        num_rows="dynamic",
        hide_index=True,
        key=f"schema_editor.{name}",
        column_config={
            column: st.column_config.TextColumn(label, width="large" if column in WIDE else "medium")
            for column, label in labels.items()
        },
    )
    texts = edited.fillna("").to_dict("records")
    return [{str(column): str(value) for column, value in row.items()} for row in texts]


def slug(name: str) -> str:
    """A file's name from a title: letters of any script and digits, the rest dashes."""
    return re.sub(r"[^\w]+", "-", name.strip().casefold()).strip("-_")[:60] or "schema"


def free_place(name: str) -> Path:
    """A path in the workspace's schemas that is not taken yet."""
    folder = paths.schemas()
    numbered = (folder / f"{name}{'' if number == 1 else f'-{number}'}.json" for number in range(1, 10_000))
    return next(path for path in numbered if not path.exists())
