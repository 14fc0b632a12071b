"""Models: what is installed and fits, what is loaded, and where more come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import streamlit as st

from core import models, settings
from core.errors import UserError
from core.inference import client
from core.inference.engine import engines
from core.models import Model
from ui.i18n import t
from ui.parts.add_model import add_local, add_repository, remove_local
from ui.parts.catalog_cards import catalog_cards
from ui.parts.endpoint_form import add_endpoint, remove_endpoint
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.model_card import facts, fit_line, memory_needed
from ui.parts.share_card import share_card
from ui.parts.starter_card import nothing_to_run, outdated_starter, starter_card
from ui.parts.weights_tools import weights_tools

BESIDE = 2


def page() -> None:
    st.title(t("Models"))
    status = client.status()
    if nothing_to_run():
        starter_card()
    else:
        outdated_starter()
    _loaded(status)
    known = _known()
    if known:
        st.subheader(t("On this machine"))
    first = _first_to_load(known, status)
    for start in range(0, len(known), BESIDE):
        for column, model in zip(st.columns(BESIDE), known[start : start + BESIDE], strict=False):
            with column, st.container(border=True, height="stretch"):
                _card(model, status, primary=model.ref == first)
    _add()
    catalog_cards()
    weights_tools()
    share_card()


def _loaded(status: client.HostStatus) -> None:
    """The loaded model, on top; while it loads this part looks again every second."""
    if status.state == "loading":
        st.fragment(_loading, run_every=1)(status.model)
    elif status.state == "died":
        show_error(status.error or UserError("The model host stopped.", remedy="Load the model again."))
    elif status.state == "ready":
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.badge(t("loaded"), icon=":material/memory:", color="green")
            st.markdown(f"**{plain(status.title)}**", width="content")
            st.caption(
                t("on {engine}, {context} tokens of context, {parallel} at once",
                  engine=status.engine, context=status.context, parallel=status.parallel),
                width="content", help=_why(status),
            )  # fmt: skip
            if st.button(t("Unload"), key="models.unload", icon=":material/eject:"):
                with errors_shown():
                    client.unload()
                    st.rerun()


def _why(status: client.HostStatus) -> str | None:
    """What the engine's choice, the device, the bits and the adapter come from, a paragraph each."""
    told = [t(status.why_engine)] if status.why_engine else []
    told += [plain(t(fact.why, **fact.values)) for fact in status.facts]
    return "\n\n".join(told) or None


def _loading(ref: str) -> None:
    status = client.status()
    if status.state != "loading":
        st.rerun()
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.badge(t("loading…"), icon=":material/hourglass_top:", color="blue")
        st.markdown(f"**{plain(status.title or ref)}**", width="content")
        if st.button(t("Stop loading"), key="models.stop", icon=":material/stop_circle:"):
            with errors_shown():
                client.unload()


def _known() -> list[Model]:
    """Installed ones, then added paths, then servers; an added path that is gone says so."""
    chosen = settings.read()
    found = models.installed()
    for place in chosen.local_models:
        try:
            found.append(models.resolve(place))
        except UserError as error:
            show_error(error)
            if st.button(t("Forget this path"), key=f"forget.{place}", icon=":material/delete:"):
                remove_local(place)
                st.rerun()
    return found + [_remote(endpoint) for endpoint in chosen.endpoints]


def _remote(endpoint: settings.Endpoint) -> Model:
    model = models.resolve(endpoint.ref)
    return replace(model, card=model.card.model_copy(update={"title": endpoint.name}))


def _first_to_load(known: list[Model], status: client.HostStatus) -> str:
    """Whose Load is the page's primary button: the default model's, else the first's; nobody's while one is loaded."""
    if status.state in ("ready", "loading") or not known:
        return ""
    default = settings.read().default_model
    return default if any(model.ref == default for model in known) else known[0].ref


def _card(model: Model, status: client.HostStatus, *, primary: bool) -> None:
    facts(model)
    fit_line(memory_needed(model))
    if model.format == "remote":
        st.caption(plain(model.url))
    with st.container(horizontal=True, vertical_alignment="center"):
        if model.format == "remote":
            _check(model)
        else:
            _load(model, status, primary=primary)
        _default(model)
        _remove(model)


def _load(model: Model, status: client.HostStatus, *, primary: bool) -> None:
    is_loaded = status.state in ("ready", "loading") and status.model == model.ref
    label = t("Loaded") if is_loaded else t("Load")
    kind: Literal["primary", "secondary"] = "primary" if primary else "secondary"
    icon = ":material/check:" if is_loaded else ":material/memory:"
    wanted = st.button(label, key=f"load.{model.ref}", type=kind, icon=icon, disabled=is_loaded)
    engine = _engine(model)
    if wanted:
        with errors_shown():
            client.load(model.ref, engine=engine, wait=False)
            st.rerun()


def _engine(model: Model) -> str | None:
    """The engine chosen by hand, or None: then it is chosen by format, for the reason shown."""
    able = {name: made for name, made in engines().items() if model.format in made.can.formats}
    if len(able) < 2:
        for made in able.values():
            st.caption(t("on {engine}", engine=made.title), help=t(made.why), width="content")
        return None
    with st.popover(t("Engine"), icon=":material/tune:"):
        return st.radio(
            t("Engine"),
            [None, *able],
            format_func=lambda name: able[name].title if name else t("chosen for you"),
            captions=[t(made.why) for made in (next(iter(able.values())), *able.values())],
            key=f"engine.{model.ref}",
        )


def _check(model: Model) -> None:
    """A server is called, never loaded; this asks it once whether it answers."""
    if st.button(t("Check the server"), key=f"check.{model.ref}", icon=":material/network_check:"):
        with errors_shown(), st.spinner(t("Asking the server…")):
            client.connect(model.ref)
            st.toast(t("The server answers."), icon=":material/check:")


def _default(model: Model) -> None:
    chosen = settings.read()
    if model.ref == chosen.default_model:
        st.badge(t("default"), icon=":material/star:", color="primary")
    elif st.button(t("Make it the default"), key=f"default.{model.ref}", type="tertiary"):
        settings.write(chosen.model_copy(update={"default_model": model.ref}))
        st.rerun()


def _remove(model: Model) -> None:
    """Added paths and servers can be taken off the list; their files stay."""
    chosen = settings.read()
    endpoint = next((one for one in chosen.endpoints if one.ref == model.ref), None)
    if endpoint is None and model.ref not in chosen.local_models:
        return
    why = t("Take it off this list; nothing is deleted")
    if st.button("", key=f"remove.{model.ref}", icon=":material/playlist_remove:", help=why):
        if endpoint is not None:
            remove_endpoint(endpoint)
        else:
            remove_local(model.ref)
        st.rerun()


def _add() -> None:
    st.subheader(t("Add a model"))
    local, hub, server = st.tabs([t("From this machine"), t("From a hub"), t("From a server")])
    with local:
        add_local()
    with hub:
        add_repository()
    with server:
        add_endpoint()


page()
