"""Which model reads the text, and what it declares about the text's language."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core import models, settings
from core.errors import UserError
from core.inference import client
from core.models import Model
from ui.i18n import t
from ui.parts.errors import plain, show_error
from ui.parts.labels import distinct
from ui.parts.model_card import LANGUAGES
from ui.parts.pickers import model_titles
from ui.parts.starter_card import nothing_to_run, starter_card

KEY = "extract.model"
_WANTED = "extract.model.wanted"


@dataclass(frozen=True)
class ModelChoice:
    model: Model
    reads: bool | None
    """Whether it declares the text's language; None: it declares nothing, or the language is unclear."""


def model_choice(language: str | None) -> ModelChoice | None:
    """Draw the chooser; None where there is no model yet, with the way to one on the page."""
    if nothing_to_run():
        starter_card()
        return None
    titles = distinct(model_titles())
    _adopt(titles)
    ref = st.selectbox(
        t("Model"),
        list(titles),
        list(titles).index(_default(titles)),
        format_func=lambda ref: titles.get(ref, ref),
        key=KEY,
        persist_state="session",
    )
    try:
        model = models.resolve(ref)
    except UserError as error:
        show_error(error)
        return None
    reads = model.reads(language) if language else None
    _declared(model, language, reads)
    return ModelChoice(model, reads)


def use(ref: str) -> None:
    """Choose this model from the next run of the page on."""
    st.session_state[_WANTED] = ref


def language_name(code: str) -> str:
    """`Chinese`, as one says it in the page's language; the code itself where it is a rare one."""
    names = {
        "en": t("English"),
        "zh": t("Chinese"),
        "de": t("German"),
        "fr": t("French"),
        "es": t("Spanish"),
        "it": t("Italian"),
        "pt": t("Portuguese"),
        "ja": t("Japanese"),
        "ko": t("Korean"),
        "ru": t("Russian"),
        "ar": t("Arabic"),
    }
    return names.get(code, LANGUAGES.get(code, code))


def _default(titles: dict[str, str]) -> str:
    """The loaded one, else the one set in Settings, else the first."""
    loaded = client.status().model
    wanted = (loaded, settings.read().default_model)
    return next((ref for ref in wanted if ref in titles), next(iter(titles)))


def _adopt(titles: dict[str, str]) -> None:
    """A model that was just added is meant to be used; one that is gone is no longer chosen."""
    known = st.session_state.get("extract.models")
    added = [ref for ref in titles if known is not None and ref not in known]
    wanted = st.session_state.pop(_WANTED, added[-1] if added else None)
    if wanted in titles:
        st.session_state[KEY] = wanted
    elif KEY in st.session_state and st.session_state[KEY] not in titles:
        del st.session_state[KEY]
    st.session_state["extract.models"] = list(titles)


def _declared(model: Model, language: str | None, reads: bool | None) -> None:
    """One line: what it reads, what the text is where that is not the same, and whether it is loaded."""
    declared = t("reads {languages}", languages=", ".join(map(language_name, model.card.languages)))
    mark = {True: ":green[:material/check:] ", False: ":orange[:material/warning:] ", None: ""}[reads]
    told = [mark + plain(declared if model.card.languages else t("languages not declared"))]
    if language and not reads:
        told.append(plain(t("the text is {language}", language=language_name(language))))
    st.caption(" · ".join([*told, _loaded(model)]))


def caution(model: Model) -> None:
    """What to expect of it; and what the grammar does and does not do."""
    if not model.card.trained_for_extraction and model.format != "remote":
        st.caption(
            t("This model is not trained for extraction: right in form, often wrong in content."),
            help=t("Try a few rows first, and look at them."),
        )
    st.caption(
        t("Grammar makes answers verbatim, never true: all of it is in your text; you judge whether it is right.")
    )


def _loaded(model: Model) -> str:
    if model.format == "remote":
        return t("on a server")
    status = client.status()
    if status.model != model.ref or status.state not in ("ready", "loading"):
        return t("is loaded when you start")
    return t("loaded") if status.state == "ready" else t("loading…")
