"""Which model is trained: the folders of Hugging Face weights on this machine, or one typed in."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core import models, resources, settings
from core.errors import UserError
from core.launchers import memory, settle
from core.launchers.memory import Shape
from core.models import Model
from ui.i18n import t
from ui.parts.errors import plain, show_error
from ui.parts.labels import distinct
from ui.parts.model_card import language_names
from ui.parts.starter_card import starter_card

KEY = "train.base"


def base_chooser() -> tuple[str, Shape] | None:
    """Draw it; the reference and the weights' shape, or None with the reason on the page."""
    known = trainable()
    if not known:
        st.caption(t("Training starts from a folder of Hugging Face weights; the starter brings one."))
        starter_card()
    titles = distinct({model.ref: _title(model) for model in known})
    ref = st.selectbox(
        t("Model to train"),
        list(titles),
        0 if titles else None,
        format_func=lambda ref: titles.get(ref, ref),
        key=KEY,
        accept_new_options=True,
        persist_state="session",
        placeholder=t("Choose, or type the path of a folder"),
        help=t("A folder with config.json and .safetensors files. GGUF files can't be trained."),
    )
    if not ref:
        return None
    try:
        shape = memory.shape(settle.base_folder(ref))
    except UserError as error:
        show_error(error)
        return None
    st.caption(_facts(models.resolve(ref), shape))
    return ref, shape


def trainable() -> list[Model]:
    found = [model for model in models.installed() if model.format == "huggingface"]
    for place in settings.read().local_models:
        try:
            model = models.resolve(place)
        except UserError:
            continue
        if model.format == "huggingface":
            found.append(model)
    return found


def _title(model: Model) -> str:
    """Its card's title, and where it lies if that is another folder than the title tells."""
    return model.card.title or (Path(model.ref).name if Path(model.ref).name != "hf" else model.ref)


def _facts(model: Model, shape: Shape) -> str:
    parts = [
        t("{n} M parameters", n=f"{shape.parameters / 1e6:,.4g}"),
        t("{n} tokens of context", n=f"{shape.context:,}") if shape.context else "",
        resources.size(shape.file_bytes),
        language_names(model.card.languages),
        plain(model.card.license) or t("licence not declared"),
    ]
    return " · ".join(part for part in parts if part)
