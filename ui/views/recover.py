"""Recover: a model from its parts, as a list of steps that one button runs to the end."""

from __future__ import annotations

import streamlit as st

from core.weights import recovery, recovery_steps
from ui.i18n import t
from ui.parts.errors import errors_shown
from ui.parts.recover_head import head
from ui.parts.recover_start import NEW, start
from ui.parts.recover_steps import step_list
from ui.parts.recover_tidy import forget_button, free_space


def page() -> None:
    st.title(t("Recover"))
    names = recovery.names()
    wanted = st.query_params.get("recovery")
    if not names or wanted == NEW:
        start(beside=bool(names))
        return
    with errors_shown():
        chosen = recovery.read(_which(names, wanted if wanted in names else names[0]))
        steps = recovery_steps.steps(chosen)
        running = head(chosen, steps)
        step_list(chosen, steps, running)
        free_space(chosen, disabled=running is not None)


def _which(names: list[str], now: str) -> str:
    """The recovery that is shown, and the ways to another and away with this one."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        picked = st.selectbox(t("Recovery"), names, names.index(now), key=f"recover.which.{now}", width=320)
        if st.button(t("New recovery"), icon=":material/add:", key="recover.new"):
            st.query_params["recovery"] = NEW
            st.rerun()
        forget_button(now)
    if picked != now:
        st.query_params["recovery"] = picked
        st.rerun()
    return now


page()
