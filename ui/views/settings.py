"""Settings: language, model, servers, where things lie, and what is installed."""

from __future__ import annotations

import os

import streamlit as st

from core import paths, resources, settings
from ui.i18n import t
from ui.parts import doctor
from ui.parts.endpoint_form import add_endpoint, remove_endpoint
from ui.parts.errors import errors_shown, plain
from ui.parts.pickers import model_picker

LANGUAGES = {"auto": "As the browser asks", "en": "English", "zh": "中文"}


def page() -> None:
    st.title(t("Settings"))
    chosen = settings.read()
    left, right = st.columns(2, gap="large")
    with left:
        _appearance(chosen)
        _model(chosen)
        _network(chosen)
    with right:
        _servers(chosen)
        _places()
    st.divider()
    _doctor()


def _save(field: str, key: str) -> None:
    settings.write(settings.read().model_copy(update={field: st.session_state[key]}))


def _appearance(chosen: settings.Settings) -> None:
    st.subheader(t("Language and look"))
    st.segmented_control(
        t("Language"),
        list(LANGUAGES),
        default=chosen.language,
        format_func=lambda code: t("As the browser asks") if code == "auto" else LANGUAGES[code],
        key="settings.language",
        required=True,
        on_change=_save,
        args=("language", "settings.language"),
    )
    st.caption(t("Light or dark follows your system; the menu at the top right changes it."))


def _model(chosen: settings.Settings) -> None:
    st.subheader(t("Model"))
    ref = model_picker(
        t("Default model"),
        "settings.default_model",
        value=chosen.default_model,
        help=t("What Chat and Extract take unless told otherwise"),
    )
    if ref and ref != chosen.default_model:
        settings.write(chosen.model_copy(update={"default_model": ref}))
        st.toast(t("Saved"), icon=":material/check:")


def _network(chosen: settings.Settings) -> None:
    st.subheader(t("Network"))
    st.toggle(
        t("Offline"),
        chosen.offline,
        key="settings.offline",
        help=t("Nothing is downloaded, and only servers on this machine are called."),
        on_change=_save,
        args=("offline", "settings.offline"),
    )
    with st.expander(t("Advanced"), icon=":material/tune:"):
        text = st.text_area(
            t("Further host names"),
            "\n".join(chosen.hosts),
            key="settings.hosts",
            height=80,
            placeholder=t("one a line"),
            help=t(
                "The app answers to 127.0.0.1 and localhost; add a name only for a proxy of your own in front of it."
            ),
        )
        hosts = tuple(line.strip().lower() for line in text.splitlines() if line.strip())
        if hosts != chosen.hosts:
            settings.write(settings.read().model_copy(update={"hosts": hosts}))


def _servers(chosen: settings.Settings) -> None:
    st.subheader(t("Servers"), help=t("OpenAI-compatible servers: vLLM, llama.cpp, a hosted one."))
    for number, endpoint in enumerate(chosen.endpoints):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(endpoint.name)}**  \n`{endpoint.ref.replace(chr(96), '').replace(',', ', ')}`")
            _key_badge(endpoint)
            _limits_badge(endpoint)
            if st.button("", key=f"settings.endpoint.{number}", icon=":material/delete:", help=t("Remove this server")):
                remove_endpoint(endpoint)
                st.rerun()
    if not chosen.endpoints:
        st.caption(t("None yet."))
    with st.expander(t("Add a server"), icon=":material/add:"):
        add_endpoint()


def _key_badge(endpoint: settings.Endpoint) -> None:
    with errors_shown():
        has_key = settings.api_key(endpoint.url) is not None
        if endpoint.key_env and os.environ.get(endpoint.key_env):
            st.badge(endpoint.key_env, icon=":material/check:", color="green", help=t("The variable is set."))
        elif has_key:
            st.badge(t("key kept here"), icon=":material/key:", color="green")
        elif endpoint.key_env:
            st.badge(endpoint.key_env, icon=":material/close:", color="red", help=t("The variable is not set."))
        else:
            st.badge(t("no key"), color="gray")


def _limits_badge(endpoint: settings.Endpoint) -> None:
    if endpoint.at_once:
        st.badge(t("{count} at once", count=endpoint.at_once), icon=":material/speed:", color="gray")
    if endpoint.per_second:
        st.badge(t("{count} a second", count=f"{endpoint.per_second:g}"), icon=":material/speed:", color="gray")


def _places() -> None:
    st.subheader(t("Workspace"))
    st.code(str(paths.workspace()), language=None)
    st.caption(
        t(
            "Models, jobs, runs and settings lie here. To use another folder, set {variable} before starting the app.",
            variable=paths.WORKSPACE_VARIABLE,
        )
    )


def _doctor() -> None:
    st.subheader(t("Doctor"))
    if doctor.gpu_unused():
        st.warning(
            t(
                "This machine has a GPU, but the installed torch is a CPU build. "
                "README.md says how to install the CUDA build."
            ),
            icon=":material/memory:",
        )
    machine = resources.machine()
    st.caption(
        t("{cores} processor cores, {ram} memory, {gpus}",
          cores=machine.cores,
          ram=resources.size(machine.ram_total),
          gpus=", ".join(card.name for card in machine.gpus) or t("no GPU found"))
    )  # fmt: skip
    with st.container(horizontal=True, gap="small"):
        for finding in doctor.findings():
            if finding.ok:
                st.badge(f"{finding.name} {finding.value}", icon=":material/check:", color="gray")
            else:
                st.badge(t("{package} is missing", package=finding.name), icon=":material/close:", color="red")


page()
