"""Chat: talk with the loaded model; answers are written by the host and survive leaving the page."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.inference import chat
from core.inference.chat import Conversation
from ui.i18n import language, t
from ui.parts.chat_bar import bar, chosen
from ui.parts.chat_host import host_ready
from ui.parts.chat_input import ask, chat_input
from ui.parts.chat_messages import STYLE, messages
from ui.parts.chat_settings import Asking, chat_settings
from ui.parts.chat_to_extract import selection_button
from ui.parts.errors import errors_shown
from ui.parts.starter_card import nothing_to_run, starter_card


def page() -> None:
    st.title(t("Chat"))
    if nothing_to_run():
        starter_card()
        return
    st.html(STYLE)
    with errors_shown():
        conversation = chosen()
        talk, side = st.columns([3, 1], gap="medium")
        with side:
            asking = chat_settings(conversation)
        with talk:
            bar(conversation)
            if asking is not None:
                _conversation(conversation, asking)


def _conversation(conversation: Conversation | None, asking: Asking) -> None:
    ready = host_ready(asking.model)
    if conversation is None or not conversation.messages:
        _examples(conversation, asking, ready)
    else:
        with st.container(height=520, border=False, key="chat-messages"):
            messages(conversation, asking, ready=ready)
        if conversation.running is None:
            _after(conversation, asking, ready)
    chat_input(conversation, asking, ready=ready)


def _examples(conversation: Conversation | None, asking: Asking, ready: bool) -> None:
    """Three things to try, in a language that the model reads."""
    own = asking.model.reads(language()) is not False
    texts = _prompts(t if own else str)
    st.caption(t("Try one of these, or write your own below."))
    columns = st.columns(len(texts))
    for place, text in enumerate(texts):
        if columns[place].button(text, key=f"chat.example.{place}", disabled=not ready, width="stretch"):
            ask(conversation, text, asking)
            st.rerun()


def _prompts(t: Callable[[str], str]) -> tuple[str, ...]:
    return (
        t("What is a knowledge graph? Answer in two sentences."),
        t("Write three sentences about a scientist who discovered something by accident."),
        t("Explain the difference between an entity and a relation with an example."),
    )


def _after(conversation: Conversation, asking: Asking, ready: bool) -> None:
    """What may be done with the last answer."""
    last = conversation.messages[-1]
    answered = last.role == "assistant"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(
            t("Answer again") if answered else t("Answer"),
            icon=":material/refresh:",
            key="chat.again",
            disabled=not ready,
            shortcut="Alt+A",
        ):
            chat.again(conversation.id, asking.way, also=asking.also)
            st.rerun()
        cut = answered and last.text and last.finish in ("length", "cancelled", "lost", "error")
        if cut and st.button(
            t("Continue"), icon=":material/more_horiz:", key="chat.go_on", disabled=not ready, shortcut="Alt+G"
        ):
            chat.go_on(conversation.id, asking.way)
            st.rerun()
        selection_button()


page()
