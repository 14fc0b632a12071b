"""The audit of a run: drawing its sample, judging it, and what that says; without gold, honest and with intervals."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.extract.audit import FILE, Audit
from core.extract.audit_run import SampleRequest, me
from core.extract.audit_sample import Method
from core.extract.audit_score import Share
from core.extract.audit_share import compare
from core.extract.audit_values import SampleInfo
from core.jobs import store
from ui.i18n import t
from ui.parts.audit_judge import judge
from ui.parts.errors import errors_shown
from ui.parts.eval_sources import run_label, runs_with_rows
from ui.parts.eval_view import figure
from ui.parts.eval_words import verdict_name
from ui.parts.job_panel import job_panel, when
from ui.parts.labels import distinct
from ui.parts.runs import Run

RUN = "audit"  # the query parameter that names the run
SIZES = (50, 100, 200, 400)


def audit_view() -> None:
    known = runs_with_rows()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        folder = _choose(known)
        if folder is not None:
            st.text_input(t("Judged by"), value=me(), key="audit.who", width=200, persist_state="session")
    if folder is None:
        return
    with errors_shown():
        audit = Audit(folder)
        made = audit.samples()
        job = _job(folder)
        if job is not None and not job.over:
            job_panel(job.id)
            return
        if job is not None and job.state in ("failed", "died") and not made:
            job_panel(job.id)
        if not made:
            _begin(folder, known)
            return
        _audited(audit, made[0], known)


def _choose(known: dict[str, Run]) -> str | None:
    if not known:
        st.info(t("Extract first: there is no run to judge."), icon=":material/info:")
        st.page_link("views/extract.py", label=t("Extract from your own text"), icon=":material/arrow_forward:")
        return None
    labels = distinct({folder: run_label(run) for folder, run in known.items()})
    names, asked = list(labels), st.query_params.get(RUN, "")
    at = next((place for place, name in enumerate(names) if asked in (name, Path(name).name)), 0)
    return st.selectbox(
        t("Extraction run"),
        names,
        index=at,
        format_func=lambda folder: labels.get(folder, folder),
        key=f"audit.run.{hash(tuple(names))}.{asked}",
        width=460,
    )


def _job(folder: str) -> store.Job | None:
    """The newest that drew a sample of this run."""
    jobs = (job for job in store.all_jobs() if job.operation == "extract audit sample")
    return next((job for job in jobs if job.request.get("run") == folder), None)


def _begin(folder: str, known: dict[str, Run]) -> None:
    """What an audit is, and drawing its sample."""
    with st.container(border=True):
        st.markdown(
            t(
                "You judge a random sample of the run's sentences: each of its records right or wrong, and what is "
                "missing added. That tells precision and recall of the whole run, with intervals. The sample is "
                "never chosen by confidence: the hard cases alone would tell nothing about the rest."
            )
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            size = st.segmented_control(
                t("Sentences"), SIZES, default=100, key="audit.size", required=True, help=_how_sure()
            )
            method: Method = st.segmented_control(
                t("Sample"),
                ("simple", "stratified"),
                default="simple",
                format_func=lambda method: {"simple": t("all alike"), "stratified": t("half with records")}[method],
                key="audit.method",
                required=True,
                help=t("Half with records: better where most sentences hold nothing; the score makes up for it."),
            )
        others = [other for other in known if other != folder and (Path(other) / FILE).exists()]
        shared = None
        if others:
            shared = st.selectbox(
                t("Judge the same sentences as of"),
                others,
                index=None,
                format_func=lambda other: run_label(known[other]),
                key="audit.same_as",
                placeholder=t("a sample of its own"),
                help=t("Runs on the same texts can then be compared in pairs, and what was judged once is filled in."),
            )
        if st.button(
            t("Draw {n} sentences", n=size) if shared is None else t("Draw the same sentences"),
            type="primary",
            icon=":material/casino:",
            key="audit.draw",
        ):
            with errors_shown():
                same = Path(shared) if shared else None
                store.submit(SampleRequest(run=Path(folder), size=size, method=method, same_as=same, who=_who()))
                st.rerun()


def _how_sure() -> str:
    return t("About 100 sentences leave ± 8 points or so; four times as many halve that.")


def _who() -> str:
    return str(st.session_state.get("audit.who") or "").strip() or me()


def _audited(audit: Audit, info: SampleInfo, known: dict[str, Run]) -> None:
    made = audit.scores(info)
    with st.container(horizontal=True):
        _figure(t("precision").capitalize(), made.precision, t("Of what was found, how much is right"))
        _figure(t("recall").capitalize(), made.recall, t("Of what there is, how much was found"))
        _figure("F1", made.f1, t("The harmonic mean of the two: the score to quote"))
    whole = sum(info.population.values())
    told = t("{n} of {all} sentences judged", n=info.judged, all=info.size)
    drawn = t("drawn at random from {n}, {when}", n=f"{whole:,}", when=when(info.made_at))
    st.caption(f"{told} · {drawn} · {t('95% intervals, sentences being what was drawn')}")
    _compare(audit, known)
    judge(audit, info, _who())


def _figure(label: str, share: Share | None, help: str) -> None:
    if share is None:
        st.metric(label, "–", help=help, border=True, width=220)
    else:
        figure(label, share.value, share.interval, help)


def _compare(audit: Audit, known: dict[str, Run]) -> None:
    """With other runs that were judged on the same sentences."""
    others = [other for other in known if Path(other) != audit.folder and (Path(other) / FILE).exists()]
    for other in others:
        if not _shares(audit, Audit(other)):
            continue
        with errors_shown():
            made = compare(other, audit.folder)
            low, high = made.interval
            st.markdown(
                t(
                    "Against {other}, on {n} sentences judged for both: **{verdict}**, F1 {before} → {after} "
                    "({low} to {high}).",
                    other=run_label(known[other]),
                    n=made.documents,
                    verdict=verdict_name(made.verdict),
                    before=f"{made.before:.3f}",
                    after=f"{made.after:.3f}",
                    low=f"{low:+.3f}",
                    high=f"{high:+.3f}",
                )
            )


def _shares(audit: Audit, other: Audit) -> bool:
    """Whether one's sample is the other's, and both have judged sentences."""
    mine, theirs = audit.newest(), next(iter(other.samples()), None)
    if theirs is None or not mine.judged or not theirs.judged:
        return False
    return mine.origin == str(other.folder.resolve()) or theirs.origin == str(audit.folder.resolve())
