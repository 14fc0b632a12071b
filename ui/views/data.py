"""Data: texts become a corpus to pretrain on: sources, rules, a build; then its ledger, what was dropped, samples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import streamlit as st
from pydantic import ValidationError

from core import paths
from core.errors import UserError
from core.jobs import store
from core.launchers.corpus import BuildRequest, Source
from ui.i18n import t
from ui.parts import data_corpora, data_sources
from ui.parts.data_corpora import Corpus, name_of
from ui.parts.data_inspect import inspect
from ui.parts.data_ledger import ledger_table
from ui.parts.data_preview import preview
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress, state_badge, state_name, when
from ui.parts.preflight import preflight
from ui.parts.request_form import request_form
from ui.parts.train_base import trainable

SHOWN = "corpus"  # the query parameter that names the corpus shown
NAME = re.compile(r"[\w][\w .-]{0,79}")


def page() -> None:
    known = data_corpora.all_corpora()
    wanted = st.query_params.get(SHOWN)
    shown = next((one for one in known if name_of(one.out) == wanted), None)
    _title(known, shown)
    if wanted and shown is None:
        st.info(t("The corpus “{name}” is no longer there.", name=plain(Path(wanted).name)), icon=":material/help:")
    if shown is None:
        _setup(known)
    else:
        with errors_shown():
            _corpus(shown)


def _title(known: list[Corpus], shown: Corpus | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(t("Data"), width="stretch")
        if known:
            labels = {"": t("New corpus"), **{name_of(one.out): _label(one) for one in known}}
            st.session_state["data.chosen"] = name_of(shown.out) if shown else ""
            st.selectbox(
                t("Corpora"),
                list(labels),
                format_func=lambda name: labels.get(name, name),
                key="data.chosen",
                on_change=lambda: _show(st.session_state["data.chosen"]),
                label_visibility="collapsed",
                width=340,
            )
    if shown is None:
        st.caption(t("Texts become a corpus that a model can be pretrained on: read, cleaned, without copies, packed."))


def _label(corpus: Corpus) -> str:
    if corpus.job is None:
        return corpus.out.name
    return f"{corpus.out.name} · {when(corpus.job.created)} · {state_name(corpus.job.state)}"


def _show(name: str) -> None:
    if name:
        st.query_params[SHOWN] = name
    else:
        st.query_params.pop(SHOWN, None)


def _setup(known: list[Corpus]) -> None:
    """Left the sources and what becomes of their texts, right rules, tokenizer and start."""
    for one in (one for one in known if one.job is not None and not one.job.over):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/database: **{plain(name_of(one.out))}**", width="content")
            state_badge(one.job.state if one.job else "running")
            if st.button(t("Watch it"), key=f"data.watch.{one.out.name}", icon=":material/visibility:"):
                _show(name_of(one.out))
                st.rerun()
    left, right = st.columns([11, 10], gap="medium")
    with left, st.container(border=True):
        st.subheader(t("1 · Sources"))
        sources = data_sources.sources_chooser()
    with right, st.container(border=True):
        st.subheader(t("2 · Rules and tokenizer"))
        request, judged = _request(sources)
        _start(request, sources)
    with left, st.container(border=True):
        preview(judged)


def _request(sources: tuple[Source, ...]) -> tuple[BuildRequest | None, BuildRequest | None]:
    """(the build, or None while something is missing; the same for the preview, which needs no tokenizer)."""
    free = data_corpora.new_name(sources[0].name if sources else "corpus")
    name = st.text_input(t("Name"), free, key=f"data.name.{free}", max_chars=80).strip()
    out = paths.corpora() / name
    usual: dict[str, Any] = {"sources": sources, "out": out}
    if base := next(iter(trainable()), None):
        usual["tokenizer"] = base.ref
    request = request_form(BuildRequest, "data.form", hide=("sources", "out"), defaults=usual)
    judged = request
    if request is None and sources:
        try:  # the preview goes by the rules' own settings until the form is complete
            judged = BuildRequest(sources=sources, out=out, tokenizer="–")
        except (UserError, ValidationError):
            judged = None
    if not NAME.fullmatch(name) or out.exists():
        st.caption(
            f":red[:material/error:] {t('Choose a name that no corpus has yet: letters, digits, dots, dashes.')}"
        )
        request = None
    return request, judged


def _start(request: BuildRequest | None, sources: tuple[Source, ...]) -> None:
    fits = False
    ready = request if sources else None
    if ready is not None:
        with errors_shown():
            fits = preflight(ready)
    if st.button(
        t("Build the corpus"),
        type="primary",
        icon=":material/play_arrow:",
        key="data.start",
        disabled=not fits,
        help=None if sources else t("Choose sources first."),
    ) and ready is not None:  # fmt: skip
        with errors_shown():
            store.submit(ready)
            _show(name_of(ready.out))
            st.rerun()


def _corpus(corpus: Corpus) -> None:
    job = corpus.job
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(name_of(corpus.out))}**", width="content")
        if job is not None:
            state_badge(job.state)
            st.caption(when(job.created), width="content")
            st.page_link("views/jobs.py", label=t("Job"), icon=":material/checklist:", query_params={"job": job.id})
    if job is not None and not job.over:
        st.fragment(_working, run_every=1)(job.id)
        return
    ledger = corpus.ledger
    if ledger is None:
        _unfinished(corpus)
        return
    if job is not None and job.error is not None:
        show_error(job.error)
    _numbers(corpus)
    with st.container(border=True):
        st.subheader(t("Ledger"))
        ledger_table(corpus, ledger)
    if any(source.rows for source in ledger.sources):
        inspect(corpus, ledger)
    st.caption(t("To pretrain on it: {command}", command=f"`python -m core train pretrain --corpus {corpus.out} …`"))


def _working(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    show_progress(job)
    with st.popover(t("Cancel"), icon=":material/stop_circle:"):
        st.write(t("Stop this build? What it has finished is kept; started again, it goes on."))
        if st.button(t("Stop the build"), key=f"data.cancel.{job_id}", icon=":material/stop_circle:"):
            store.cancel(job_id)
            st.rerun()
    if lines := store.log_lines(job_id, last=8):
        st.code("\n".join(lines), language=None, wrap_lines=True)


def _unfinished(corpus: Corpus) -> None:
    if corpus.job is not None and corpus.job.error is not None:
        show_error(corpus.job.error)
    else:
        st.info(
            t("This corpus is not finished. What was done is kept; started again, it goes on."), icon=":material/pause:"
        )
    if corpus.job is not None and st.button(
        t("Go on"), type="primary", icon=":material/play_arrow:", key=f"data.go.{name_of(corpus.out)}"
    ):
        with errors_shown():
            store.restart(corpus.job.id)
            st.rerun()


def _numbers(corpus: Corpus) -> None:
    ledger = corpus.ledger
    if ledger is None:
        return
    rows = sum(source.rows for source in ledger.sources)
    tokens = sum(source.tokens for source in ledger.sources)
    shown = (
        (t("Documents"), f"{sum(source.packed.documents for source in ledger.sources):,}"),
        (t("Tokens"), f"{tokens:,}"),
        (t("Samples"), f"{sum(source.samples for source in ledger.sources):,}"),
        (t("Fill"), f"{tokens / max(1, rows * ledger.length):.2%}"),
    )
    with st.container(border=True, horizontal=True):
        for label, value in shown:
            st.metric(label, value, width="content")


page()
