"""A conversation's messages: a person's words as they are, a model's as Markdown that can fetch nothing."""

from __future__ import annotations

import re
import time
from pathlib import Path

import streamlit as st

from core.inference import chat
from core.inference.chat import Conversation, Message
from ui.i18n import t
from ui.parts.chat_edit import EDITED, edit_form, set_edited
from ui.parts.chat_facts import facts_line
from ui.parts.chat_settings import Asking
from ui.parts.chat_to_extract import to_extract
from ui.parts.decoding import described
from ui.parts.errors import plain, show_error

REDRAW_SECONDS = 0.2
LOOK_SECONDS = 4.0
STYLE = Path(__file__).with_name("chat.css")
FILE_SHOWN = 20_000
_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)


def messages(conversation: Conversation, asking: Asking, *, ready: bool) -> None:
    """Draw the branch that is shown; an answer that runs is redrawn as it grows."""
    shown = conversation.messages
    for message in shown:
        last = message.id == shown[-1].id
        beside = conversation.find(message.beside) if last else None
        if message.role == "user":
            _question(conversation, message, asking, ready=ready)
        elif beside is not None:
            _pair(conversation, message, beside)
        else:
            _answer(conversation, message, keys=last)
    if conversation.running is None or not any(message.running for message in shown[-1:]):
        _watch(conversation.id, conversation.changed)


@st.fragment(run_every=LOOK_SECONDS)
def _watch(conversation: str, changed: float) -> None:
    """Another tab or the terminal may go on with this conversation."""
    if chat.changed(conversation) != changed:
        st.rerun()


def harmless(text: str) -> str:
    """A model's Markdown without images, which a browser would fetch, and without formulas, which `$5` is not.

    HTML is off anyway. Images are undone everywhere, code or not: what counts as code is for the browser to say.
    """
    parts = _CODE.split(text)
    shown = "".join(part if place % 2 else part.replace("$", "\\$") for place, part in enumerate(parts))
    return shown.replace("![", "!\\[")


@st.fragment(run_every=REDRAW_SECONDS)
def _live(answer: int) -> None:
    """The running answer and its stop button; the whole page is drawn again when it is over."""
    message = chat.message(answer)
    if message is None or not message.running:
        st.rerun()
        return
    with st.chat_message("assistant", avatar=":material/auto_awesome:"):
        if message.text:
            st.markdown(harmless(message.text) + " ▌")
        else:
            st.caption(t("Reading…"))
        if st.button(t("Stop"), icon=":material/stop_circle:", key=f"chat.stop.{answer}", shortcut="Esc"):
            chat.stop(answer)
            _until_over(answer)
            st.rerun()


def _until_over(answer: int) -> None:
    until = time.monotonic() + 1
    chat.wait(answer, max(0.0, until - time.monotonic()))


def _pair(conversation: Conversation, chosen: Message, beside: Message) -> None:
    """Two answers to one question; the conversation goes on with the one that is chosen."""
    for column, message in zip(st.columns(2), sorted((chosen, beside), key=lambda one: one.id), strict=True):
        with column:
            _answer(conversation, message, paired=True)
            if conversation.running is not None:
                continue
            if message.id == chosen.id:
                st.caption(f":green[:material/check:] {t('The conversation goes on with this one.')}")
            else:
                st.button(
                    t("Go on with this one"),
                    icon=":material/arrow_forward:",
                    key=f"chat.choose.{message.id}",
                    on_click=chat.choose,
                    args=(conversation.id, message.id),
                )


def _question(conversation: Conversation, message: Message, asking: Asking, *, ready: bool) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        if st.session_state.get(EDITED) == message.id and conversation.running is None:
            edit_form(conversation, message, asking, ready=ready)
            return
        for file in message.files:
            with st.expander(plain(file.name), icon=":material/attach_file:"):
                st.code(file.text[:FILE_SHOWN], language=None, wrap_lines=True, height=200)
        if message.text:
            st.markdown(plain(message.text))
        if message.input:
            st.caption(t("Input"))
            st.markdown(plain(message.input))
        if conversation.running is None:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                _versions(conversation, message)
                st.button(
                    "",
                    icon=":material/edit:",
                    type="tertiary",
                    help=t("Edit and ask again; this version is kept"),
                    key=f"chat.edit.{message.id}",
                    on_click=set_edited,
                    args=(message.id,),
                )


def _answer(conversation: Conversation, message: Message, *, keys: bool = False, paired: bool = False) -> None:
    if message.running:
        _live(message.id)
        return
    with st.chat_message("assistant", avatar=":material/auto_awesome:"):
        if message.text:
            st.markdown(harmless(message.text))
        if message.facts.error:
            show_error(message.facts.error)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            running = conversation.running is not None
            if not running and (not paired or len(conversation.versions(message)) > 2):
                _versions(conversation, message, keys=keys)
            if not running and message.text:
                _send(message)
            how = described(message.facts.decoding or {})
            st.caption(plain(facts_line(message)), help=how or None)


def _send(message: Message) -> None:
    if st.button(
        "",
        icon=":material/data_object:",
        type="tertiary",
        help=t("Send this answer to Extract"),
        key=f"chat.extract.{message.id}",
    ):
        to_extract(message.text)


def _versions(conversation: Conversation, message: Message, *, keys: bool = False) -> None:
    """◀ 2/3 ▶, where a message has others in its place; `keys`: it has the keyboard's."""
    known = conversation.versions(message)
    here = next((place for place, other in enumerate(known) if other.id == message.id), 0)
    if len(known) < 2:
        return
    for step, icon, said, shortcut in (
        (-1, "chevron_left", t("The version before"), "Alt+PageUp"),
        (1, "chevron_right", t("The next version"), "Alt+PageDown"),
    ):
        there = here + step
        if step == 1:
            st.caption(f"{here + 1}/{len(known)}", width="content")
        st.button(
            "",
            icon=f":material/{icon}:",
            type="tertiary",
            help=said,
            key=f"chat.version.{step}.{message.id}",
            disabled=not 0 <= there < len(known),
            on_click=chat.choose,
            args=(conversation.id, known[max(0, min(there, len(known) - 1))].id),
            shortcut=shortcut if keys else None,
        )
