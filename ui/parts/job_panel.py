"""One job: progress, numbers, log and its buttons while it runs; receipt or cause of death once it is over."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import UserError
from core.jobs import store
from ui.i18n import t
from ui.parts.charts import line_charts
from ui.parts.errors import plain, show_error
from ui.parts.preflight import duration
from ui.parts.request_form import label_of
from ui.parts.train_runs import name_of

LOG_LINES = 200
LISTED = 12
NEXT = {
    "models starter": ("extract", ":material/data_object:"),
    "models download": ("models", ":material/memory:"),
    "extract run": ("graph", ":material/hub:"),
    "extract report": ("evaluate", ":material/fact_check:"),
    "extract audit sample": ("evaluate", ":material/fact_check:"),
    "graph build": ("graph", ":material/hub:"),
    "weights recovery": ("recover", ":material/healing:"),
    "train finetune": ("train", ":material/model_training:"),
}
"""Where a finished operation's receipt leads: view and icon."""

STATES = {
    "starting": ("blue", ":material/hourglass_top:"),
    "running": ("blue", ":material/play_arrow:"),
    "done": ("green", ":material/check:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("gray", ":material/block:"),
    "died": ("red", ":material/skull:"),
}


def job_panel(job_id: str) -> None:
    """Draw the job. While it runs it is drawn anew every second; once it is over nothing polls any more."""
    try:
        job = store.read(job_id)
    except UserError as error:
        show_error(error)
        return
    if job.over:
        _over(job)
    else:
        st.fragment(_live, run_every=1)(job_id)


def state_badge(state: str) -> None:
    colour, icon = STATES[state]
    st.badge(state_name(state), icon=icon, color=colour)  # type: ignore[arg-type]


def state_name(state: str) -> str:
    return {
        "starting": t("starting"),
        "running": t("running"),
        "done": t("done"),
        "failed": t("failed"),
        "cancelled": t("cancelled"),
        "died": t("died"),
    }[state]


def show_progress(job: store.Job) -> None:
    """The bar, with how much, how fast and how long still."""
    share = min(1.0, job.done / job.total) if job.total else 0.0
    st.progress(share, text=progress_text(job))


def progress_text(job: store.Job) -> str:
    parts = []
    if job.total:
        parts.append(
            t(
                "{done} of {total} {unit}",
                done=_count(job.done, job.unit),
                total=_count(job.total, job.unit),
                unit=_unit(job.unit),
            )
        )
    elif job.done:
        parts.append(f"{_count(job.done, job.unit)} {_unit(job.unit)}")
    else:
        parts.append(state_name(job.state))
    if job.rate:
        parts.append(t("{rate} {unit} per second", rate=_count(job.rate, job.unit), unit=_unit(job.unit)))
    if job.eta is not None:
        parts.append(t("{time} left", time=duration(job.eta)))
    return " · ".join(" ".join(part.split()) for part in parts)


def _live(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    _head(job)
    show_progress(job)
    with st.container(horizontal=True):
        _cancel_button(job)
    line_charts(store.metric_series(job.id), _unit(job.unit) or t("seconds"))
    _log(job, expanded=True)


def _over(job: store.Job) -> None:
    _head(job)
    if job.state == "done":
        _receipt(job)
    elif job.error is not None:
        show_error(job.error)
    elif job.state == "cancelled":
        st.info(
            t("Stopped as you asked. What was finished is kept; starting it again continues from there."),
            icon=":material/block:",
        )
    with st.container(horizontal=True):
        if job.state != "done" and st.button(
            t("Start again"), type="primary", icon=":material/restart_alt:", key=f"restart.{job.id}"
        ):
            _do(store.restart, job.id)
        _remove_button(job)
    line_charts(store.metric_series(job.id), _unit(job.unit) or t("seconds"))
    _log(job, expanded=job.state in ("failed", "died"))
    with st.expander(t("What was asked"), icon=":material/description:"):
        _pairs(job.request)


def _head(job: store.Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(operation_title(job.operation))}**", width="content")
        state_badge(job.state)
        st.caption(f"{when(job.created)} · {took(job)}" if took(job) else when(job.created), width="content")


def operation_title(key: str) -> str:
    """What the operation does, in words; its key where it is no longer known."""
    return t(_titles().get(key, key)).rstrip(".。")


@cache
def _titles() -> dict[str, str]:
    from core.operation import operations

    return {key: known.title for key, known in operations().items()}


def when(moment: float) -> str:
    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")


def took(job: store.Job) -> str:
    if job.started is None or job.ended is None:
        return ""
    return t("took {time}", time=duration(job.ended - job.started))


def _receipt(job: store.Job) -> None:
    with st.container(border=True):
        st.markdown(f":green[:material/check_circle:] **{t('What was made')}**")
        _pairs(job.result or {})
        if job.operation in NEXT:
            view, icon = NEXT[job.operation]
            st.page_link(f"views/{view}.py", label=_next(job.operation), icon=icon, query_params=_about(job))


def _next(operation: str) -> str:
    return {
        "models starter": t("Extract from your text"),
        "models download": t("Load the model"),
        "extract run": t("See the knowledge graph"),
        "extract report": t("See the evaluation"),
        "extract audit sample": t("Judge the sentences"),
        "graph build": t("See the knowledge graph"),
        "weights recovery": t("Go to the recovery"),
        "train finetune": t("See the training"),
    }[operation]


def _about(job: store.Job) -> dict[str, str]:
    """What the next page is to show: the run that was made, or whose graph was, or the recovery."""
    if job.operation == "weights recovery":
        return {"recovery": str(job.request.get("name", ""))}
    if job.operation == "train finetune":
        return {"training": name_of(Path(str(job.request.get("out", ""))))}
    if job.operation == "extract report":
        return {"evaluation": str(job.request.get("out", ""))}
    if job.operation == "extract audit sample":
        return {"audit": str(job.request.get("run", ""))}
    made = {"extract run": "out", "graph build": "run"}.get(job.operation)
    return {"run": str(job.request.get(made, ""))} if made else {}


def _pairs(values: dict[str, Any]) -> None:
    """Names and values of a result or request; values as plain text."""
    rows = [[t(label_of(name)), _cell(value)] for name, value in values.items() if value not in (None, "", [], {})]
    if rows:
        st.table(rows, border="horizontal", hide_header=True, hide_index=True, width="content")


def _cell(value: Any) -> str:
    """A value as plain text in a table's cell; of what is nested, how much there is."""
    if isinstance(value, bool):
        return t("yes") if value else t("no")
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{plain(str(name))}: {_cell(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        listed = len(value) <= LISTED and not any(isinstance(one, dict | list) for one in value)
        return ", ".join(_cell(one) for one in value) if listed else f"{len(value):,}"
    return plain(" ".join(str(value).split()))


def _log(job: store.Job, *, expanded: bool) -> None:
    lines = store.log_lines(job.id, last=LOG_LINES)
    if lines:
        with st.expander(t("Log"), expanded=expanded, icon=":material/notes:"):
            st.code("\n".join(lines), language=None, wrap_lines=True, height=min(320, 40 + 20 * len(lines)))


def _cancel_button(job: store.Job) -> None:
    with st.popover(t("Cancel"), icon=":material/stop_circle:"):
        st.write(t("Stop this job? What it has finished so far is kept."))
        if st.button(t("Stop the job"), key=f"cancel.{job.id}", icon=":material/stop_circle:"):
            _do(store.cancel, job.id)


def _remove_button(job: store.Job) -> None:
    with st.popover(t("Remove"), icon=":material/delete:"):
        st.write(t("Remove this job from the list? Its log and receipt are lost; the files it made stay."))
        if st.button(t("Remove the job"), key=f"remove.{job.id}", icon=":material/delete:"):
            _do(store.remove, job.id)


def _do(action: Any, job_id: str) -> None:
    try:
        action(job_id)
    except UserError as error:
        show_error(error)
    else:
        st.rerun()


def _count(amount: float, unit: str) -> str:
    if unit == "bytes":
        from core.resources import size

        return size(amount)
    return f"{amount:,.0f}" if amount >= 100 or amount == int(amount) else f"{amount:,.2g}"


def _unit(unit: str) -> str:
    return "" if unit == "bytes" or not unit else t(unit)
