"""What to look for: a ready-made schema or one's own, its types as chips, and which tasks to run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core import paths
from core.errors import UserError
from core.extract.schema import Schema, Task, check, load, ready_made, to_json
from core.extract.schema_versions import forget
from ui.i18n import language as page_language
from ui.i18n import t
from ui.parts import schema_editor, schema_history, schema_import, schema_propose
from ui.parts.errors import show_error
from ui.parts.labels import distinct
from ui.parts.type_chips import type_chips

FIRST = "people"
"""The schemas that suit most texts, the samples included, stand first in their language."""
_WANTED = "extract.schema.wanted"


@dataclass(frozen=True)
class SchemaChoice:
    """`ref`: a ready-made schema's name or the path of one's own."""

    schema: Schema
    ref: str
    tasks: tuple[Task, ...]

    @property
    def own(self) -> bool:
        return self.ref.endswith(".json")


def schema_choice(language: str | None) -> SchemaChoice | None:
    """Draw chooser, tasks and types; None while what is chosen can't be asked for.

    `language`: of the text; schemas in it come first, and each language keeps its own choice.
    """
    known = _known(language or page_language())
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        ref = _choose(known, language or page_language())
        schema = known[ref]
        _buttons(schema, ref, language)
    schema_import.read_as(ref)
    schema_propose.under_way(use)
    try:
        check(schema)
    except UserError as error:
        show_error(error)
        return None
    tasks = _tasks(schema, ref)
    _types(schema, tasks)
    return SchemaChoice(schema, ref, tasks) if tasks else None


def use(ref: str) -> None:
    """Choose this schema from the next run of the page on."""
    st.session_state[_WANTED] = ref


def task_name(task: str) -> str:
    return {"ner": t("Entities"), "re": t("Relations"), "ee": t("Events")}[task]


def own_schemas() -> dict[str, Schema]:
    """{path: schema} of the workspace, newest first; a file that can't be read is left out."""
    found = {}
    for path in sorted(paths.schemas().glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found[str(path)] = load(path)
        except UserError:
            continue
    return found


def _known(language: str) -> dict[str, Schema]:
    ready = sorted(ready_made(), key=lambda schema: (schema.language != language, not schema.name.startswith(FIRST)))
    return {**{schema.name: schema for schema in ready}, **own_schemas()}


def _choose(known: dict[str, Schema], language: str) -> str:
    key = f"extract.schema.{language}"
    wanted = st.session_state.pop(_WANTED, None)
    if wanted in known:
        st.session_state[key] = wanted
    elif key in st.session_state and st.session_state[key] not in known:
        del st.session_state[key]
    labels = distinct({ref: _label(ref, schema) for ref, schema in known.items()})
    return st.selectbox(
        t("Schema"),
        list(known),
        format_func=lambda ref: labels.get(ref, ref),
        key=key,
        persist_state="session",
    )


def _label(ref: str, schema: Schema) -> str:
    title = schema.title or schema.name
    tongue = {"zh": "中文", "en": "English"}.get(schema.language, schema.language)
    return f"{title} · {tongue} · {t('yours')}" if ref.endswith(".json") else f"{title} · {tongue}"


def _buttons(schema: Schema, ref: str, language: str | None) -> None:
    place = Path(ref) if ref.endswith(".json") else None
    told = None if place else t("Ready-made schemas stay as they are: you edit a copy.")
    if st.button(t("Edit"), icon=":material/edit:", key="extract.schema.edit", help=told):
        schema_editor.edit(schema, place, lambda path: use(str(path)))
    with st.popover("", icon=":material/more_horiz:", help=t("More")):
        if st.button(t("Start an empty schema"), icon=":material/add:", key="extract.schema.new"):
            schema_editor.edit(Schema(language=page_language()), None, lambda path: use(str(path)))
        st.download_button(
            t("Download as JSON"),
            json.dumps(to_json(schema), ensure_ascii=False, indent=2),
            f"{schema_editor.slug(schema.name)}.json",
            "application/json",
            on_click="ignore",
            icon=":material/download:",
            key="extract.schema.download",
        )
        if st.button(t("Propose types from the texts"), icon=":material/lightbulb:", key="extract.schema.propose"):
            schema_propose.ask(language)
        if place is not None and st.button(t("Versions"), icon=":material/history:", key="extract.schema.versions"):
            schema_history.history(place, lambda path: use(str(path)))
        schema_import.schema_upload(use)
        if place is not None:
            _delete(place)


def _delete(place: Path) -> None:
    st.caption(t("Deleting “{name}” leaves finished runs as they are.", name=place.stem))
    if st.button(t("Delete this schema"), icon=":material/delete:", key="extract.schema.delete"):
        place.unlink(missing_ok=True)
        forget(place)
        st.rerun()


def _tasks(schema: Schema, ref: str) -> tuple[Task, ...]:
    if len(schema.tasks) == 1:
        return schema.tasks
    usual = tuple(task for task in schema.tasks if task != "ee") or schema.tasks
    chosen = st.pills(
        t("What to extract"),
        schema.tasks,
        selection_mode="multi",
        default=usual,
        format_func=task_name,
        key=f"extract.tasks.{ref}",
        persist_state="session",
    )
    if not chosen:
        st.info(t("Choose at least one of them."), icon=":material/help:")
    return tuple(task for task in schema.tasks if task in chosen)


def _types(schema: Schema, tasks: tuple[Task, ...]) -> None:
    """The types that will be asked for; entity types in the colours that they have in text, table and graph."""
    type_chips([(task_name(task), schema.types(task)) for task in tasks], key="extract.types")
