"""The right-hand column of Chat: which model answers, how it is asked, and how its answer is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import streamlit as st

from core import models
from core.errors import UserError
from core.inference import chat, client
from core.inference.chat import Conversation, Way
from core.inference.client import HostStatus
from core.inference.decoding import Decoding
from core.inference.prompting import Form
from core.models import Model
from ui.i18n import t
from ui.parts.chat_presets import label, options, preset_choice
from ui.parts.chat_system import system_prompt
from ui.parts.decoding import decoding_controls
from ui.parts.errors import plain, show_error
from ui.parts.labels import distinct
from ui.parts.pickers import model_titles

MODEL = "chat.model"
ADAPTER = "chat.adapter"
BOTH = "chat.both"
DECODING = "chat.decoding"
_SAME = "same"


@dataclass(frozen=True)
class Asking:
    """How the next question is asked; `also`: for a second answer beside the first."""

    model: Model
    way: Way
    also: Way | None = None


def chat_settings(conversation: Conversation | None) -> Asking | None:
    """Draw the column; None where the chosen model can't be used."""
    titles = distinct(model_titles())
    now = client.status()
    ref = _model(titles, now)
    can = now.can if now.model == ref else {}
    try:
        model = models.resolve(ref)
    except UserError as error:
        show_error(error)
        return None
    form = _form(model)
    adapter = not can.get("lora") or st.toggle(
        t("Answer with its adapter"), value=True, key=ADAPTER, help=t("Off: the base answers alone.")
    )
    system_prompt(conversation, used=form == "chat")
    with st.expander(t("Decoding"), expanded=True, icon=":material/tune:"):
        preset_choice(DECODING)
        decoding = decoding_controls(DECODING, can)
    way = Way(model.ref, decoding, form, bool(adapter))
    return Asking(model, way, _second(way, titles, bool(can.get("lora"))))


def _model(titles: dict[str, str], now: HostStatus) -> str:
    if st.session_state.get(MODEL) not in titles:
        st.session_state.pop(MODEL, None)
    likely = (models.for_chat(now.model), models.for_chat(models.STARTER))
    preferred = next((ref for ref in likely if ref in titles), next(iter(titles)))
    return st.selectbox(
        t("Model"),
        list(titles),
        list(titles).index(preferred),
        format_func=lambda one: titles.get(one, one),
        key=MODEL,
        persist_state="session",
    )


def _form(model: Model) -> Form:
    """The model's own template, unless it was trained with KnowLM's form."""
    names = {
        "chat": t("Chat: the model's own template"),
        "raw": t("Completion: the bare text"),
        "alpaca": t("Instruction + input, as KnowLM"),
    }
    forms: tuple[Form, ...] = ("chat", *(form for form in get_args(Form) if form != "chat"))
    usual: Form = "alpaca" if model.card.dialect == "zhixi" else "chat"
    return st.selectbox(
        t("How it is asked"),
        forms,
        forms.index(usual),
        format_func=lambda form: names[form],
        key=f"chat.form.{model.ref}",
        persist_state="session",
        help=t(
            "Completion is for base models: they go on from the end of all texts. The instruction form knows no turns: "
            "each instruction is asked alone, with its input."
        ),
    )


def _second(way: Way, titles: dict[str, str], lora: bool) -> Way | None:
    """A second answer: another model, other settings, or without the adapter."""
    if not st.toggle(t("Two answers side by side"), key=BOTH, persist_state="session"):
        return None
    with st.container(border=True):
        ref = st.selectbox(
            t("Second model"),
            list(titles),
            list(titles).index(way.model) if way.model in titles else 0,
            format_func=lambda one: titles.get(one, one),
            key="chat.second.model",
            persist_state="session",
        )
        decoding = _second_decoding(way)
        adapter = not (lora and ref == way.model) or st.toggle(
            t("Second answer with the adapter"), value=not way.adapter, key="chat.second.adapter"
        )
        also = Way(ref, decoding, way.form, bool(adapter))
        try:
            at_once = chat.both_at_once(way, also)
        except UserError as error:
            show_error(error)
            return None
        if at_once:
            st.caption(t("Both are asked at once."))
        else:
            told = t(
                "{second} is loaded after {first} has answered, and takes its place.",
                first=plain(titles.get(way.model, way.model)),
                second=plain(titles.get(ref, ref)),
            )
            st.caption(f":orange[:material/swap_horiz:] {told}")
        return also


def _second_decoding(way: Way) -> Decoding:
    known = options()
    chosen = st.selectbox(
        t("Its settings"),
        [_SAME, *known],
        format_func=lambda option: t("The same settings") if option == _SAME else label(option),
        key="chat.second.preset",
        persist_state="session",
    )
    return known.get(chosen, way.decoding)
