"""Above the list: how far the recovery is, what the rest needs, and the one button; or its progress, or its receipt."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core import resources, settings
from core.inference import client
from core.jobs import store
from core.operation import Needs
from core.weights import recovery, recovery_run, recovery_steps
from core.weights.recovery import Key, Recovery
from core.weights.recovery_steps import Step
from ui.i18n import t
from ui.parts import recover_job
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.preflight import duration, show_needs
from ui.parts.recover_texts import title

CHAT_MODEL = "chat.model"
"""Chat's own key for its chosen model."""


def head(chosen: Recovery, steps: list[Step]) -> Key | None:
    """Draw it; the step that is running, if one is."""
    job = recover_job.latest(chosen.name)
    with st.container(border=True):
        if job is not None and not job.over:
            at = recover_job.current(chosen, job)
            st.fragment(_live, run_every=1)(chosen.name, job.id, at)
            return at or recovery.keys(chosen)[-1]
        left = [step.key for step in steps if not step.over]
        if job is not None and job.error is not None and left:
            show_error(job.error)
        if left:
            _offer(chosen, steps, left)
        else:
            _receipt(chosen)
    return None


def try_in_chat(chosen: Recovery) -> None:
    """Load the model and open Chat with it, where its loading shows."""
    with errors_shown():
        ref = recovery_steps.model_ref(chosen)
        client.load(ref, wait=False)
        st.session_state[CHAT_MODEL] = ref
        st.switch_page("views/chat.py")


def _offer(chosen: Recovery, steps: list[Step], left: list[Key]) -> None:
    needs = recovery_run.needs_of(chosen, left)
    total = len(steps)
    st.markdown(
        t("**{done} of {total} steps done.** Next: {step}.",
          done=total - len(left), total=total, step=plain(title(chosen, left[0])))
    )  # fmt: skip
    fits = show_all_needs(chosen, left, needs)
    lacking = recovery_steps.not_chosen(chosen)
    wrong = any(step.state == "wrong" for step in steps)
    with st.container(horizontal=True, vertical_alignment="center"):
        seconds = None if recovery_run.to_download(chosen, left) else needs.seconds
        label = _label(len(left), seconds, started=len(left) < total)
        offline = settings.read().offline and any(recovery_steps.downloads(chosen, key) for key in left)
        blocked = bool(lacking) or wrong or not fits or offline
        if st.button(label, type="primary", icon=":material/play_arrow:", key="recover.all", disabled=blocked):
            with errors_shown():
                recover_job.start(chosen.name)
                st.rerun()
        if lacking:
            st.caption(t("Still to be chosen: {steps}", steps=", ".join(plain(title(chosen, key)) for key in lacking)))
        elif wrong:
            st.caption(t("One step below says what is wrong."))
        elif offline:
            st.caption(t("Offline is switched on in Settings, so nothing is downloaded."))
        elif not fits:
            st.caption(t("One step at a time may fit: remove between them what has served."))
        else:
            st.caption(t("It goes on when you leave this page, and can be stopped and continued at any time."))


def show_all_needs(chosen: Recovery, keys: list[Key], needs: Needs) -> bool:
    """Needs of several steps; the time of downloads is not known, so it is said apart."""
    fetched = recovery_run.to_download(chosen, keys)
    fits = show_needs(replace(needs, seconds=None) if fetched else needs)
    if fetched:
        said = t("{size} to download; the steps after it take about {time}",
                 size=resources.size(fetched), time=duration(needs.seconds or 0))  # fmt: skip
        st.markdown(f":gray[:material/download:] {said}")
    return fits


def _label(count: int, seconds: float | None, *, started: bool) -> str:
    if count == 1:
        said = t("Run the last step")
    elif started:
        said = t("Continue: {n} steps", n=count)
    else:
        said = t("Run all {n} steps", n=count)
    return said if seconds is None else t("{what}, about {time}", what=said, time=duration(seconds))


def _live(name: str, job_id: str, drawn: Key | None) -> None:
    job = store.read(job_id)
    chosen = recovery.read(name)
    if job.over or recover_job.current(chosen, job) != drawn:
        st.rerun()
    keys = recovery.keys(chosen)
    if drawn is not None:
        place = keys.index(drawn) + 1
        st.markdown(t("**Step {n} of {total}:** {step}", n=place, total=len(keys), step=plain(title(chosen, drawn))))
    show_progress(job)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link("views/jobs.py", label=t("Details"), icon=":material/checklist:", query_params={"job": job.id})
        with st.popover(t("Cancel"), icon=":material/stop_circle:"):
            st.write(t("Stop this job? What it has finished so far is kept."))
            if st.button(t("Stop the job"), key="recover.cancel", icon=":material/stop_circle:"):
                with errors_shown():
                    store.cancel(job.id)


def _receipt(chosen: Recovery) -> None:
    took = recover_job.receipts(chosen.name)
    title_ = recovery_steps.final_card(chosen).title or chosen.name
    if took:
        said = t(
            "{model}: recovered in {time}, {memory} of memory",
            model=plain(title_),
            time=duration(sum(one["seconds"] for one in took.values())),
            memory=resources.size(max(one["memory"] for one in took.values())),
        )
    else:
        said = t("{model}: recovered", model=plain(title_))
    st.markdown(f":green[:material/check_circle:] **{said}**")
    st.caption(plain(str(recovery.out_of(chosen, "export"))))
    if st.button(t("Try it in chat"), type="primary", icon=":material/chat:", key="recover.chat"):
        try_in_chat(chosen)
