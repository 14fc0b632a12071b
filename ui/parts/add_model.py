"""Small forms that name a model from elsewhere: a path on this machine, a hub's repository."""

from __future__ import annotations

import streamlit as st

from core import models, settings
from core.errors import UserError
from ui.i18n import t
from ui.parts.errors import show_error
from ui.parts.operation_form import operation_form


def add_local() -> None:
    with st.form("add.local", border=False, clear_on_submit=False):
        place = st.text_input(
            t("A .gguf file or a Hugging Face folder"), key="add.local.path", placeholder="/data/models/model.gguf"
        )
        st.caption(t("It stays where it is; only its path is kept."))
        if st.form_submit_button(t("Add this model"), icon=":material/add:"):
            _add_local(place.strip())


def add_repository() -> None:
    offline = settings.read().offline
    st.caption(t("Any repository, whole or in part. What is gated needs a token: see Settings."))
    if offline:
        st.caption(t("Offline is switched on in Settings, so nothing is downloaded."))
    operation_form("models download", "add.repository", disabled=offline)


def remove_local(place: str) -> None:
    chosen = settings.read()
    kept = tuple(one for one in chosen.local_models if one != place)
    settings.write(chosen.model_copy(update={"local_models": kept}))


def _add_local(place: str) -> None:
    if not place:
        return
    try:
        model = models.resolve(place)
    except UserError as error:
        show_error(error)
        return
    chosen = settings.read()
    if model.path is not None and model.ref not in chosen.local_models:
        settings.write(chosen.model_copy(update={"local_models": (*chosen.local_models, model.ref)}))
    st.rerun()
