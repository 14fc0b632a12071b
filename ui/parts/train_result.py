"""A training that has ended: whether it helped, what it read, where it is, and the way to trying it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import streamlit as st

from core import models, paths
from core.inference import client
from core.jobs import store
from core.launchers import settle
from core.operation import Request
from core.weights.adapter import MergeRequest
from core.weights.export import ExportRequest
from ui.i18n import t
from ui.parts import model_choice, pickers
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.preflight import duration
from ui.parts.train_data import own_name, why
from ui.parts.train_runs import Training

CHAT_MODEL = "chat.model"
"""Chat's own key for its chosen model."""
QUANT: Literal["Q8_0"] = "Q8_0"


def receipt(training: Training, result: dict[str, Any]) -> None:
    """The verdict, the account of the data, the place."""
    with st.container(border=True):
        _verdict(result.get("verdict"))
        told = [t("{n} steps", n=f"{result.get('steps', 0):,}"), t("{n} tokens", n=f"{result.get('tokens', 0):,}")]
        if training.job is not None and training.job.started and training.job.ended:
            told.append(t("took {time}", time=duration(training.job.ended - training.job.started)))
        if data := result.get("data"):
            told.append(
                t(
                    "{trained} samples trained on, {validated} measured with, {refused} refused, {doubles} duplicates, "
                    "{leaks} leaks left out",
                    **{name: f"{int(data.get(name, 0)):,}"
                       for name in ("trained", "validated", "refused", "doubles", "leaks")},
                )
            )  # fmt: skip
        st.caption(" · ".join(told))
        if result.get("reloaded_equal") is False:
            st.warning(
                t("Loaded again from its files, the result answers otherwise than it did while it was trained."),
                icon=":material/warning:",
            )
        for reason in (result.get("data") or {}).get("reasons", ())[:5]:
            st.caption(f":material/block: {plain(own_name(reason['where']))}: {plain(why(**reason))}")
        st.markdown(f":material/folder: {plain(str(training.out))}")
        st.caption(t("Its README.md is the model card: base, data, settings, what was measured, licence."))


def _verdict(judged: dict[str, Any] | None) -> None:
    if not judged:
        st.markdown(f":gray[:material/help:] **{t('Nothing was kept for validation, so nobody knows if it helped.')}**")
        return
    word = str(judged.get("word", ""))
    colour, icon, said = {
        "better": ("green", "trending_up", t("Better than before")),
        "worse": ("red", "trending_down", t("Worse than before")),
    }.get(word, ("orange", "question_mark", t("Cannot tell whether it is better")))
    st.markdown(f":{colour}[:material/{icon}:] **{said}**")
    st.markdown(
        t(
            "Loss on {n} validation samples: {before} → {after}, a difference of {low} to {high} (95 %, paired "
            "bootstrap; lower is better).",
            n=judged.get("samples", 0),
            **{name: f"{float(judged[name]):.3f}" for name in ("before", "after", "low", "high") if name in judged},
        )
    )


def to_a_model(training: Training) -> None:
    """Merge, write as GGUF, try: one button a step, each telling how far it is."""
    st.subheader(t("Try it"))
    method = "full" if "corpus" in training.asked else str(training.asked.get("method", "lora"))
    merged, gguf = places(training)
    job = _running(training)
    if job is not None:
        with st.container(border=True):
            st.fragment(_working, run_every=1)(job.id)
        return
    is_merged = method == "full" or (merged / "config.json").is_file()
    failed = _failed(training)
    if failed is not None and failed.error is not None and not gguf.exists():
        show_error(failed.error)
    with st.container(horizontal=True, vertical_alignment="center"):
        if not is_merged:
            if st.button(t("Merge it into its model"), type="primary", icon=":material/merge:", key="train.merge"):
                _submit(_merge(training, merged))
            st.caption(t("One model for all engines; the adapter stays as it is."), width="content")
        elif not gguf.exists():
            if st.button(t("Write it as GGUF"), type="primary", icon=":material/compress:", key="train.export"):
                source = training.out if method == "full" else merged
                gguf.parent.mkdir(mode=0o700, exist_ok=True)
                _submit(ExportRequest(model=source, out=gguf, quant=QUANT))
            st.caption(t("{quant}: half the size, nearly lossless; runs on any machine.", quant=QUANT), width="content")
        else:
            _try(gguf.parent.name, main=True)
    ref = f"{training.out.name}/hf" if is_merged and method != "full" else str(training.out)
    if not gguf.exists() and ref in pickers.model_titles():
        with st.container(horizontal=True, vertical_alignment="center"):
            _try(ref, main=False)


def _try(ref: str, *, main: bool) -> None:
    """Chat and Extract with it; before it is a GGUF file it is loaded as it is, on its base: that takes more memory."""
    if st.button(
        t("Try it in Chat"), type="primary" if main else "secondary", icon=":material/chat:", key="train.chat"
    ):
        with errors_shown():
            client.load(ref, wait=False)
            st.session_state[CHAT_MODEL] = ref
            st.switch_page("views/chat.py")
    if st.button(t("Try it in Extract"), icon=":material/data_object:", key="train.extract"):
        model_choice.use(ref)
        st.switch_page("views/extract.py")
    st.caption(t("Chat can answer with two models side by side; Extract compares an adapter with its base alone."))


def places(training: Training) -> tuple[Path, Path]:
    """(the merged model's folder, the GGUF file), both of the model that has the training's name."""
    model = paths.models() / training.out.name
    return model / "hf", model / f"{training.out.name}-{QUANT}.gguf"


def _merge(training: Training, merged: Path) -> MergeRequest:
    merged.parent.mkdir(mode=0o700, exist_ok=True)
    models.write_card(merged.parent, models.read_card(training.out))  # its title is that of all forms of the model
    base = settle.base_folder(str(training.asked["base"]))
    return MergeRequest(base=base, adapter=(training.out,), out=merged)


def _submit(request: Request) -> None:
    with errors_shown():
        store.submit(request)
        st.rerun()


def _jobs(training: Training) -> list[store.Job]:
    made = {str(place) for place in places(training)}
    return [
        job
        for job in store.all_jobs()
        if job.operation in ("weights merge", "weights export") and str(job.request.get("out")) in made
    ]


def _running(training: Training) -> store.Job | None:
    return next((job for job in _jobs(training) if not job.over), None)


def _failed(training: Training) -> store.Job | None:
    """The newest, if it failed."""
    newest = next(iter(_jobs(training)), None)
    return newest if newest is not None and newest.state in ("failed", "died") else None


def _working(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    st.markdown(f"**{t('Merging the adapter into its model')}**" if job.operation == "weights merge" else
                f"**{t('Writing the GGUF file')}**")  # fmt: skip
    show_progress(job)
