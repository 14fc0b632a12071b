"""Where the next question is written: its text, the input of an instruction, files; refused ones keep their words."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.inference import chat
from core.inference.chat import Conversation
from ui.i18n import t
from ui.parts.chat_bar import go_to
from ui.parts.chat_files import LARGEST_MB, TYPES, attached
from ui.parts.chat_settings import Asking
from ui.parts.chat_system import NEW
from ui.parts.errors import show_error

INPUT = "chat.input"
_REFUSED = "chat.refused"
"""(the error, the words) of a question that was not sent."""
_GIVEN = "chat.given"
"""Counts the questions, so that the input of the next one begins empty."""


def chat_input(conversation: Conversation | None, asking: Asking, *, ready: bool) -> None:
    running = conversation is not None and conversation.running is not None
    given = _given() if asking.way.form == "alpaca" else ""
    refused = st.session_state.pop(_REFUSED, None)
    if refused is not None:
        show_error(refused[0])
        st.session_state[INPUT] = refused[1]
    placeholder = {
        "chat": t("Ask something"),
        "raw": t("A text to go on from"),
        "alpaca": t("An instruction"),
    }[asking.way.form]
    typed = st.chat_input(
        t("An answer is being written…") if running else placeholder,
        disabled=running or not ready,
        key=INPUT,
        accept_file="multiple",
        file_type=TYPES,
        max_upload_size=LARGEST_MB,
    )
    st.caption(t("Enter sends · Shift+Enter begins a new line"))
    if typed and (typed.text.strip() or typed.files):
        try:
            ask(conversation, typed.text, asking, given, tuple(map(attached, typed.files)))
        except UserError as error:
            st.session_state[_REFUSED] = (error.to_dict(), typed.text)
        st.rerun()


def ask(
    conversation: Conversation | None, text: str, asking: Asking, given: str = "", files: tuple[chat.File, ...] = ()
) -> None:
    """Put the question; a new conversation is there only if it was taken. Raises UserError."""
    talk = conversation or chat.create(st.session_state.get(NEW, ""))
    try:
        chat.ask(talk.id, text, asking.way, also=asking.also, input_text=given, files=files)
    except UserError:
        if conversation is None:
            chat.delete(talk.id)
        raise
    st.session_state[_GIVEN] = st.session_state.get(_GIVEN, 0) + 1
    go_to(talk.id)


def _given() -> str:
    return st.text_area(
        t("Input"),
        key=f"{_GIVEN}.{st.session_state.get(_GIVEN, 0)}",
        height=90,
        placeholder=t("The text that the instruction is about; may stay empty."),
        persist_state="session",
    )
