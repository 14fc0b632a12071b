"""A conversation's messages: a person's words as they are, a model's as Markdown that can fetch nothing."""

from __future__ import annotations

import re
import time

import streamlit as st

from core.inference import chat
from core.inference.chat import Conversation, Message
from ui.i18n import t
from ui.parts.errors import plain, show_error

REDRAW_SECONDS = 0.2
_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)


def messages(conversation: Conversation) -> None:
    """Draw what was said; the answer that runs is redrawn as it grows."""
    for message in conversation.messages:
        if message.running:
            _live(conversation.id, message.id)
        else:
            _finished(message)


def harmless(text: str) -> str:
    """A model's Markdown without images, which a browser would fetch, and without formulas, which `$5` is not.

    HTML is off anyway. Images are undone everywhere, code or not: what counts as code is for the browser to say.
    """
    parts = _CODE.split(text)
    shown = "".join(part if place % 2 else part.replace("$", "\\$") for place, part in enumerate(parts))
    return shown.replace("![", "!\\[")


@st.fragment(run_every=REDRAW_SECONDS)
def _live(conversation: str, answer: int) -> None:
    """The running answer and its stop button; the whole page is drawn again when it is over."""
    now = chat.read(conversation)
    message = next((found for found in now.messages if found.id == answer), None) if now else None
    if message is None or not message.running:
        st.rerun()
        return
    with st.chat_message("assistant", avatar=":material/auto_awesome:"):
        if message.text:
            st.markdown(harmless(message.text) + " ▌")
        else:
            st.caption(t("Reading…"))
        if st.button(t("Stop"), icon=":material/stop_circle:", key=f"chat.stop.{answer}"):
            chat.stop(answer)
            _until_over(answer)
            st.rerun()


def _until_over(answer: int) -> None:
    until = time.monotonic() + 1
    chat.wait(answer, max(0.0, until - time.monotonic()))


def _finished(message: Message) -> None:
    if message.role == "user":
        with st.chat_message("user", avatar=":material/person:"):
            st.markdown(plain(message.text))
        return
    with st.chat_message("assistant", avatar=":material/auto_awesome:"):
        if message.text:
            st.markdown(harmless(message.text))
        if message.facts.error:
            show_error(message.facts.error)
        st.caption(plain(_facts(message)))


def _facts(message: Message) -> str:
    """`128 tokens · 64.2 tokens/s · first after 0.21 s · cut by its length`."""
    facts, told = message.facts, []
    if facts.tokens:
        writing = facts.seconds - (facts.first_token_seconds or 0)
        told.append(t("{n} tokens", n=facts.tokens))
        told.append(t("{rate} tokens/s", rate=f"{facts.tokens / max(writing, 1e-3):.1f}"))
    if facts.first_token_seconds is not None:
        told.append(t("first after {seconds} s", seconds=f"{facts.first_token_seconds:.2f}"))
    told.append(_ending(message.finish))
    if facts.seed is not None and (facts.decoding or {}).get("temperature"):
        told.append(t("seed {seed}", seed=facts.seed))
    if facts.title:
        told.append(facts.title)
    if not facts.adapter:
        told.append(t("without its adapter"))
    return " · ".join(told)


def _ending(finish: str) -> str:
    words = {
        "stop": t("complete"),
        "length": t("cut by its length"),
        "cancelled": t("stopped"),
        "error": t("failed"),
        "lost": t("broken off: the app was closed"),
    }
    return words.get(finish, finish)
