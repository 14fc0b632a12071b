"""Types proposed from the chosen file's first texts: asked for in a dialog, worked out by a job, shown with counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import streamlit as st

from core.errors import UserError
from core.extract.propose_run import ProposeRequest
from core.extract.schema import TASKS
from core.jobs import store
from ui.i18n import t
from ui.parts import source_file
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.model_choice import KEY as MODEL
from ui.parts.schema_editor import free_place, slug

JOB = "extract.schema.proposing"
TEXTS = 20
WAYS: tuple[Literal["auto", "known", "free"], ...] = ("auto", "known", "free")


def ask(language: str | None) -> None:
    """Open the dialog that starts it."""
    st.dialog(t("Propose types from the texts"))(_ask)()


def _ask() -> None:
    path = st.session_state.get(source_file.CHOSEN)
    model = st.session_state.get(MODEL)
    if not path or not model:
        st.info(t("Choose a file with texts and a model first."), icon=":material/help:")
        return
    st.markdown(
        t(
            "The model reads the first texts of the file. One that was trained for extraction is asked for the "
            "ready-made schemas' types, and those that the texts have are counted; any other names types itself."
        )
    )
    count = st.number_input(t("Texts to read"), 1, 200, TEXTS, key="schema_propose.count")
    tasks = st.pills(
        t("What to extract"),
        TASKS,
        selection_mode="multi",
        default=TASKS[:2],
        format_func=lambda task: {"ner": t("Entities"), "re": t("Relations"), "ee": t("Events")}[task],
        key="schema_propose.tasks",
    )
    method = st.selectbox(
        t("Way"),
        WAYS,
        format_func=lambda way: {
            "auto": t("As the model can"),
            "known": t("Count the types of the ready-made schemas"),
            "free": t("Let the model name types"),
        }[way],
        key="schema_propose.method",
    )
    if not st.button(t("Propose"), type="primary", key="schema_propose.start", disabled=not tasks):
        return
    with errors_shown():
        request = ProposeRequest(
            input=Path(path),
            text_column=st.session_state.get(source_file.key_of(Path(path), "column")),
            count=int(count),
            task=tuple(tasks),
            out=free_place(slug(f"{Path(path).stem} {t('proposed')}")),
            model=model,
            method=method,
        )
        st.session_state[JOB] = store.submit(request).id
        st.rerun()


def under_way(used: Callable[[str], None]) -> None:
    """The job that was started here: how far it is, then what it found; `used` gets the schema's path, once."""
    job_id = st.session_state.get(JOB)
    if job_id is None:
        return
    try:
        job = store.read(job_id)
    except UserError:
        del st.session_state[JOB]
        return
    with st.container(border=True):
        if not job.over:
            st.fragment(_progress, run_every=1)(job_id)
            return
        if job.error is not None:
            show_error(job.error)
        elif job.result is not None:
            _found(job.result)
            if st.session_state.get(f"{JOB}.used") != job_id:
                st.session_state[f"{JOB}.used"] = job_id
                used(str(job.result["out"]))
                st.rerun()
        if st.button(t("Close"), icon=":material/close:", type="tertiary", key="schema_propose.close"):
            del st.session_state[JOB]
            st.rerun()


def _progress(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    st.markdown(t("Looking for types in the texts…"))
    show_progress(job)
    if st.button(t("Stop"), icon=":material/stop_circle:", key="schema_propose.stop"):
        store.cancel(job_id)


def _found(result: dict) -> None:
    if result["method"] == "known":
        st.markdown(t("Types of the ready-made schemas that these {n} texts have; none is new.", n=result["read"]))
    else:
        st.markdown(
            t(
                "Types that the model named for these {n} texts. Look them over: it may call one thing by two names. "
                "{dropped} were left out, since no words of the text stood for them.",
                n=result["read"],
                dropped=result["dropped"],
            )
        )
    st.dataframe(
        [
            {
                t("Type"): one["name"],
                t("Task"): {"ner": t("Entities"), "re": t("Relations"), "ee": t("Events")}[one["task"]],
                t("Texts"): one["texts"],
                t("Times"): one["mentions"],
                t("Examples"): "; ".join(map(str, one["examples"])),
                t("Left out, same as"): one.get("same_as", ""),
            }
            for one in result["candidates"]
        ],
        hide_index=True,
    )
    kept = t("{n} of them are in the schema “{name}”.", n=result["kept"], name=Path(str(result["out"])).stem)
    st.caption(plain(kept))
