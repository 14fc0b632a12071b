"""Saying something else in place of an earlier message: what was said before stays as a version."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.inference import chat
from core.inference.chat import Conversation, Message
from ui.i18n import t
from ui.parts.chat_settings import Asking
from ui.parts.errors import show_error

EDITED = "chat.edited"
"""The id of the message that is being edited."""


def edit_form(conversation: Conversation, message: Message, asking: Asking, *, ready: bool) -> None:
    with st.container(key="chat-edit"):
        text = st.text_area(t("Your message"), message.text, key=f"chat.edit.text.{message.id}")
        given = message.input
        if asking.way.form == "alpaca" or given:
            given = st.text_area(t("Input"), given, key=f"chat.edit.input.{message.id}")
    with st.container(horizontal=True):
        if st.button(t("Ask this"), type="primary", key="chat.edit.ask", disabled=not (ready and text.strip())):
            try:
                chat.edit(conversation.id, message.id, text, asking.way, also=asking.also, input_text=given)
            except UserError as error:
                show_error(error)
                return
            set_edited(None)
            st.rerun()
        st.button(t("Cancel"), key="chat.edit.cancel", on_click=set_edited, args=(None,), shortcut="Esc")


def set_edited(message: int | None) -> None:
    st.session_state[EDITED] = message
