"""An operation to be filled in: its form, what it needs, its plan, and the button that starts it as a job."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import operation
from core.jobs import store
from ui.i18n import t
from ui.parts.errors import errors_shown
from ui.parts.preflight import preflight
from ui.parts.request_form import request_form

PLAN_LINES = 400


def operation_form(which: str, key: str, *, hide: Sequence[str] = (), disabled: bool = False) -> None:
    """Draw the operation of that key; started, the job opens on Jobs."""
    made = operation.find(which)
    request = request_form(made.request, key, hide=hide)
    if request is None:
        return
    with errors_shown():
        fits = preflight(request)
        if made.plan is not None and st.toggle(
            t("Show the plan"), key=f"{key}.plan", help=t("Every step or tensor, where it comes from, and its bytes")
        ):
            with st.spinner(t("Working it out…")):
                lines = made.plan(request)
            st.code("\n".join(lines[:PLAN_LINES]), language=None, height=min(320, 40 + 20 * len(lines)))
        if st.button(t("Start"), key=f"{key}.start", icon=":material/play_arrow:", disabled=disabled or not fits):
            st.switch_page("views/jobs.py", query_params={"job": store.submit(request).id})
