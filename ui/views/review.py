"""Review: one sentence large, its records under it, decided by keyboard; then gold, training rows, a second opinion."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.extract.review import queue
from core.extract.review.book import Book
from core.extract.review.commands import account
from core.extract.schema import Schema
from ui.i18n import t
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.review_board import board
from ui.parts.review_exchange import export_view, receive, second_view
from ui.parts.review_filters import again, filters, held_queue
from ui.parts.review_history import history
from ui.parts.review_runs import choose, reviewable, schema_of, take_in


def page() -> None:
    known = reviewable()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(t("Review"), width="stretch")
        chosen = choose(known) if known else None
    if chosen is None:
        _empty()
        return
    st.query_params["run"] = chosen.name
    book = Book(chosen.folder)
    schema = schema_of(chosen)
    with errors_shown():
        complete = take_in(book, schema)
        _review(book, schema, complete, f"review.{chosen.name}")


def _empty() -> None:
    st.write(t("There is nothing to review yet: run an extraction first. Its records then wait here to be decided."))
    if st.button(t("Run an extraction"), type="primary", icon=":material/data_object:", key="review.extract"):
        st.switch_page("views/extract.py")
    with st.expander(t("Receive a package"), icon=":material/move_to_inbox:"):
        receive("review.receive")


def _review(book: Book, schema: Schema | None, complete: bool, key: str) -> None:
    if not complete:
        st.fragment(_taking_in, run_every=1)(book, schema, key)
    if not queue.counts(book).units:
        st.info(t("This run has no sentences to review so far."), icon=":material/info:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        views = {
            "decide": t("Decide"),
            "history": t("History"),
            "export": t("Export"),
            "second": t("Second reviewer"),
            "receive": t("Receive a package"),
        }
        shown = st.segmented_control(
            t("View"),
            list(views),
            default="decide",
            format_func=lambda view: views[view],
            key=f"{key}.view",
            label_visibility="collapsed",
            required=True,
        )
        who = _who(book)
    if shown == "decide":
        _decide(book, filters(book, f"{key}.filter"), who, key)
    elif shown == "history":
        history(book, who, f"{key}.history")
    elif shown == "export":
        export_view(book, schema, who, f"{key}.export")
    elif shown == "second":
        second_view(book, f"{key}.second")
    else:
        receive("review.receive")


def _who(book: Book) -> str:
    """Whose decisions they are. Said once, it stays for this review."""
    said = book.meta("who") or account()
    with st.popover(plain(said), icon=":material/person:"):
        name = st.text_input(
            t("Your name"), value=said, key=f"review.who.{book.id}", help=t("It stands beside every step you take.")
        ).strip()
    if name and name != said:
        book.set_meta(who=name)
        return name
    return said


def _taking_in(book: Book, schema: Schema | None, key: str) -> None:
    try:
        complete = take_in(book, schema)
    except UserError as error:
        show_error(error)
        return
    if complete:
        st.session_state.pop(f"{key}.held", None)  # the queue is asked for anew, with all sentences
        st.rerun()
    st.caption(t("The run's sentences are being taken in: {n} so far.", n=f"{queue.counts(book).units:,}"))


@st.fragment
def _decide(book: Book, filter: queue.Filter, who: str, key: str) -> None:
    held = held_queue(book, filter, key)
    place = f"{key}.board"
    with errors_shown():
        if not board(book, held, who, place):
            again(book, filter, key)
            st.rerun()
        _progress(book, filter, key)


def _progress(book: Book, filter: queue.Filter, key: str) -> None:
    done = queue.counts(book)
    told = t(
        "Reviewed: {reviewed} of {units} sentences · decided: {decided} of {records} records",
        reviewed=f"{done.reviewed:,}",
        units=f"{done.units:,}",
        decided=f"{done.decided:,}",
        records=f"{done.records:,}",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(done.reviewed / done.units if done.units else 0.0, text=told, width="stretch")
        if st.button(
            t("Ask for the queue anew"),
            icon=":material/refresh:",
            key=f"{key}.again",
            help=t("The queue stays as it was while you work on it. Anew, it leaves out what no longer matches."),
        ):
            again(book, filter, key)
            st.rerun(scope="fragment")


page()
