"""Chat: talk with the loaded model; answers are written by the host and survive leaving the page."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core import models
from core.errors import UserError
from core.inference import chat, client
from core.inference.chat import Conversation
from core.inference.client import HostStatus
from core.inference.decoding import Decoding
from core.models import Model
from ui.i18n import language, t
from ui.parts.chat_messages import messages
from ui.parts.decoding import decoding_controls
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.labels import distinct
from ui.parts.pickers import model_titles
from ui.parts.starter_card import nothing_to_run, starter_card

MODEL = "chat.model"
ADAPTER = "chat.adapter"


def page() -> None:
    st.title(t("Chat"))
    if nothing_to_run():
        starter_card()
        return
    with errors_shown():
        conversation = _chosen()
        talk, side = st.columns([3, 1], gap="medium")
        with side:
            model, decoding = _settings(conversation)
        with talk:
            _bar(conversation)
            if model is not None:
                _conversation(conversation, model, decoding)


def _chosen() -> Conversation | None:
    """The conversation that the address names, else the last one; None for a new one."""
    wanted = st.query_params.get("chat")
    if wanted is None:
        last = next(iter(chat.conversations()), None)
        wanted = last.id if last else ""
    return chat.read(wanted) if wanted and wanted != "new" else None


def _open(conversation: str) -> None:
    st.query_params["chat"] = conversation or "new"


def _bar(conversation: Conversation | None) -> None:
    """Which conversation this is, a new one, and away with it."""
    kept = {found.id: found.title or t("New chat") for found in chat.conversations()}
    names = {"": t("New chat")} | distinct(kept)
    choose, new, remove = st.columns([6, 1.4, 1], vertical_alignment="bottom")
    here = conversation.id if conversation else ""
    with choose:
        picked = st.selectbox(
            t("Conversation"), list(names), list(names).index(here), format_func=lambda one: names.get(one, one)
        )
    if picked != here:
        _open(picked)
        st.rerun()
    if new.button(t("New chat"), icon=":material/add_comment:", disabled=not here, width="stretch"):
        _open("")
        st.rerun()
    with remove.popover("", icon=":material/delete:", disabled=not here, help=t("Delete this conversation")):
        st.write(t("Delete “{title}” with all its messages?", title=plain(names[here])))
        if st.button(t("Delete"), key="chat.delete"):
            chat.delete(here)
            _open("")
            st.rerun()


def _settings(conversation: Conversation | None) -> tuple[Model | None, Decoding]:
    """The right-hand column: model, system prompt, decoding."""
    titles = distinct(model_titles())
    now = client.status()
    wanted = st.session_state.get(MODEL)
    if wanted not in titles:
        st.session_state.pop(MODEL, None)
    likely = (models.for_chat(now.model), models.for_chat(models.STARTER))
    preferred = next((ref for ref in likely if ref in titles), next(iter(titles)))
    ref = st.selectbox(
        t("Model"),
        list(titles),
        list(titles).index(preferred),
        format_func=lambda one: titles.get(one, one),
        key=MODEL,
        persist_state="session",
    )
    system = st.text_area(
        t("System prompt"),
        conversation.system if conversation else "",
        key=f"chat.system.{conversation.id if conversation else 'new'}",
        height=90,
        help=t("Who the model is to be; it stands before the whole conversation."),
    )
    if conversation is not None and system != conversation.system:
        chat.set_system(conversation.id, system)
    if now.model == ref and now.can.get("lora"):
        st.toggle(
            t("Answer with its adapter"),
            value=True,
            key=ADAPTER,
            help=t("Off: the base answers alone. Ask again to compare the two."),
        )
    with st.expander(t("Decoding"), expanded=True, icon=":material/tune:"):
        decoding = decoding_controls("chat.decoding", now.can if now.model == ref else {})
    try:
        return models.resolve(ref), decoding
    except UserError as error:
        show_error(error)
        return None, decoding


def _conversation(conversation: Conversation | None, model: Model, decoding: Decoding) -> None:
    ready = _host(model)
    if conversation is None or not conversation.messages:
        _examples(model, decoding, ready)
    else:
        with st.container(height=520, border=False, key="chat-messages"):
            messages(conversation)
        if conversation.running is None:
            _after(conversation, model, decoding)
    running = conversation is not None and conversation.running is not None
    typed = st.chat_input(
        t("An answer is being written…") if running else t("Ask something"),
        disabled=running or not ready,
        key="chat.input",
    )
    st.caption(t("Enter sends · Shift+Enter begins a new line"))
    if typed:
        _ask(conversation, typed, model, decoding)


def _host(model: Model) -> bool:
    """Whether the model can be asked now; if not, what is the matter and the button for it."""
    if model.format == "remote":
        return True
    now = client.status()
    if now.model == model.ref and now.state == "ready":
        return True
    if now.model == model.ref and now.state == "loading":
        _loading(model.ref)
        return False
    if now.state == "died" and now.error is not None:
        show_error(now.error)
    _offer(model, now)
    return False


def _offer(model: Model, now: HostStatus) -> None:
    if now.state == "ready":
        st.info(
            t("{other} is loaded; it makes room for {model}.", other=plain(now.title), model=plain(model.title)),
            icon=":material/swap_horiz:",
        )
    else:
        st.info(t("No model is loaded."), icon=":material/deployed_code:")
    if st.button(
        t("Load {model}", model=plain(model.title)), type="primary", icon=":material/play_arrow:", key="chat.load"
    ):
        with errors_shown():
            client.load(model.ref, wait=False)
            st.rerun()


@st.fragment(run_every=0.5)
def _loading(ref: str) -> None:
    now = client.status()
    if now.model != ref or now.state != "loading":
        st.rerun()
    st.info(t("Loading the model…"), icon=":material/hourglass_top:")


def _examples(model: Model, decoding: Decoding, ready: bool) -> None:
    """Three things to try, in a language that the model reads."""
    own = model.reads(language()) is not False
    texts = _prompts(t if own else str)
    st.caption(t("Try one of these, or write your own below."))
    columns = st.columns(len(texts))
    for place, text in enumerate(texts):
        if columns[place].button(text, key=f"chat.example.{place}", disabled=not ready, width="stretch"):
            _ask(None, text, model, decoding)


def _prompts(t: Callable[[str], str]) -> tuple[str, ...]:
    return (
        t("What is a knowledge graph? Answer in two sentences."),
        t("Write three sentences about a scientist who discovered something by accident."),
        t("Explain the difference between an entity and a relation with an example."),
    )


def _after(conversation: Conversation, model: Model, decoding: Decoding) -> None:
    """What may be done with the last answer."""
    last = conversation.messages[-1]
    again, go_on, _ = st.columns([1, 1, 2])
    answered = last.role == "assistant"
    if answered and again.button(t("Answer again"), icon=":material/refresh:", key="chat.again", width="stretch"):
        with errors_shown():
            chat.again(conversation.id, model.ref, decoding, adapter=_adapter())
            st.rerun()
    cut = answered and last.text and last.finish in ("length", "cancelled", "lost")
    if cut and go_on.button(t("Continue"), icon=":material/more_horiz:", key="chat.go_on", width="stretch"):
        with errors_shown():
            chat.go_on(conversation.id, model.ref, decoding, adapter=_adapter())
            st.rerun()


def _adapter() -> bool:
    return bool(st.session_state.get(ADAPTER, True))


def _ask(conversation: Conversation | None, text: str, model: Model, decoding: Decoding) -> None:
    with errors_shown():
        if conversation is None:
            conversation = chat.create(st.session_state.get("chat.system.new", ""))
        chat.ask(conversation.id, text, model.ref, decoding, adapter=_adapter())
        _open(conversation.id)
        st.rerun()


page()
