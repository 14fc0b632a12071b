"""Would more data help? The same training on a quarter, half and all of its rows, asked for after it has ended."""

from __future__ import annotations

from typing import Any

import streamlit as st
from pydantic import ValidationError

from core import operation
from core.jobs import store
from core.launchers import curve
from core.launchers.curve import CurveRequest
from ui.i18n import t
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.preflight import show_needs
from ui.parts.train_runs import Training

OPERATION = "train curve"


def more_data(training: Training) -> None:
    """Draw the offer, its progress, or what it found."""
    with st.expander(t("Would more data help?"), icon=":material/ssid_chart:"):
        out = training.out.with_name(f"{training.out.name}-curve")
        made = [job for job in store.all_jobs() if job.operation == OPERATION and job.request.get("out") == str(out)]
        job = made[0] if made else None
        if job is not None and not job.over:
            st.fragment(_working, run_every=2)(job.id)
            return
        if job is not None and job.state == "done" and job.result:
            _found(job.result)
            return
        if job is not None and job.error is not None:
            show_error(job.error)
        _offer(training, str(out))


def _offer(training: Training, out: str) -> None:
    st.caption(
        t("Trains three times, on 25, 50 and 100 % of the rows, and compares the losses on the same validation part.")
    )
    known = {name: value for name, value in training.asked.items() if name in CurveRequest.model_fields}
    try:
        request = CurveRequest.model_validate(known | {"out": out, "resume": "", "dry_run": False})
    except ValidationError as error:
        st.error(plain(str(error.errors(include_url=False)[0]["msg"])), icon=":material/error:")
        return
    with errors_shown():
        fits = show_needs(operation.of(request).estimate(request))
        if st.button(t("Find out"), icon=":material/ssid_chart:", key="train.curve", disabled=not fits):
            store.submit(request)
            st.rerun()


def _working(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    show_progress(job)
    st.page_link("views/jobs.py", label=t("Details"), icon=":material/checklist:", query_params={"job": job.id})


def _found(result: dict[str, Any]) -> None:
    points = result["points"]
    rows = [
        {
            t("Share of the data"): f"{point['share']:.0%}",
            t("Samples"): f"{point['samples']:,}",
            t("Validation loss"): "–" if point["eval_loss"] is None else f"{point['eval_loss']:.3f}",
        }
        for point in points
    ]
    st.table(rows, border="horizontal", hide_index=True, width="content")
    half, whole = points[-2]["eval_loss"], points[-1]["eval_loss"]
    if not half or whole is None:
        st.markdown(t("Nothing was kept for validation, so the shares can't be compared."))
        return
    gain = (half - whole) / half
    if gain > curve.LEVEL:
        said = t("The second half of the rows lowered the loss by {gain}: more would likely help.", gain=f"{gain:.1%}")
        st.markdown(f":green[:material/trending_up:] {said}")
    else:
        said = t("The second half of the rows changed the loss by {gain}: more of them would hardly help.",
                 gain=f"{-gain:+.1%}")  # fmt: skip
        st.markdown(f":gray[:material/trending_flat:] {said}")
