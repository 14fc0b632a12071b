"""A schema as three small tables that a person edits; what comes out is a checked schema in the workspace."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from core import paths
from core.errors import UserError
from core.extract.schema import Schema, from_json, save
from ui.i18n import t
from ui.parts.errors import show_error

LANGUAGES = ("en", "zh")


def edit(schema: Schema, place: Path | None, saved: Callable[[Path], None]) -> None:
    """Open the editor. `place`: the person's own file that is edited, None to make a new one; `saved` gets its path."""
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
    tables = _tables(schema)
    if st.button(t("Save the schema"), type="primary", icon=":material/save:", key="schema_editor.save"):
        try:
            made = from_json({"title": name, "name": slug(name), "language": language, **tables}, name=name)
            path = place or free_place(slug(name))
            save(made, path)
        except UserError as error:
            show_error(error)
            return
        saved(path)
        st.rerun()


def _tables(schema: Schema) -> dict[str, list[dict]]:
    """The three tables as drawn now: {"entities": […], "relations": […], "events": […]}."""
    entities, relations, events = st.tabs([t("Entities"), t("Relations"), t("Events")])
    description = t("Description")
    with entities:
        entity_rows = _table(
            "entities",
            [{"name": one.name, "description": one.description} for one in schema.entities],
            {"name": t("Type"), "description": description},
        )
    with relations:
        relation_rows = _table(
            "relations",
            [one.model_dump() for one in schema.relations],
            {"name": t("Relation"), "description": description, "head": t("Head"), "tail": t("Tail")},
        )
        st.caption(t("Head and tail name entity types; left empty they may be anything."))
    with events:
        event_rows = _table(
            "events",
            [
                {"name": one.name, "description": one.description, "roles": roles_text(one.model_dump()["roles"])}
                for one in schema.events
            ],
            {"name": t("Event"), "description": description, "roles": t("Roles")},
        )
        st.caption(
            t("Roles are separated by semicolons; a colon starts a role's description: `place: where it was; time`")
        )
    for row in event_rows:
        row["roles"] = roles_of(row.get("roles", ""))
    return {"entities": entity_rows, "relations": relation_rows, "events": event_rows}


def _table(name: str, rows: list[dict], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """An editable table; its rows that hold anything, blanks trimmed."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(labels), dtype="str")
    edited = st.data_editor(
        frame,
        num_rows="dynamic",
        hide_index=True,
        key=f"schema_editor.{name}",
        column_config={
            column: st.column_config.TextColumn(
                label, width="large" if column in ("description", "roles") else "medium"
            )
            for column, label in labels.items()
        },
    )
    texts = edited.fillna("").to_dict("records")
    trimmed = [{str(column): str(value).strip() for column, value in row.items()} for row in texts]
    return [row for row in trimmed if any(row.values())]


def roles_text(roles: list[dict]) -> str:
    """`place: where it was; time`."""
    return "; ".join(
        f"{role['name']}: {role['description']}" if role["description"] else role["name"] for role in roles
    )


def roles_of(text: str) -> list[dict[str, str]]:
    """The roles in such a text; full-width signs count too, and bare commas where there is neither `;` nor `:`."""
    signs = r"[;；\n]" if re.search(r"[;；:：\n]", text) else r"[,，、]"
    parts = [re.split(r"[:：]", part, maxsplit=1) for part in re.split(signs, text) if part.strip()]
    return [{"name": part[0].strip(), "description": part[1].strip() if len(part) > 1 else ""} for part in parts]


def slug(name: str) -> str:
    """A file's name from a title: letters of any script and digits, the rest dashes."""
    return re.sub(r"[^\w]+", "-", name.strip().casefold()).strip("-_")[:60] or "schema"


def free_place(name: str) -> Path:
    """A path in the workspace's schemas that is not taken yet."""
    folder = paths.schemas()
    numbered = (folder / f"{name}{'' if number == 1 else f'-{number}'}.json" for number in range(1, 10_000))
    return next(path for path in numbered if not path.exists())
