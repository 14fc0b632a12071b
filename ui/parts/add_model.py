"""Small forms that name a model from elsewhere: a path on this machine, a hub's repository, a server."""

from __future__ import annotations

import streamlit as st
from pydantic import ValidationError

from core import models, settings
from core.errors import UserError
from core.settings import Endpoint
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


def add_endpoint() -> None:
    with st.form("add.endpoint", border=False, clear_on_submit=False):
        name, url = st.columns(2)
        model, key_env = st.columns(2)
        values = {
            "name": name.text_input(t("Name"), key="add.endpoint.name", placeholder="vLLM"),
            "url": url.text_input(t("Address"), key="add.endpoint.url", placeholder="http://127.0.0.1:8000/v1"),
            "model": model.text_input(
                t("Model"), key="add.endpoint.model", help=t("What the server calls it; empty: its first one")
            ),
            "key_env": key_env.text_input(
                t("Variable with its key"),
                key="add.endpoint.key_env",
                placeholder="OPENAI_API_KEY",
                help=t("The name of an environment variable. The key itself is never stored."),
            ),
        }
        if st.form_submit_button(t("Add this server"), icon=":material/add:"):
            _add_endpoint({field: value.strip() for field, value in values.items()})


def remove_endpoint(endpoint: Endpoint) -> None:
    chosen = settings.read()
    kept = tuple(one for one in chosen.endpoints if one != endpoint)
    settings.write(chosen.model_copy(update={"endpoints": kept}))


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


def _add_endpoint(values: dict[str, str]) -> None:
    try:
        endpoint = Endpoint(**values)
    except ValidationError as error:
        show_error(_endpoint_error({str(one["loc"][0]) for one in error.errors()}))
        return
    chosen = settings.read()
    others = tuple(one for one in chosen.endpoints if one.name != endpoint.name)
    settings.write(chosen.model_copy(update={"endpoints": (*others, endpoint)}))
    st.rerun()


def _endpoint_error(fields: set[str]) -> UserError:
    if "url" in fields:
        return UserError(
            "This is not the address of a server.", remedy="It starts with http:// or https:// and often ends in /v1."
        )
    if "key_env" in fields:
        return UserError(
            "This is not the name of an environment variable.",
            remedy="Give the variable's name, such as OPENAI_API_KEY, and set it before starting the app.",
        )
    return UserError("The server needs a name.", remedy="Give it one that you will recognise in lists.")
