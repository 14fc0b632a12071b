"""Work on weights: each operation that reads and writes model folders, one at a time, as a form."""

from __future__ import annotations

import streamlit as st

from ui.i18n import t
from ui.parts.job_panel import operation_title
from ui.parts.operation_form import operation_form

TOOLS = (
    "models verify",
    "models bench",
    "weights convert",
    "weights recover",
    "weights make-delta",
    "weights merge",
    "weights export",
    "weights quantize",
)


def weights_tools() -> None:
    st.subheader(t("Work on weights"))
    st.caption(
        t("Single operations on model folders, in little memory. For a whole recovery, step by step, see Recover.")
    )
    which = st.selectbox(
        t("What to do"), TOOLS, None, format_func=operation_title, key="tools.which", placeholder=t("Choose")
    )
    if which is not None:
        with st.container(border=True):
            operation_form(which, f"tools.{which}")
