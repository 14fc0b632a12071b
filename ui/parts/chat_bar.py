"""Above a conversation: which one it is, a new one, finding another, and what may be done with it."""

from __future__ import annotations

import streamlit as st

from core.inference import chat, chat_export, chat_search
from core.inference.chat import Conversation
from core.inference.chat_search import Found
from ui.i18n import t
from ui.parts.errors import plain
from ui.parts.labels import distinct

CHAT = "chat"
"""The query parameter that names the conversation shown; `new` for none."""


def chosen() -> Conversation | None:
    """The conversation that the address names, else the last one; None for a new one."""
    wanted = st.query_params.get(CHAT)
    if wanted is None:
        last = next(iter(chat.conversations()), None)
        wanted = last.id if last else ""
    return chat.read(wanted) if wanted and wanted != "new" else None


def go_to(conversation: str) -> None:
    st.query_params[CHAT] = conversation or "new"


def bar(conversation: Conversation | None) -> None:
    kept = {found.id: found.title or t("New chat") for found in chat.conversations()}
    names = distinct({"": t("New chat")} | kept)
    here = conversation.id if conversation else ""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        picked = st.selectbox(
            t("Conversation"), list(names), list(names).index(here), format_func=lambda one: names.get(one, one)
        )
        if picked != here:
            go_to(picked)
            st.rerun()
        st.button(
            t("New chat"),
            icon=":material/add_comment:",
            disabled=not here,
            on_click=go_to,
            args=("",),
            key="chat.new",
            shortcut="Alt+N",
        )
        with st.popover("", icon=":material/search:", help=t("Search all conversations"), key="chat.find"):
            _search()
        with st.popover(
            "", icon=":material/more_horiz:", disabled=not here, help=t("Rename, export, delete"), key="chat.more"
        ):
            if conversation is not None:
                _more(conversation, names[here])


def _search() -> None:
    words = st.text_input(t("Words to look for"), key="chat.search", placeholder=t("in titles, questions and answers"))
    if not words.strip():
        return
    found = chat_search.search(words)
    if not found:
        st.caption(t("Nothing was found."))
    for number, place in enumerate(found):
        title = plain(place.title or t("New chat"))
        around = f"{plain(place.before)}**{plain(place.words)}**{plain(place.after)}"
        st.button(
            title if place.message is None else f"{title} · {around}",
            key=f"chat.found.{number}",
            on_click=_open,
            args=(place,),
            type="tertiary",
        )


def _open(place: Found) -> None:
    if place.message is not None:
        chat.choose(place.conversation, place.message)
    go_to(place.conversation)


def _more(conversation: Conversation, name: str) -> None:
    st.text_input(
        t("Title"),
        conversation.title,
        key=f"chat.title.{conversation.id}",
        max_chars=chat.TITLE_LENGTH,
        on_change=lambda: chat.rename(conversation.id, st.session_state[f"chat.title.{conversation.id}"]),
    )
    for suffix, said, make, mime in (
        (".md", t("Export as Markdown"), chat_export.markdown, "text/markdown"),
        (".json", t("Export as JSON, with all versions"), chat_export.as_json, "application/json"),
    ):
        st.download_button(
            said,
            make(conversation),
            chat_export.file_name(conversation, suffix),
            mime,
            icon=":material/download:",
            key=f"chat.export{suffix}",
            on_click="ignore",
            width="stretch",
        )
    st.divider()
    st.write(t("Delete “{title}” with all its messages?", title=plain(name)))
    if st.button(t("Delete"), key="chat.delete", icon=":material/delete:", width="stretch"):
        chat.delete(conversation.id)
        go_to("")
        st.rerun()
