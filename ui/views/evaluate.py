"""Evaluate: how right runs are, by gold or by a judged sample; two numbers with intervals, then errors by kind."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui.i18n import t
from ui.parts.audit_view import RUN as AUDITED
from ui.parts.audit_view import audit_view
from ui.parts.errors import plain
from ui.parts.eval_new import new_evaluation
from ui.parts.eval_sources import Evaluated, all_evaluations, name_of
from ui.parts.eval_view import evaluation_view
from ui.parts.job_panel import state_name, when
from ui.parts.labels import distinct

SHOWN = "evaluation"  # the query parameter that names the evaluation shown


def page() -> None:
    known = all_evaluations()
    wanted = st.query_params.get(SHOWN)
    shown = next((one for one in known if wanted in (one.name, str(one.out))), None)
    _title(known, shown)
    way = _way(shown)
    if wanted and shown is None:
        st.info(t("The evaluation “{name}” is no longer there.", name=plain(Path(wanted).name)), icon=":material/help:")
    if way == "audit":
        audit_view()
    elif shown is not None:
        evaluation_view(shown)
    elif (started := new_evaluation()) is not None:
        _show(name_of(started))
        st.rerun()


def _title(known: list[Evaluated], shown: Evaluated | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(t("Evaluate"), width="stretch")
        if known:
            _chooser(known, shown)
    if shown is None:
        st.caption(t("How right the records are: two numbers with intervals, and every error with its sentence."))


def _chooser(known: list[Evaluated], shown: Evaluated | None) -> None:
    """The address tells which is shown, so a reload and a second tab show the same."""
    labels = distinct({"": t("New evaluation"), **{one.name: _label(one) for one in known}})
    st.session_state["evaluate.chosen"] = shown.name if shown else ""
    st.selectbox(
        t("Evaluations"),
        list(labels),
        format_func=lambda name: labels.get(name, name),
        key="evaluate.chosen",
        on_change=lambda: _show(st.session_state["evaluate.chosen"]),
        label_visibility="collapsed",
        width=340,
    )


def _label(one: Evaluated) -> str:
    if one.job is None:
        return one.out.name
    return f"{Path(str(one.job.request.get('gold', ''))).name} · {when(one.job.created)} · {state_name(one.job.state)}"


def _way(shown: Evaluated | None) -> str:
    """Against gold, or by an audit; an address that names a run's audit, or an evaluation, decides."""
    if shown is not None:
        return "gold"
    names = {"gold": t("Against gold"), "audit": t("Without gold: audit a sample")}
    default = "audit" if st.query_params.get(AUDITED) else "gold"
    return st.segmented_control(
        t("How"),
        list(names),
        default=default,
        format_func=lambda way: names[way],
        key="evaluate.way",
        label_visibility="collapsed",
        required=True,
    )


def _show(name: str) -> None:
    st.query_params.pop(AUDITED, None)
    if name:
        st.query_params[SHOWN] = name
    else:
        st.query_params.pop(SHOWN, None)


page()
