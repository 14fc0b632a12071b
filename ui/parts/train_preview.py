"""What the model will see of the chosen rows: a job that reads them as the training will, and what it found."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.jobs import store
from core.jobs.store import Job
from core.launchers import look
from core.launchers.finetune import FinetuneRequest
from core.launchers.look import LookResult
from ui.i18n import t
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.train_data import own_name, why
from ui.parts.train_tokens import tokens

OPERATION = "train look"


def preview(request: FinetuneRequest | None) -> None:
    """Draw the button, the progress or what was found. None: something is still missing for it."""
    st.subheader(t("What the model will see"))
    if request is None:
        st.caption(t("Choose data and a model: then their rows can be looked at, token by token."))
        return
    asked = look.of(request)
    job = _of(asked)
    if job is not None and not job.over:
        st.fragment(_working, run_every=1)(job.id)
        return
    if job is not None and job.state == "done" and job.result:
        found(LookResult.model_validate(job.result), f"train.look.{job.id}")
        label = t("Look again")
    else:
        if job is not None and job.error is not None:
            show_error(job.error)
        st.caption(
            t("Reads the rows as the training will: tokens, what is learned, refused rows, duplicates. Nothing starts.")
        )
        label = t("Look at the rows")
    if st.button(label, key="train.look", icon=":material/visibility:"):
        with errors_shown():
            store.submit(asked)
            st.rerun()


def _of(asked: look.LookRequest) -> Job | None:
    """The newest look at exactly these rows with these settings."""
    wanted = asked.model_dump(mode="json")
    return next((job for job in store.all_jobs() if job.operation == OPERATION and job.request == wanted), None)


def _working(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    show_progress(job)
    if st.button(t("Cancel"), key="train.look.cancel", icon=":material/stop_circle:"):
        with errors_shown():
            store.cancel(job.id)


def found(seen: LookResult, key: str) -> None:
    """Counts, what is wrong, and samples token by token."""
    counts = t(
        "**{trained}** samples to train on, **{validated}** for validation · {tokens} tokens, {learned} of them "
        "learned · longest sample {longest} tokens · prompts in the form “{form}”",
        trained=f"{seen.trained:,}",
        validated=f"{seen.validated:,}",
        tokens=f"{seen.tokens:,}",
        learned=f"{seen.learned:,}",
        longest=f"{seen.longest:,}",
        form=t(seen.form),
    )
    st.markdown(counts)
    if not seen.whole:
        st.caption(t("Of the first {n} rows; the training reads all of them.", n=f"{seen.rows:,}"))
    _wrong(seen)
    if not seen.samples:
        st.warning(t("No row is left to train on."), icon=":material/warning:")
        return
    place = st.selectbox(
        t("Sample"),
        range(len(seen.samples)),
        format_func=lambda number: _label(seen.samples[number]),
        key=f"{key}.sample",
    )
    chosen = seen.samples[place or 0]
    tokens(chosen.pieces, key=f"{key}.tokens", cut=chosen.cut)


def _label(sample: look.Seen) -> str:
    said = t("{place} · {tokens} tokens, {learned} learned",
             place=own_name(sample.where), tokens=sample.tokens, learned=sample.learned)  # fmt: skip
    return f"{said} · {t('validation')}" if sample.validation else said


def _wrong(seen: LookResult) -> None:
    if not (seen.refused_rows or seen.duplicate_rows or seen.leaked_rows):
        st.markdown(f":green[:material/check:] {t('No row refused, no duplicates, no leaks into validation')}")
        return
    _table(
        t("{n} rows refused: they can't be learned from", n=f"{seen.refused_rows:,}"),
        [{t("Row"): own_name(one.where), t("Why"): why(one.where, one.why)} for one in seen.refused],
        seen.refused_rows,
        ":material/block:",
    )
    _table(
        t("{n} duplicates: samples that repeat another one word for word", n=f"{seen.duplicate_rows:,}"),
        [{t("Row"): own_name(row), t("repeats"): own_name(other)} for row, other in seen.duplicates],
        seen.duplicate_rows,
        ":material/content_copy:",
    )
    _table(
        t("{n} leaks: validation rows whose prompt is trained on; they are left out", n=f"{seen.leaked_rows:,}"),
        [{t("Validation row"): own_name(row), t("trained on as"): own_name(other)} for row, other in seen.leaks],
        seen.leaked_rows,
        ":material/water_drop:",
    )


def _table(title: str, rows: Sequence[dict[str, str]], count: int, icon: str) -> None:
    """Rows of plain text, folded open; it scrolls where there are many."""
    if not count:
        return
    with st.expander(title, expanded=True, icon=icon):
        with st.container(height=260 if len(rows) > 5 else "content", border=False):
            drawn = [{name: plain(cell) for name, cell in row.items()} for row in rows]
            st.table(drawn, border="horizontal", hide_index=True)
        if count > len(rows):
            st.caption(t("The first {n} of them.", n=len(rows)))
