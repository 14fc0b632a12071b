"""Models that can be fetched: what they read, what they may be used for, whether they fit this machine."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from core import models, resources, settings
from core.jobs import store
from core.weights import catalog, download
from core.weights.sources import SourceName
from ui.i18n import t
from ui.parts.errors import errors_shown, plain
from ui.parts.model_card import FORMATS, LANGUAGES, language_names

BESIDE = 2
SHOWN = 6
SOURCES = {"hub": "Hugging Face", "mirror": "hf-mirror", "modelscope": "ModelScope"}

Offer = tuple[catalog.Entry, catalog.Fit]


def catalog_cards() -> None:
    st.subheader(t("More models"))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        languages = st.pills(
            t("Reads"),
            sorted({code for entry in catalog.entries() for code in entry.languages}),
            selection_mode="multi",
            format_func=lambda code: LANGUAGES.get(code, code),
            key="catalog.languages",
        )
        source: SourceName = st.segmented_control(
            t("Source"), get_args(SourceName), default="hub", format_func=SOURCES.__getitem__, required=True,
            key="catalog.source",
        ) or "hub"  # fmt: skip
        only_fitting = st.toggle(t("Only what fits this machine"), True, key="catalog.fitting")
    if settings.read().offline:
        st.caption(t("Offline is switched on in Settings, so nothing is downloaded."))
    offers = _offers(set(languages), source, only_fitting=only_fitting)
    if not offers:
        st.caption(t("None of the catalog's models is left; choose fewer languages, or a server."))
    shown = offers if len(offers) <= SHOWN or st.session_state.get("catalog.all") else offers[:SHOWN]
    for start in range(0, len(shown), BESIDE):
        for column, (entry, fit) in zip(st.columns(BESIDE), shown[start : start + BESIDE], strict=False):
            with column, st.container(border=True, height="stretch"):
                _card(entry, fit, source)
    if len(shown) < len(offers):
        st.button(
            t("Show all {n}", n=len(offers)),
            key="catalog.more",
            on_click=st.session_state.update,
            args=({"catalog.all": True},),
        )


def _offers(languages: set[str], source: SourceName, *, only_fitting: bool) -> list[Offer]:
    """What runs alone and can be fetched: made for extraction first, then what fits as it is."""
    machine = resources.machine()
    found = [
        (entry, fit)
        for entry in catalog.entries()
        if entry.runs_alone and _published(entry, source) and languages <= set(entry.languages)
        if (fit := catalog.fits(entry, machine)).ok or not only_fitting
    ]
    return sorted(found, key=lambda offer: (not offer[0].trained_for_extraction, not offer[1].ok))


def _published(entry: catalog.Entry, source: SourceName) -> bool:
    """A mirror serves what the hub does."""
    return ("modelscope" if source == "modelscope" else "hub") in entry.sources


def _card(entry: catalog.Entry, fit: catalog.Fit, source: SourceName) -> None:
    st.markdown(f"**{plain(entry.title)}**")
    with st.container(horizontal=True, gap="small"):
        st.badge(FORMATS[entry.format], color="gray")
        size = resources.size(entry.bytes) if entry.size else f"≈ {resources.size(entry.bytes)}"
        st.badge(size, icon=":material/download:", color="gray")
        st.badge(language_names(entry.languages), icon=":material/translate:", color="gray")
        st.badge(entry.license, icon=":material/license:", color="gray")
        if entry.trained_for_extraction:
            st.badge(t("trained for extraction"), icon=":material/data_object:", color="primary")
    mark = ":green[:material/check:]" if fit.ok else ":red[:material/close:]"
    verdict = t("Fits this machine") if fit.ok else t("Does not fit this machine")
    st.caption(f"{mark} {verdict}: {plain(t(fit.why, **fit.values))}")
    if entry.note:
        st.caption(plain(t(entry.note)))
    _get(entry, source)


def _get(entry: catalog.Entry, source: SourceName) -> None:
    with errors_shown():
        request = download.for_entry(entry, source)
        if any(model.path and model.path.is_relative_to(request.folder) for model in models.installed()):
            st.badge(t("here already"), icon=":material/check:", color="green")
        elif st.button(
            t("Download"), key=f"get.{entry.id}", icon=":material/download:", disabled=settings.read().offline
        ):
            st.switch_page("views/jobs.py", query_params={"job": store.submit(request).id})
