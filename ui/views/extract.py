"""Extract: a text or a file → a schema → ten rows to look at → all of them."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.extract.inputs import language_of
from ui.i18n import t
from ui.parts import one_text, runs
from ui.parts.errors import plain
from ui.parts.job_panel import state_name, when
from ui.parts.language_offer import language_offer
from ui.parts.model_choice import model_choice
from ui.parts.run_setup import fill_from, start_buttons
from ui.parts.run_view import run_view
from ui.parts.runs import Run
from ui.parts.schema_choice import schema_choice
from ui.parts.source_file import source_file

RUN = "run"
"""The query parameter that names the run shown."""


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
    names = {run.folder.name: run for run in known}
    current = shown.folder.name if shown else ""
    options = ["", *names] if current in names or not current else ["", current, *names]
    st.session_state["extract.chosen"] = current
    st.selectbox(
        t("Runs"),
        options,
        format_func=lambda name: _label(names[name]) if name in names else name or t("New extraction"),
        key="extract.chosen",
        on_change=lambda: _show(st.session_state["extract.chosen"]),
        label_visibility="collapsed",
        width=340,
    )


def _label(run: Run) -> str:
    return f"{run.input_name} · {when(run.job.created)} · {state_name(run.job.state)}"


def _show(name: str) -> None:
    if name:
        st.query_params[RUN] = name
    else:
        st.query_params.pop(RUN, None)


def _setup() -> None:
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        st.subheader(t("1 · Text"))
        kind = st.segmented_control(
            t("Kind of input"),
            ["file", "text"],
            default="file",
            format_func=lambda kind: {"file": t("A file"), "text": t("One text")}[kind],
            key="extract.kind",
            label_visibility="collapsed",
            required=True,
            persist_state="session",
        )
        source = source_file() if kind == "file" else None
        text = one_text.text_area() if kind == "text" else ""
    language = language_of([text]) if text else source.language if source else None
    with right, st.container(border=True):
        st.subheader(t("2 · Schema"))
        schema = schema_choice(language)
    with st.container(border=True):
        st.subheader(t("3 · Run"))
        model = model_choice(language)
        if model is None:
            return
        refused = model.reads is False and language is not None
        if refused:
            language_offer(model, str(language), rows=source.rows if source else 1)
        if kind == "file":
            started = start_buttons(source, schema, model, anyway=refused)
            if started is not None:
                _show(started.name)
                st.rerun()
        else:
            one_text.start_button(text, schema, model, anyway=refused)
        st.caption(
            t("Grammar makes answers verbatim, never true: all of it is in your text; you judge whether it is right.")
        )
    if kind == "text":
        one_text.result()


page()
