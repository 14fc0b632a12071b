"""Extract: a text or a file → a schema → ten rows to look at → all of them."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core import paths
from core.extract.inputs import language_of
from ui.i18n import t
from ui.parts import one_text, runs
from ui.parts.asking_form import asking_form
from ui.parts.errors import plain
from ui.parts.job_panel import state_name, when
from ui.parts.labels import distinct
from ui.parts.language_offer import language_offer, refusal
from ui.parts.model_choice import ModelChoice, caution, model_choice
from ui.parts.run_setup import fill_from, start_buttons
from ui.parts.run_view import run_view
from ui.parts.runs import Run
from ui.parts.schema_choice import SchemaChoice, schema_choice
from ui.parts.source_file import Source, first_text, source_file

RUN = "run"  # the query parameter that names the run shown


def page() -> None:
    known = runs.all_runs()
    wanted = st.query_params.get(RUN)
    shown = runs.find(wanted) if wanted else None
    _title(known, shown)
    if wanted and shown is None:
        st.info(t("The run “{name}” is no longer there.", name=plain(Path(wanted).name)), icon=":material/help:")
    if shown is None:
        _setup()
    else:
        run_view(shown)


def _title(known: list[Run], shown: Run | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(t("Extract"), width="stretch")
        if shown is not None and st.button(
            t("Change the setup"),
            icon=":material/tune:",
            key="extract.back",
            help=t("A new run, starting from what this one was given."),
        ):
            fill_from(shown)
            _show("")
            st.rerun()
        if known:
            _chooser(known, shown)
    if shown is None:
        st.caption(t("Entities, relations and events from your text, each with the place it was read from."))


def _chooser(known: list[Run], shown: Run | None) -> None:
    """Earlier runs, newest first. The address tells which is shown, so a reload and a second tab show the same."""
    labels = distinct({"": t("New extraction"), **{name_of(run.folder): _label(run) for run in known}})
    current = name_of(shown.folder) if shown else ""
    st.session_state["extract.chosen"] = current
    st.selectbox(
        t("Runs"),
        list(labels),
        format_func=lambda name: labels.get(name, name),
        key="extract.chosen",
        on_change=lambda: _show(st.session_state["extract.chosen"]),
        label_visibility="collapsed",
        width=340,
    )


def _label(run: Run) -> str:
    return f"{run.input_name} · {when(run.job.created)} · {state_name(run.job.state)}"


def name_of(folder: Path) -> str:
    """Its name among the workspace's runs; its path where it lies elsewhere."""
    return folder.name if folder.parent == paths.runs() else str(folder)


def _show(name: str) -> None:
    if name:
        st.query_params[RUN] = name
    else:
        st.query_params.pop(RUN, None)


def _setup() -> None:
    """Left the text, right what to look for and the way on; on a narrow window one under the other."""
    left, right = st.columns([11, 10], gap="medium")
    with left:
        with st.container(border=True):
            source, text = _text()
        if _kind() == "text":
            one_text.result()
    language = language_of([text]) if text else source.language if source else None
    with right:
        with st.container(border=True):
            st.subheader(t("2 · Schema"))
            schema = schema_choice(language)
        with st.container(border=True):
            st.subheader(t("3 · Run"))
            model = model_choice(language)
            if model is not None:
                _run(source, text, schema, model, language)
    if model is not None and model.reads is False and language:
        language_offer(model, language, rows=source.rows if source else 1)


def _kind() -> str:
    return st.session_state.get("extract.kind") or "file"


def _text() -> tuple[Source | None, str]:
    st.subheader(t("1 · Text"))
    kind = st.segmented_control(
        t("Kind of input"),
        ["file", "text"],
        default=None if "extract.kind" in st.session_state else "file",
        format_func=lambda kind: {"file": t("A file"), "text": t("One text")}[kind],
        key="extract.kind",
        label_visibility="collapsed",
        required=True,
        persist_state="session",
    )
    return (source_file(), "") if kind == "file" else (None, one_text.text_area())


def _run(
    source: Source | None, text: str, schema: SchemaChoice | None, model: ModelChoice, language: str | None
) -> None:
    """The button that starts it; where the model does not read the language, a warning and a lesser button."""
    anyway = model.reads is False and language is not None
    if anyway:
        refusal(model, str(language))
    asking = asking_form(lambda: text or (first_text(source) if source else ""), schema, model.model)
    if _kind() == "file":
        started = start_buttons(source, schema, model, anyway=anyway, asking=asking)
        if started is not None:
            _show(name_of(started))
            st.rerun()
    else:
        one_text.start_button(text, schema, model, anyway=anyway, asking=asking)
    caution(model.model)


page()
