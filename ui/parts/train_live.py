"""A training that runs or waits: how far it is, its curves, and its pause."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.errors import UserError
from core.jobs import store
from core.launchers import contract, earlier
from ui.i18n import t
from ui.parts import train_runs
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.pretrain_result import along_the_way
from ui.parts.train_chart import curves, numbers
from ui.parts.train_runs import Training, metrics, waits_for

LOG_LINES = 6


def live(out: Path, job_id: str) -> None:
    """Drawn anew every two seconds; the whole page once it is over."""
    st.fragment(_live, run_every=2)(out, job_id)


def _live(out: Path, job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    series, last = metrics(out)
    with st.container(border=True):
        before = waits_for(Training(out, job))
        if before is not None:
            _waiting(before)
        elif not job.done:
            _starting(job)
        show_progress(job)
        with st.container(horizontal=True, vertical_alignment="center"):
            _pause(out, job)
            if saved := earlier.checkpoints(out):
                st.caption(t("Last checkpoint: {name}", name=plain(saved[-1].name)), width="content")
    if series:
        numbers(last)
        curves(series, f"train.curves.{out.name}")
    along_the_way(out)


def _waiting(before: store.Job) -> None:
    name = train_runs.name_of(Path(str(before.request.get("out", ""))))
    st.info(
        t("Another training, “{name}”, has the machine. This one starts when it has ended.", name=plain(name)),
        icon=":material/queue:",
    )


def _starting(job: store.Job) -> None:
    """What it does before its first step, in its own words."""
    st.caption(t("Getting ready: reading the rows, loading the model, measuring it before training."))
    lines = [line for line in store.log_lines(job.id, last=LOG_LINES) if not line.startswith("---")]
    if lines:
        st.code("\n".join(lines), language=None, wrap_lines=True)


def _pause(out: Path, job: store.Job) -> None:
    """A file that the training looks for at every step's end; a wish to cancel would kill a long step."""
    if (out / contract.STOP).exists() or job.cancelling:
        st.caption(f":material/hourglass_top: {t('Pausing: it saves at the end of this step.')}", width="content")
    elif job.done and st.button(t("Pause"), key="train.pause", icon=":material/pause_circle:"):
        try:
            (out / contract.STOP).touch()
        except OSError as error:
            show_error(
                UserError(
                    "The training can't be asked to pause: {why}.",
                    remedy="Stop it with Cancel instead; it goes on from its last checkpoint.",
                    why=error.strerror or error,
                )
            )
        else:
            st.rerun(scope="fragment")
    with st.popover(t("Cancel"), icon=":material/stop_circle:"):
        st.write(t("Stop at once? A step that takes longer than ten seconds is lost; the last checkpoint is kept."))
        if st.button(t("Stop the training"), key="train.cancel", icon=":material/stop_circle:"):
            with errors_shown():
                store.cancel(job.id)
