"""Which sentences are in the queue and in which order; and the queue itself, held while it is worked on."""

from __future__ import annotations

import hashlib
import time

import streamlit as st

from core.extract.review import queue
from core.extract.review.book import Book
from core.extract.review.queue import Filter, Order, Todo
from core.graph.text import clean
from ui.i18n import t
from ui.parts.errors import plain
from ui.parts.pickers import model_titles
from ui.parts.review_board import Queue


def state_name(state: Todo) -> str:
    return {
        "todo": t("To review"),
        "decided": t("Decided, not whole"),
        "reviewed": t("Reviewed"),
        "changed": t("Corrected"),
        "disputed": t("Disagreements"),
        "all": t("All sentences"),
    }[state]


def filters(book: Book, key: str) -> Filter:
    states: list[Todo] = ["todo", "decided", "reviewed", "changed", "all"]
    if queue.counts(book).disputed:
        states.insert(1, "disputed")
    types = sorted({type for names in queue.types(book).values() for type in names})
    models = queue.models(book)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state = st.selectbox(
            t("Sentences"),
            states,
            format_func=state_name,
            key=f"{key}.state",
            persist_state="page",
            label_visibility="collapsed",
            width=200,
        )
        with st.popover(t("Filters"), icon=":material/filter_alt:"):
            chosen = st.multiselect(
                t("Types"),
                types,
                format_func=clean,
                key=f"{key}.types",
                persist_state="page",
                placeholder=t("All types"),
            )
            wanted: list[str] = []
            if len(models) > 1:
                wanted = st.multiselect(
                    t("Models"),
                    models,
                    format_func=lambda ref: model_titles().get(ref, ref),
                    key=f"{key}.models",
                    persist_state="page",
                    placeholder=t("All models"),
                )
            rows = st.text_input(t("Rows"), key=f"{key}.rows", placeholder=t("such as 1-200"), persist_state="page")
            orders: list[Order] = ["confidence", "file"]
            order = st.selectbox(
                t("Order"),
                orders,
                format_func=lambda order: {"confidence": t("Least sure first"), "file": t("In the file's order")}[
                    order
                ],
                key=f"{key}.order",
                persist_state="page",
            )
            bare = st.toggle(
                t("Empty sentences too"),
                value=True,
                key=f"{key}.bare",
                help=t(
                    "Sentences in which the model found nothing: only there you see what it missed. They come last."
                ),
            )
        narrowed = [*chosen, *(model_titles().get(one, one) for one in wanted), rows.strip()]
        if any(narrowed):
            st.caption(plain(" · ".join(clean(one) for one in narrowed if one)), width="content")
    return Filter(state, tuple(chosen), tuple(wanted), ranges(rows), order, bare)


def ranges(text: str) -> tuple[tuple[int, int], ...]:
    """`1-20, 35`, counted from 1, as first and last rows counted from 0. What can't be read is left out."""
    found = []
    for part in text.replace("，", ",").split(","):
        first, _, last = (word.strip() for word in part.partition("-"))
        if first.isdecimal() and (last.isdecimal() or not last) and len(first) < 16 and len(last) < 16:
            found.append((int(first) - 1, int(last or first) - 1))
    return tuple(found)


def held_queue(book: Book, filter: Filter, key: str) -> Queue:
    """The queue of that filter. It is asked for anew where the filter changes or the person says so."""
    held: Queue | None = st.session_state.get(f"{key}.held")
    if held is None or held.filter != filter:
        held = again(book, filter, key)
    return held


def again(book: Book, filter: Filter, key: str) -> Queue:
    told = f"{book.id} {filter} {time.time()}"
    made = Queue(hashlib.sha256(told.encode()).hexdigest()[:16], filter, queue.ids(book, filter))
    st.session_state[f"{key}.held"] = made
    return made
