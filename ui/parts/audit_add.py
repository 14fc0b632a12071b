"""Adding what a sentence holds and the run did not find: words as they stand there, and their type."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.extract.audit_values import Item
from core.extract.schema import Task
from core.records import Extraction, Span
from ui.i18n import t
from ui.parts.audit_sentence import found, occurrences, with_entity, with_event, with_relation
from ui.parts.errors import plain
from ui.parts.schema_choice import task_name

ROLES = 4
"""Arguments that the form has room for; an event with more is added with these, and the rest as a second one."""


def add_form(
    item: Item, tasks: Sequence[Task], types: dict[Task, list[str]], added: Extraction | None, key: str
) -> Extraction | None:
    """Draw the form; the records with the one that was added now, or None."""
    with st.container(border=True):
        task = tasks[0]
        if len(tasks) > 1:
            task = st.segmented_control(
                t("Kind of record"), tasks, default=tasks[0], format_func=task_name, key=f"{key}.task", required=True
            )
        st.caption(t("Write the words as they stand in the sentence; copying them is safest."))
        if task == "ner":
            return _entity(item, types["ner"], added, key)
        if task == "re":
            return _relation(item, types["re"], added, key)
        return _event(item, types["ee"], added, key)


def _entity(item: Item, types: list[str], added: Extraction | None, key: str) -> Extraction | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        span = _words(t("Words"), item, f"{key}.words")
        type = _type(t("Type"), types, f"{key}.type")
    return with_entity(added, item, type, span) if _pressed(key, span and type) and span and type else None


def _relation(item: Item, types: list[str], added: Extraction | None, key: str) -> Extraction | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        head = _words(t("Head"), item, f"{key}.head")
        type = _type(t("Relation"), types, f"{key}.relation")
        tail = _words(t("Tail"), item, f"{key}.tail")
    whole = head and type and tail
    return with_relation(added, item, head, type, tail) if _pressed(key, whole) and head and type and tail else None


def _event(item: Item, types: list[str], added: Extraction | None, key: str) -> Extraction | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        trigger = _words(t("Trigger"), item, f"{key}.trigger")
        type = _type(t("Event"), types, f"{key}.event")
    arguments = []
    for number in range(ROLES):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            role = st.text_input(t("Role"), key=f"{key}.role.{number}", width=180).strip()
            span = _words(t("Argument"), item, f"{key}.argument.{number}")
        if role and span:
            arguments.append((role, span))
        elif not role:
            break
    whole = trigger and type
    return with_event(added, item, type, trigger, arguments) if _pressed(key, whole) and trigger and type else None


def _words(label: str, item: Item, key: str) -> Span | None:
    """Words of the sentence, and which of several places is meant."""
    words = st.text_input(label, key=key, width=240)
    if not words.strip():
        return None
    places = occurrences(words, item)
    if not places:
        st.caption(f":orange[{t('The sentence does not hold “{words}”.', words=plain(words.strip()))}]")
        return None
    if len(places) == 1:
        return found(words, item)
    nth = st.selectbox(
        t("Which one"),
        range(len(places)),
        format_func=lambda place: _around(item, places[place], words),
        key=f"{key}.nth",
    )
    return found(words, item, nth)


def _around(item: Item, start: int, words: str) -> str:
    text, end = item.document.text, start + len(words.strip())
    return f"…{text[max(item.start, start - 12) : start]}[{text[start:end]}]{text[end : min(item.end, end + 12)]}…"


def _type(label: str, types: list[str], key: str) -> str | None:
    return st.selectbox(label, types, index=None, key=key, accept_new_options=True, width=220)


def _pressed(key: str, whole: object) -> bool:
    return st.button(t("Add"), key=f"{key}.add", icon=":material/add:", disabled=not whole)
