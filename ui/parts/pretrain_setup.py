"""A new pretraining on the Train page: corpora left; model, way of beginning, settings and start right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from core import operation, resources
from core.errors import UserError
from core.launchers import gpu, presets
from core.launchers.corpora import Corpora
from core.launchers.pretrain_request import PretrainRequest
from ui.i18n import error_text, t
from ui.parts import pretrain_corpora, train_runs
from ui.parts.errors import plain
from ui.parts.request_form import fields_of, request_form
from ui.parts.train_base import base_chooser, trainable
from ui.parts.train_settings import number
from ui.parts.train_start import loaded_model, name_input, start_button

KEY = "pretrain.preset"
ORDER = ("continued", "scratch", "knowlm")
FOLDER = presets.FOLDER / "pretrain"
ESSENTIAL = ("epochs", "max_steps", "batch", "learning_rate", "warmup", "sample_every")
CHOSEN = ("base", "corpus", "validation", "weights", "new_weights", "out", "resume", "unload_host", "dry_run")
"""What the rest of the page asks for."""


def setup() -> PretrainRequest | None:
    """Draw it; the request that was started just now, else None."""
    left, right = st.columns([11, 10], gap="medium")
    with left, st.container(border=True):
        st.subheader(t("1 · Corpora"))
        data = pretrain_corpora.corpus_chooser()
        weights = pretrain_corpora.shares(data) if data else ()
        pretrain_corpora.validation_chooser()
    with right:
        return _choices(data, weights)


def _choices(data: Corpora | None, weights: tuple[str, ...]) -> PretrainRequest | None:
    with st.container(border=True):
        st.subheader(t("2 · Model and weights"))
        if note := gpu.unused():
            st.warning(
                f"**{plain(error_text(note)[0])}**\n\n{plain(error_text(note)[1])}", icon=":material/developer_board:"
            )
        base = base_chooser()
        if base is None:
            start_button(None, t("Choose a model first."), main=bool(trainable()))
            return None
        preset, settings = _preset(base[0], data)
    with st.container(border=True):
        st.subheader(t("3 · Start"))
        folders = pretrain_corpora.chosen("corpus")
        out = name_input(f"{folders[0].name if folders else 'corpus'}-{preset}")
        given: dict[str, Any] = {**settings, "base": base[0], "weights": weights, "unload_host": loaded_model()}
        given |= {"corpus": folders or (Path("–"),), "validation": pretrain_corpora.chosen("validation")}
        given["out"] = out or train_runs.folder() / ".none"
        request = settings_form(f"pretrain.{preset}", given)
        missing = "" if data else t("Choose a corpus first.")
        if out is None or request is None:
            missing = t("Correct what is marked first.")
        if start_button(None if missing else request, missing):
            return request
    return None


def settings_form(key: str, given: dict[str, Any], *, beside: int = 2) -> PretrainRequest | None:
    """The few settings that matter in rows, all others folded under them; None where something is wrong."""
    known = {field.name: field for field in fields_of(PretrainRequest)}
    values = dict(given)
    places = [place for _ in range(0, len(ESSENTIAL), beside) for place in st.columns(beside)]
    for name, place in zip(ESSENTIAL, places, strict=False):
        with place:
            values[name] = number(known[name], key, given)
    hidden = [*ESSENTIAL, *CHOSEN, *(["devices"] if not gpu.usable() else [])]
    return request_form(PretrainRequest, key, hide=hidden, defaults=values)


def _preset(base: str, data: Corpora | None) -> tuple[str, dict[str, Any]]:
    """(its name, its settings); a preset's batch is no larger than what the corpus has for some steps."""
    made = {name: presets.read(FOLDER / f"{name}.yaml", PretrainRequest) for name in ORDER}
    for settings in made.values():
        if data:
            settings["batch"] = max(1, min(settings["batch"], data.all_rows // 20))
            if settings.get("micro_batch"):
                settings["micro_batch"] = min(settings["micro_batch"], settings["batch"])
    told = [_needs(base, settings) for settings in made.values()]
    name = st.radio(
        t("How it begins"),
        list(made),
        format_func=_title,
        captions=told,
        key=KEY,
        label_visibility="collapsed",
        persist_state="session",
    )
    return name, made[name]


def _title(name: str) -> str:
    known = {
        "continued": t("Go on with the model's weights on more text"),
        "scratch": t("New weights in this model's shape"),
        "knowlm": t("As KnowLM-13B was pretrained: ZeRO-3, 24 GPUs"),
    }
    return known[name]


def _needs(base: str, settings: dict[str, Any]) -> str:
    """What it needs on this machine with the corpora chosen, or why it can't be."""
    folders = pretrain_corpora.chosen("corpus")
    if not folders:
        return ""
    try:
        request = PretrainRequest(base=base, corpus=folders, out=train_runs.folder() / ".none", **settings)
        needs = operation.of(request).estimate(request)
        short = resources.shortages(needs)
    except UserError as error:
        return f":red[:material/block:] {plain(error_text(error)[0])}"
    if needs.vram is not None:
        said = t("{size} of GPU memory", size=resources.size(needs.vram))
    else:
        said = t("{size} of memory", size=resources.size(needs.ram or 0))
    said += " · " + t("{size} of disk", size=resources.size(needs.disk or 0))
    if not short:
        return f":green[:material/check:] {said}"
    return f":orange[:material/warning:] {said} · {t('more than is free now')}"
