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
        parts = st.toggle(
            t("Also parts"), key="catalog.parts", help=t("Bases, weight differences and adapters to make a model from")
        )
    if settings.read().offline:
        st.caption(t("Offline is switched on in Settings, so nothing is downloaded."))
    offers = _offers(set(languages), source, only_fitting=only_fitting, parts=parts)
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


def _offers(languages: set[str], source: SourceName, *, only_fitting: bool, parts: bool) -> list[Offer]:
    """What can be fetched, and parts to bring oneself: made for extraction first, then what fits as it is."""
    machine = resources.machine()
    found = [
        (entry, fit)
        for entry in catalog.entries()
        if (parts or entry.runs_alone) and _published(entry, source) and languages <= set(entry.languages)
        if (fit := catalog.fits(entry, machine)).ok or not only_fitting
    ]
    return sorted(found, key=lambda offer: (offer[0].runs_alone, not offer[0].trained_for_extraction, not offer[1].ok))


def _published(entry: catalog.Entry, source: SourceName) -> bool:
    """A mirror serves what the hub does. What nobody may pass on is brought by the person, whatever the source."""
    is_brought = not entry.sources and not entry.runs_alone
    return is_brought or ("modelscope" if source == "modelscope" else "hub") in entry.sources


def _card(entry: catalog.Entry, fit: catalog.Fit, source: SourceName) -> None:
    st.markdown(f"**{plain(entry.title)}**")
    with st.container(horizontal=True, gap="small"):
        st.badge(FORMATS[entry.format], color="gray")
        size = resources.size(entry.bytes) if entry.size else f"≈ {resources.size(entry.bytes)}"
        st.badge(size, icon=":material/download:", color="gray")
        st.badge(language_names(entry.languages), icon=":material/translate:", color="gray")
        st.badge(entry.license, icon=":material/license:", color="gray")
        if not entry.runs_alone:
            st.badge(_kind_name(entry), icon=":material/extension:", color="blue")
        elif entry.trained_for_extraction:
            st.badge(t("trained for extraction"), icon=":material/data_object:", color="primary")
    mark = ":green[:material/check:]" if fit.ok else ":red[:material/close:]"
    verdict = t("Fits this machine") if fit.ok else t("Does not fit this machine")
    why = plain(t(fit.why, **fit.values))
    # a part isn't run: that it fits says nothing
    st.caption(f"{mark} {why}" if fit.ok and not entry.runs_alone else f"{mark} {verdict}: {why}")
    if entry.note:
        st.caption(plain(t(entry.note)))
    with st.container(horizontal=True, vertical_alignment="center"):
        _get(entry, source)
        with st.popover(t("What it needs"), icon=":material/info:"):
            st.table(_facts(entry), border="horizontal", hide_header=True, hide_index=True, width="content")
        if entry.kind in ("delta", "adapter"):
            st.page_link("views/recover.py", label=t("Recover"), icon=":material/healing:")


def _kind_name(entry: catalog.Entry) -> str:
    return {"base": t("base"), "delta": t("weight difference"), "adapter": t("adapter")}.get(entry.kind, entry.kind)


def _facts(entry: catalog.Entry) -> list[list[str]]:
    """Prompt dialect, context, and memory: to run in each precision, to recover."""
    rows = [[t("Prompt dialect"), entry.dialect], [t("Context"), t("{n} tokens", n=f"{entry.context:,}")]]
    if entry.kind in ("model", "base"):
        rows += [
            [t("Memory to run as {precision}", precision=one), resources.size(catalog.memory_to_run(entry, one))]
            for one in catalog.precisions(entry)
        ]
    if (ram := catalog.memory_to_recover(entry)) is not None:
        rows.append([t("Memory to recover or merge"), resources.size(ram)])
    if (disk := catalog.disk_to_recover(entry)) is not None:
        rows.append([t("Disk to recover, at its peak"), resources.size(disk)])
    return rows


def _get(entry: catalog.Entry, source: SourceName) -> None:
    if not entry.sources:
        st.badge(t("bring your own"), icon=":material/folder_open:", color="orange")
        return
    with errors_shown():
        request = download.for_entry(entry, source)
        if any(model.path and model.path.is_relative_to(request.folder) for model in models.installed()):
            st.badge(t("here already"), icon=":material/check:", color="green")
        elif st.button(
            t("Download"), key=f"get.{entry.id}", icon=":material/download:", disabled=settings.read().offline
        ):
            st.switch_page("views/jobs.py", query_params={"job": store.submit(request).id})
