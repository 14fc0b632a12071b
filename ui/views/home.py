"""Home: what is loaded, what the machine has left, what runs, and what to do next."""

from __future__ import annotations

import streamlit as st

from core import models, resources, settings
from core.errors import UserError
from core.inference import client
from core.jobs import store
from ui.i18n import t
from ui.parts.errors import plain, show_error
from ui.parts.job_panel import operation_title, progress_text, state_badge, when
from ui.parts.next_steps import Step, next_steps
from ui.parts.starter_card import latest_fetch, nothing_to_run, starter_card

RECENT = 5
LIVE_SECONDS = 2


def page() -> None:
    st.title("KnowLM Studio")
    jobs = store.all_jobs()
    fetching = latest_fetch()
    if nothing_to_run() or (fetching is not None and not fetching.over):
        starter_card()
    loaded, machine = st.columns([2, 3], gap="medium")
    status = client.status()
    with loaded:
        _loaded(status)
    with machine:
        st.fragment(_gauges, run_every=LIVE_SECONDS * 5)()
    known = len(models.installed()) + len(settings.read().local_models) + len(settings.read().endpoints)
    _steps(next_steps(jobs, models=known, loaded=status.title if status.state == "ready" else ""))
    if jobs:
        live = any(not job.over for job in jobs[:RECENT]) or status.state == "loading"
        st.subheader(t("Recent jobs"))
        st.fragment(_recent, run_every=LIVE_SECONDS if live else None)(live)


def _loaded(status: client.HostStatus) -> None:
    with st.container(border=True, height="stretch"):
        st.caption(t("Loaded model"))
        if status.state == "empty":
            st.markdown(f"**{t('None')}**")
            st.caption(t("It is loaded when Chat or Extract first needs it."))
        elif status.state == "died":
            show_error(status.error or UserError("The model host stopped.", remedy="Load the model again."))
        else:
            st.markdown(f"**{plain(status.title)}**")
            st.caption(t("loading…") if status.state == "loading" else t("on {engine}", engine=status.engine))
            st.caption(plain(status.why_engine))


def _gauges() -> None:
    machine = resources.machine()
    gauges = [(t("Memory"), machine.ram_total, machine.ram_free)]
    gauges += [(card.name, card.total, card.free) for card in machine.gpus]
    gauges += [(t("Disk"), machine.disk_total, machine.disk_free)]
    with st.container(border=True, height="stretch"):
        st.caption(t("This machine"))
        for column, (name, total, free) in zip(st.columns(len(gauges)), gauges, strict=True):
            with column:
                st.metric(name, t("{size} free", size=resources.size(free)))
                used = t("{used} of {total} used", used=resources.size(total - free), total=resources.size(total))
                st.progress(min(1.0, max(0.0, 1 - free / total)), text=used)


def _steps(steps: list[Step]) -> None:
    st.subheader(t("What next"))
    for column, step in zip(st.columns(len(steps)), steps, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.page_link(
                f"views/{step.page}.py", label=f"**{plain(step.title)}**", icon=step.icon, query_params=step.query
            )
            st.caption(plain(step.why))


def _recent(live: bool) -> None:
    jobs = store.all_jobs()[:RECENT]
    if live and all(job.over for job in jobs) and client.status().state != "loading":
        st.rerun()
    for job in jobs:
        with st.container(horizontal=True, vertical_alignment="center"):
            state_badge(job.state)
            st.page_link("views/jobs.py", label=plain(operation_title(job.operation)), query_params={"job": job.id})
            st.caption(when(job.created) if job.over else progress_text(job), width="content")


page()
