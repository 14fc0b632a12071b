"""The system prompt of a conversation: written, taken from the library, saved into it."""

from __future__ import annotations

import hashlib

import streamlit as st

from core.errors import UserError
from core.inference import chat, prompts
from core.inference.chat import Conversation
from core.inference.prompts import Prompt
from ui.i18n import language, t
from ui.parts.errors import errors_shown, plain, show_error

NEW = "chat.system.new"
"""The system prompt of the conversation that the next question begins."""


def system_prompt(conversation: Conversation | None, *, used: bool) -> None:
    """`used`: whether the way of asking has a place for one."""
    key = NEW
    if conversation is not None:
        # a field for each text: one that another tab has changed must not bring its old text back
        digest = hashlib.sha256(conversation.system.encode()).hexdigest()[:12]
        key = f"chat.system.{conversation.id}.{digest}"
    text = st.text_area(
        t("System prompt"),
        conversation.system if conversation else "",
        key=key,
        height=90,
        disabled=not used,
        help=t("Who the model is to be; it stands before the whole conversation."),
        on_change=_changed,
        args=(key, conversation.id if conversation else ""),
    )
    if not used:
        st.caption(t("Not sent: only the chat form has a place for it."))
        return
    with st.popover(t("Library"), icon=":material/library_books:", key="chat.library", width="stretch"):
        _library(key, conversation.id if conversation else "", text)


def _changed(key: str, conversation: str) -> None:
    if conversation:
        chat.set_system(conversation, st.session_state[key])


def _take(key: str, conversation: str, text: str) -> None:
    if conversation:
        chat.set_system(conversation, text)
    else:
        st.session_state[key] = text


def _library(key: str, conversation: str, text: str) -> None:
    own: tuple[Prompt, ...] = ()
    try:
        own = prompts.own()
    except UserError as error:
        show_error(error)
    here = language()
    for place, prompt in enumerate((*own, *sorted(prompts.ready(), key=lambda one: one.language != here))):
        with st.container(horizontal=True, gap="small"):
            st.button(
                plain(prompt.name),
                key=f"chat.prompt.{place}",
                help=plain(prompt.text),
                on_click=_take,
                args=(key, conversation, prompt.text),
                width="stretch",
            )
            if not prompt.language and st.button(
                "", icon=":material/delete:", key=f"chat.prompt.delete.{place}", help=t("Delete it from the library")
            ):
                with errors_shown():
                    prompts.remove(prompt.name)
                    st.rerun()
    with st.form("chat.prompt.save", clear_on_submit=True, border=False):
        name = st.text_input(t("Save this system prompt as"), max_chars=60, disabled=not text.strip())
        if st.form_submit_button(t("Save"), icon=":material/bookmark_add:", disabled=not text.strip()):
            with errors_shown():
                prompts.save(name, text)
                st.rerun()
