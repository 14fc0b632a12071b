"""Train: fine-tune on examples or pretrain on a corpus: choose, look, start; then the curves and what came of it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.launchers import gpu
from core.launchers.finetune import FinetuneRequest
from ui.i18n import error_text, t
from ui.parts import pretrain_result, pretrain_setup, train_data, train_runs
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import state_badge, state_name, when
from ui.parts.train_base import base_chooser, trainable
from ui.parts.train_chart import curves, numbers
from ui.parts.train_curve import more_data
from ui.parts.train_live import live
from ui.parts.train_method import method_chooser
from ui.parts.train_preview import preview
from ui.parts.train_result import receipt, to_a_model
from ui.parts.train_resume import resume
from ui.parts.train_runs import Training, metrics, name_of
from ui.parts.train_settings import settings_form
from ui.parts.train_start import loaded_model, name_input, start_button

FINETUNE, PRETRAIN = "finetune", "pretrain"
SHOWN = "training"  # the query parameter that names the training shown


def page() -> None:
    known = train_runs.all_trainings()
    wanted = st.query_params.get(SHOWN)
    shown = next((one for one in known if name_of(one.out) == wanted), None)
    _title(known, shown)
    if wanted and shown is None:
        st.info(t("The training “{name}” is no longer there.", name=plain(Path(wanted).name)), icon=":material/help:")
    if shown is None:
        _setup(known)
    else:
        with errors_shown():
            _training(shown)


def _title(known: list[Training], shown: Training | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(t("Train"), width="stretch")
        if known:
            _chooser(known, shown)


def _chooser(known: list[Training], shown: Training | None) -> None:
    labels = {"": t("New training"), **{name_of(one.out): _label(one) for one in known}}
    st.session_state["train.chosen"] = name_of(shown.out) if shown else ""
    st.selectbox(
        t("Trainings"),
        list(labels),
        format_func=lambda name: labels.get(name, name),
        key="train.chosen",
        on_change=lambda: _show(st.session_state["train.chosen"]),
        label_visibility="collapsed",
        width=340,
    )


def _label(training: Training) -> str:
    if training.job is None:
        return training.out.name
    return f"{training.out.name} · {when(training.job.created)} · {_state(training)}"


def _state(training: Training) -> str:
    if training.job is None:
        return ""
    if training.job.state == "done" and training.result is None:
        return t("paused")
    return state_name(training.job.state)


def _show(name: str) -> None:
    if name:
        st.query_params[SHOWN] = name
    else:
        st.query_params.pop(SHOWN, None)


def _setup(known: list[Training]) -> None:
    """Left the rows and what a model sees of them, right model, method and start; one under the other if narrow."""
    for one in (one for one in known if one.running):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/model_training: **{plain(name_of(one.out))}**", width="content")
            state_badge(one.job.state if one.job else "running")
            if st.button(t("Watch it"), key=f"train.watch.{one.out.name}", icon=":material/show_chart:"):
                _show(name_of(one.out))
                st.rerun()
    if _kind() == PRETRAIN:
        st.caption(t("A model learns a language, or more of it, from a large corpus of plain text."))
        if started := pretrain_setup.setup():
            _show(name_of(started.out))
            st.rerun()
        return
    st.caption(t("A model learns from your own examples: prompts, and the answers that you want to them."))
    left, right = st.columns([11, 10], gap="medium")
    with left, st.container(border=True):
        st.subheader(t("1 · Data"))
        train_data.data_chooser()
        train_data.validation_chooser()
    with right:
        request = _choices()
    with left, st.container(border=True):
        preview(request)


def _kind() -> str | None:
    titles = {FINETUNE: t("Fine-tune on examples"), PRETRAIN: t("Pretrain on a corpus")}
    return st.segmented_control(
        t("What to train on"),
        list(titles),
        default=None if "train.kind" in st.session_state else FINETUNE,
        required=True,
        format_func=lambda kind: titles[kind],
        key="train.kind",
        label_visibility="collapsed",
        persist_state="session",
    )


def _choices() -> FinetuneRequest | None:
    """Model, method, settings, name and the button; the request, or None while something is missing."""
    data, validation = train_data.chosen("data"), train_data.chosen("validation")
    with st.container(border=True):
        st.subheader(t("2 · Model and method"))
        if note := gpu.unused():
            st.warning(
                f"**{plain(error_text(note)[0])}**\n\n{plain(error_text(note)[1])}", icon=":material/developer_board:"
            )
        base = base_chooser()
        if base is None:
            start_button(None, t("Choose a model first."), main=bool(trainable()))
            return None
        ref, shape = base
        example = train_data.is_example()
        preset, settings = method_chooser(ref, shape, data, example=example)
    with st.container(border=True):
        st.subheader(t("3 · Start"))
        out = name_input(f"{data[0].stem.rpartition('-')[2] if data else 'training'}-{preset}")
        unload = loaded_model()
        given = {**settings, "base": ref, "validation": validation, "unload_host": unload}
        given |= {"data": data or (Path("–"),), "out": out or train_runs.folder() / ".none"}
        request = settings_form(f"train.{preset}.{shape.context}.{int(example)}", given)
        missing = "" if data else t("Choose data first.")
        if out is None or request is None:
            missing = t("Correct what is marked first.")
        if start_button(None if missing else request, missing) and request is not None:
            _show(name_of(request.out))
            st.rerun()
    return None if missing else request


def _training(training: Training) -> None:
    """One training: while it runs its curves, then its verdict and the way on."""
    _head(training)
    result, job = training.result, training.job
    pretrained = pretrain_result.is_pretraining(training)
    if job is not None and not job.over:
        live(training.out, job.id)
        return
    if result is not None and pretrained:
        pretrain_result.receipt(training, result)
        to_a_model(training)
    elif result is not None:
        receipt(training, result)
        to_a_model(training)
    else:
        if job is not None and job.error is not None:
            show_error(job.error)
        with st.container(border=True):
            st.subheader(t("Go on with it"))
            resume(training, main=True)
    series, last = metrics(training.out)
    if series:
        numbers(last)
        curves(series, f"train.curves.{training.out.name}")
    pretrain_result.along_the_way(training.out)
    if result is not None:
        if not pretrained:
            more_data(training)
        with st.expander(t("Go on with other settings"), icon=":material/restart_alt:"):
            resume(training, main=False)
    _files(training)


def _head(training: Training) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(name_of(training.out))}**", width="content")
        if training.job is not None:
            if training.job.state == "done" and training.result is None:
                st.badge(t("paused"), icon=":material/pause_circle:", color="orange")
            else:
                state_badge(training.job.state)
            st.caption(when(training.job.created), width="content")
            st.page_link(
                "views/jobs.py", label=t("Job"), icon=":material/checklist:", query_params={"job": training.job.id}
            )


def _files(training: Training) -> None:
    events = sorted(training.out.glob("runs/*"))
    if events:
        st.caption(t("As TensorBoard shows it: {command}", command=f"`tensorboard --logdir {training.out}`"))


page()
