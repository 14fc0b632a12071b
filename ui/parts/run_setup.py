"""From what is chosen on the page to a run: the request, what it needs, and the buttons that start it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.extract.calls import Options
from core.extract.run import RunRequest
from core.extract.schema import save
from core.jobs import store
from ui.i18n import t
from ui.parts import asking_form, model_choice, run_manner, runs, schema_choice, source_file
from ui.parts.errors import errors_shown
from ui.parts.model_choice import ModelChoice
from ui.parts.preflight import preflight
from ui.parts.run_estimate import estimate_text
from ui.parts.run_manner import manner_form
from ui.parts.runs import Run
from ui.parts.schema_choice import SchemaChoice
from ui.parts.source_file import Source

TRY = 10
SCHEMA = "schema.json"


def start_buttons(
    source: Source | None,
    schema: SchemaChoice | None,
    model: ModelChoice,
    *,
    anyway: bool,
    asking: Options | None = None,
) -> Path | None:
    """Draw preflight and buttons; the new run's folder once one was pressed.

    `anyway`: the model does not read the language, so neither button is the main one, and every record is marked.
    """
    if source is None or schema is None:
        missing = t("Choose a text column first.") if source is None else t("Choose a schema first.")
        st.button(
            try_label(None, anyway),
            type="secondary" if anyway else "primary",
            disabled=True,
            key="extract.try",
            help=missing,
        )
        return None
    manner = manner_form(model.model)
    request = request_for(source, schema, model, anyway=anyway, asking=asking).model_copy(update=manner)
    buttons = st.container(horizontal=True, vertical_alignment="center")
    fits = preflight(request)
    estimate_text(request)
    with buttons:
        tried = st.button(
            try_label(source.rows, anyway),
            type="secondary" if anyway else "primary",
            icon=":material/play_arrow:",
            disabled=not fits,
            key="extract.try",
        )
        count = f"{source.rows:,}"
        whole = source.rows > TRY and st.button(
            t("Run all {n} rows anyway", n=count) if anyway else t("Run all {n} rows", n=count),
            icon=":material/fast_forward:",
            disabled=not fits,
            key="extract.all",
        )
    if not (tried or whole):
        return None
    with errors_shown():
        return start(request, schema, limit=TRY if tried and source.rows > TRY else None)
    return None


def try_label(rows: int | None, anyway: bool) -> str:
    if rows is not None and rows <= TRY:
        return t("Run {n} rows anyway", n=rows) if anyway else t("Run {n} rows", n=rows)
    return t("Try {n} rows anyway", n=TRY) if anyway else t("Try {n} rows", n=TRY)


def request_for(
    source: Source, schema: SchemaChoice, model: ModelChoice, *, anyway: bool, asking: Options | None = None
) -> RunRequest:
    """The whole file's request; where it goes is settled when it starts. `asking`: how the model is asked."""
    asking = asking or Options()
    return RunRequest(
        input=source.path,
        text_column=source.column,
        id_column=source.id_column,
        sheet=source.sheet,
        text_file=source.text_file,
        task=schema.tasks,
        schema_ref=schema.ref,
        out=runs.new_folder(source.path.name),
        model=model.model.ref,
        run_anyway=anyway,
        dialect=asking.dialect,  # type: ignore[arg-type]
        examples=asking.examples,
        instruction=asking.instruction,
        wording=asking.wording,
    )


def start(request: RunRequest, schema: SchemaChoice, *, limit: int | None) -> Path:
    """Submit it. One's own schema is copied beside the records, so that editing it changes no run."""
    out = Path(request.out)
    changes: dict[str, object] = {"limit": limit}
    if schema.own:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        save(schema.schema, out / SCHEMA)
        changes["schema_ref"] = str(out / SCHEMA)
    store.submit(request.model_copy(update=changes))
    return out


def fill_from(run: Run) -> None:
    """Choose on the page what that run was given."""
    asked = run.request
    path = Path(str(asked.get("input", "")))
    st.session_state["extract.kind"] = "file"
    source_file.choose(path)
    for name, field in (
        ("column", "text_column"),
        ("id_column", "id_column"),
        ("sheet", "sheet"),
        ("text_file", "text_file"),
    ):
        if asked.get(field) not in (None, "", "auto"):
            st.session_state[source_file.key_of(path, name)] = asked[field]
    schema_choice.use(str(asked.get("schema_ref", "")))
    model_choice.use(str(asked.get("model", "")))
    asking_form.fill(asked)
    run_manner.fill(asked)
