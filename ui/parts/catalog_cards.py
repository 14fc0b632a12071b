"""Models that could be fetched: what they read, what they may be used for, whether they fit this machine."""

from __future__ import annotations

import streamlit as st

from core import resources
from core.weights import catalog
from ui.i18n import t
from ui.parts.errors import plain
from ui.parts.model_card import FORMATS, LANGUAGES, language_names

BESIDE = 2


def catalog_cards() -> None:
    st.subheader(t("More models"))
    machine = resources.machine()
    with st.container(horizontal=True, vertical_alignment="center"):
        wanted = st.pills(
            t("Reads"),
            sorted({code for entry in catalog.entries() for code in entry.languages}),
            selection_mode="multi",
            format_func=lambda code: LANGUAGES.get(code, code),
            key="catalog.languages",
        )
        only_fitting = st.toggle(t("Only what fits this machine"), True, key="catalog.fitting")
    offered = [
        (entry, fit)
        for entry in catalog.entries()
        if entry.runs_alone and entry.sources and set(wanted) <= set(entry.languages)
        if (fit := catalog.fits(entry, machine)).ok or not only_fitting
    ]
    if not offered:
        st.caption(t("None of the catalog's models is left; choose fewer languages, or a server."))
    for start in range(0, len(offered), BESIDE):
        for column, (entry, fit) in zip(st.columns(BESIDE), offered[start : start + BESIDE], strict=False):
            with column, st.container(border=True, height="stretch"):
                _card(entry, fit)


def _card(entry: catalog.Entry, fit: catalog.Fit) -> None:
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
