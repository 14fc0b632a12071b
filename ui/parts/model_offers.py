"""Catalog models that read a language and fit this machine, each with what it costs, and their download."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import resources, settings
from core.jobs import store
from core.weights import catalog
from core.weights.catalog import Suggestion
from core.weights.download import DownloadRequest, for_entry
from ui.i18n import language as page_language
from ui.i18n import t
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.preflight import duration

OPERATION = "models download"
SOURCES = ("hub", "modelscope")


def model_offers(language: str, rows: int) -> None:
    """Three models of different size, each with size, licence and the time that `rows` rows take, and a button."""
    offered = spread(catalog.for_language(language, resources.machine()))
    if not offered:
        st.caption(t("No model of the catalog reads this language and fits this machine: use a file or a server."))
        return
    offline = settings.read().offline
    source = st.segmented_control(
        t("Download from"),
        SOURCES,
        default="modelscope" if page_language() == "zh" else "hub",
        format_func=lambda name: {"hub": "Hugging Face", "modelscope": "ModelScope"}[name],
        key="extract.source",
        required=True,
        disabled=offline,
    )
    if offline:
        st.caption(t("Offline is switched on in Settings, so nothing is downloaded."))
    for column, suggestion in zip(st.columns(len(offered)), offered, strict=True):
        with column, st.container(border=True, height="stretch"):
            _offer(suggestion, source or "hub", rows, offline)


def spread(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    """The smallest, a middle one and the largest of those that run as they are downloaded."""
    ready = sorted(
        (one for one in suggestions if one.entry.format == "gguf" and one.entry.sources),
        key=lambda one: one.entry.parameters,
    )
    places = sorted({0, len(ready) // 2, len(ready) - 1}) if ready else []
    return [ready[place] for place in places]


def one_file() -> None:
    """A single .gguf of any repository, by its name."""
    with st.form("extract.one_file", border=False):
        repo_column, file_column = st.columns(2)
        repo = repo_column.text_input(t("Repository"), placeholder="owner/name", key="extract.one_file.repo")
        file = file_column.text_input(t("File"), placeholder="model-q4_k_m.gguf", key="extract.one_file.file")
        pressed = st.form_submit_button(
            t("Download this file"), icon=":material/download:", disabled=settings.read().offline
        )
    if pressed and repo.strip() and file.strip():
        with errors_shown():
            store.submit(request_of(repo.strip(), file.strip(), st.session_state.get("extract.source") or "hub"))
            st.rerun()


def request_of(repo: str, file: str, source: str) -> DownloadRequest:
    """Raises UserError where the repository's name can't be one."""
    from pydantic import ValidationError

    from core.errors import UserError

    try:
        return DownloadRequest(repo=repo, file=file, source=source)  # type: ignore[arg-type]
    except ValidationError as error:
        raise UserError(
            "“{repo}” is not the name of a repository.",
            remedy="Write it as owner/name, as its page shows it.",
            repo=repo,
        ) from error


def running_downloads() -> None:
    """Progress of what is being fetched; the model joins the list when it is there."""
    for job in store.all_jobs(limit=20):
        if job.operation == OPERATION and not job.over:
            st.fragment(_progress, run_every=1)(job.id)
        elif job.operation == OPERATION and job.error is not None and job.ended and _is_latest(job):
            show_error(job.error)


def _is_latest(job: store.Job) -> bool:
    """No later download: an old failure is not told again and again."""
    latest = next((one for one in store.all_jobs(limit=20) if one.operation == OPERATION), None)
    return latest is not None and latest.id == job.id


def _progress(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    with st.container(border=True):
        st.markdown(f"**{plain(str(job.request.get('repo', '')))}**")
        show_progress(job)
        if st.button(t("Cancel"), icon=":material/stop_circle:", key=f"extract.download.cancel.{job.id}"):
            with errors_shown():
                store.cancel(job.id)


def _offer(suggestion: Suggestion, source: str, rows: int, offline: bool) -> None:
    entry = suggestion.entry
    st.markdown(f"**{plain(entry.title)}**")
    st.caption(
        f":material/license: {plain(entry.license)}  \n:material/schedule: {plain(time_text(suggestion, rows))}"
        f"  \n:material/memory: {plain(t(suggestion.fit.why, **suggestion.fit.values))}"
    )
    label = t("Download, {size}", size=resources.size(entry.bytes))
    if st.button(label, icon=":material/download:", key=f"extract.download.{entry.id}", disabled=offline):
        with errors_shown():
            store.submit(for_entry(entry, source))  # type: ignore[arg-type]
            st.rerun()


def time_text(suggestion: Suggestion, rows: int) -> str:
    if not suggestion.rows_per_second:
        return t("runs on the GPU") if suggestion.fit.device == "gpu" else t("time not known")
    return t("{n} rows: about {time}", n=f"{rows:,}", time=duration(rows / suggestion.rows_per_second))
