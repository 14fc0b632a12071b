"""What stands where the main button would, when the chosen model does not read the text's language."""

from __future__ import annotations

import streamlit as st

from core import models, resources
from core.errors import UserError
from core.models import Model
from ui.i18n import t
from ui.parts.add_model import add_local
from ui.parts.endpoint_form import add_endpoint
from ui.parts.errors import plain
from ui.parts.model_choice import ModelChoice, language_name, use
from ui.parts.model_offers import model_offers, one_file, running_downloads
from ui.parts.pickers import model_titles


def refusal(choice: ModelChoice, language: str) -> None:
    """Why the main button is not there."""
    problem = t("{model} does not read {language}.", model=choice.model.title, language=language_name(language))
    why = t("It would still answer with words of your text, and mostly wrong ones.")
    st.warning(f"**{plain(problem)}**  \n{plain(why)}", icon=":material/translate:")


def language_offer(choice: ModelChoice, language: str, *, rows: int) -> None:
    """What would work instead: models here, models to fetch, a file, a server."""
    with st.container(border=True, key="extract.offer"):
        st.subheader(t("What reads {language}", language=language_name(language)))
        for model in _here(language, choice.model.ref):
            _use(model, language)
        running_downloads()
        model_offers(language, rows)
        with st.expander(t("Any one model file, by its name"), icon=":material/download:"):
            one_file()
        with st.expander(t("A model file on this machine"), icon=":material/hard_drive:"):
            add_local()
        with st.expander(t("A server that speaks the OpenAI API"), icon=":material/dns:"):
            add_endpoint()


def _here(language: str, chosen: str) -> list[Model]:
    """Models of this machine and servers that may read it: those that declare it first, then the silent ones."""
    found = []
    for ref in model_titles():
        try:
            model = models.resolve(ref)
        except UserError:
            continue
        if model.ref != chosen and model.reads(language) is not False:
            found.append(model)
    return sorted(found, key=lambda model: model.reads(language) is None)


def _use(model: Model, language: str) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(model.title)}**", width="content")
        if model.size:
            st.badge(resources.size(model.size), color="gray")
        if model.reads(language):
            st.badge(t("reads {languages}", languages=language_name(language)), color="green")
        else:
            st.badge(t("languages not declared"), color="gray")
        if st.button(t("Use this model"), key=f"extract.use.{model.ref}", icon=":material/check:"):
            use(model.ref)
            st.rerun()
