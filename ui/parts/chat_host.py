"""Whether the chosen model can be asked now; if not, what is the matter and the button for it."""

from __future__ import annotations

import streamlit as st

from core.inference import client
from core.inference.client import HostStatus
from core.models import Model
from ui.i18n import t
from ui.parts.errors import errors_shown, plain, show_error


def host_ready(model: Model) -> bool:
    if model.format == "remote":
        return True
    now = client.status()
    if now.model == model.ref and now.state == "ready":
        return True
    if now.model == model.ref and now.state == "loading":
        _loading(model.ref)
        return False
    if now.state == "died" and now.error is not None:
        show_error(now.error)
    _offer(model, now)
    return False


def _offer(model: Model, now: HostStatus) -> None:
    if now.state == "ready":
        st.info(
            t("{other} is loaded; it makes room for {model}.", other=plain(now.title), model=plain(model.title)),
            icon=":material/swap_horiz:",
        )
    else:
        st.info(t("No model is loaded."), icon=":material/deployed_code:")
    if st.button(
        t("Load {model}", model=plain(model.title)), type="primary", icon=":material/play_arrow:", key="chat.load"
    ):
        with errors_shown():
            client.load(model.ref, wait=False)
            st.rerun()


@st.fragment(run_every=0.5)
def _loading(ref: str) -> None:
    now = client.status()
    if now.model != ref or now.state != "loading":
        st.rerun()
    st.info(t("Loading the model…"), icon=":material/hourglass_top:")
