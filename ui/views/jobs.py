"""Jobs: every job with its progress; one opened, with all there is to know about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from core.jobs import store
from ui.i18n import t
from ui.parts.job_panel import STATES, job_panel, operation_title, progress_text, state_name, took

TABLE_HEIGHT = 320


def page() -> None:
    st.title(t("Jobs"))
    jobs = store.all_jobs()
    if not jobs:
        st.info(
            t(
                "Nothing has run yet. Long work, such as fetching a model or extracting from a file, "
                "appears here and goes on when you leave the page."
            ),
            icon=":material/checklist:",
        )
        return
    states = sorted({job.state for job in jobs}, key=list(STATES).index)
    chosen = _filter(states) if len(states) > 1 else []
    _table(chosen, live=any(not job.over for job in jobs))
    st.divider()
    job_panel(st.query_params.get("job") or jobs[0].id)


def _filter(states: Sequence[str]) -> Sequence[str]:
    return st.pills(t("State"), states, selection_mode="multi", format_func=state_name, key="jobs.states")


def _table(states: Sequence[str], *, live: bool) -> None:
    """The table; it is read anew every two seconds while something runs, else it stays still."""
    st.fragment(_rows, run_every=2 if live else None)(tuple(states), live)


def _rows(states: Sequence[str], live: bool) -> None:
    jobs = store.all_jobs()
    if live and all(job.over for job in jobs):
        st.rerun()
    shown = [job for job in jobs if not states or job.state in states]
    if not shown:
        st.caption(t("No job is in this state."))
        return
    picked = st.dataframe(
        [_row(job) for job in shown],
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 36 * len(shown)),
        column_config={
            "share": st.column_config.ProgressColumn(t("Progress"), min_value=0.0, max_value=1.0, format="percent"),
            "operation": st.column_config.TextColumn(t("Job"), width=310),
            "state": st.column_config.TextColumn(t("State"), width=80),
            "progress": st.column_config.TextColumn(t("So far"), width=200),
            "created": st.column_config.DatetimeColumn(t("Started"), format="YYYY-MM-DD HH:mm", width=130),
        },
        on_select="rerun",
        selection_mode="single-row",
        key="jobs.table",
    )
    _open([shown[index].id for index in picked["selection"]["rows"] if index < len(shown)])


def _row(job: store.Job) -> dict:
    share = 1.0 if job.state == "done" else min(1.0, job.done / job.total) if job.total else None
    return {
        "operation": operation_title(job.operation),
        "state": state_name(job.state),
        "share": share,
        "progress": took(job) if job.over else progress_text(job),
        "created": datetime.fromtimestamp(job.created),
    }


def _open(ids: list[str]) -> None:
    """Keep the opened job in the address, so that a reload and a shared link show it again."""
    if ids and st.query_params.get("job") != ids[0] and st.session_state.get("jobs.opened") != ids[0]:
        st.session_state["jobs.opened"] = ids[0]
        st.query_params["job"] = ids[0]
        st.rerun()


page()
