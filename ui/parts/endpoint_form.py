"""The form that adds a server (or several of one model), and what takes one off the list again."""

from __future__ import annotations

from typing import Any

import streamlit as st
from pydantic import ValidationError

from core import settings
from core.errors import UserError
from core.settings import Endpoint
from ui.i18n import t
from ui.parts.errors import errors_shown, show_error


def add_endpoint() -> None:
    with st.form("add.endpoint", border=False, clear_on_submit=False):
        values = _what_and_where()
        key = st.text_input(
            t("Key"),
            key="add.endpoint.key",
            type="password",
            help=t(
                "Instead of a variable. It is kept in a file of the workspace that only you can read, "
                "and sent to these addresses alone."
            ),
        )
        with st.expander(t("Limits"), icon=":material/speed:"):
            values |= _limits()
        if st.form_submit_button(t("Add this server"), icon=":material/add:"):
            _add(values, key)


def remove_endpoint(endpoint: Endpoint) -> None:
    chosen = settings.read()
    kept = tuple(one for one in chosen.endpoints if one != endpoint)
    settings.write(chosen.model_copy(update={"endpoints": kept}))
    if endpoint.url not in {one.url for one in kept}:
        settings.keep_key(endpoint.url, "")


def _what_and_where() -> dict[str, Any]:
    name, url = st.columns(2)
    model, key_env = st.columns(2)
    values = {
        "name": name.text_input(
            t("Name"), key="add.endpoint.name", placeholder="vLLM", help=t("One of the same name is replaced.")
        ),
        "url": url.text_input(
            t("Address"),
            key="add.endpoint.url",
            placeholder="http://127.0.0.1:8000/v1",
            help=t(
                "Several with commas between, where they serve the same model: "
                "requests are spread over them, and one that fails is left out for a while."
            ),
        ),
        "model": model.text_input(
            t("Model"), key="add.endpoint.model", help=t("What the server calls it; empty: its first one")
        ),
        "key_env": key_env.text_input(
            t("Variable with its key"),
            key="add.endpoint.key_env",
            placeholder="OPENAI_API_KEY",
            help=t("The name of an environment variable that holds the key."),
        ),
    }
    return {field: value.strip() for field, value in values.items()}


def _limits() -> dict[str, Any]:
    at_once, per_second = st.columns(2)
    return {
        "at_once": int(
            at_once.number_input(
                t("Requests at once"),
                min_value=0,
                max_value=10_000,
                value=0,
                key="add.endpoint.at_once",
                help=t("How many may be under way together; 0: as many as it answers"),
            )
        ),
        "per_second": float(
            per_second.number_input(
                t("Requests a second"),
                min_value=0.0,
                max_value=10_000.0,
                value=0.0,
                key="add.endpoint.per_second",
                help=t("How many may begin in a second; 0: no limit"),
            )
        ),
    }


def _add(values: dict[str, Any], key: str) -> None:
    try:
        endpoint = Endpoint(**values)
    except ValidationError as error:
        show_error(_endpoint_error({str(one["loc"][0]) for one in error.errors()}))
        return
    chosen = settings.read()
    others = tuple(one for one in chosen.endpoints if one.name != endpoint.name)
    with errors_shown():
        if key.strip():
            settings.keep_key(endpoint.url, key)
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
