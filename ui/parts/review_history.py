"""What was decided, step by step, with who, when and why; any step can be undone, and done again."""

from __future__ import annotations

import streamlit as st

from core.extract.review import queue
from core.extract.review.book import Book
from core.extract.review.decide import Action, apply
from core.extract.review.queue import Step
from core.graph.text import clean
from ui.i18n import t
from ui.parts.errors import show_error
from ui.parts.job_panel import when

SHOWN = 200


def op_name(op: str) -> str:
    return {
        "accept": t("accepted"),
        "reject": t("rejected"),
        "group": t("decided as a group"),
        "span": t("span edited"),
        "type": t("type changed"),
        "swap": t("direction swapped"),
        "argument": t("argument added"),
        "role": t("role changed"),
        "drop": t("argument taken out"),
        "add": t("record added"),
        "whole": t("called whole"),
        "open": t("not whole after all"),
        "take": t("the other's decision taken"),
        "merge": t("another's review taken in"),
    }.get(op, op)


def history(book: Book, who: str, key: str) -> None:
    steps = queue.history(book, SHOWN)
    if not steps:
        st.caption(t("Nothing has been decided yet."))
        return
    st.caption(t("The latest steps first. Choose one to undo it, whenever it was made."))
    turn = st.session_state.get(f"{key}.turn", 0)
    picked = st.dataframe(
        [_cells(step) for step in steps],
        hide_index=True,
        height=min(460, 38 + 35 * len(steps)),
        on_select="rerun",
        selection_mode="single-row",
        key=f"{key}.table.{turn}",
        column_config={
            "when": st.column_config.TextColumn(t("When"), width=130),
            "who": st.column_config.TextColumn(t("Who"), width="small"),
            "what": st.column_config.TextColumn(t("What")),
            "record": st.column_config.TextColumn(t("Record"), width="medium"),
            "records": st.column_config.NumberColumn(t("How many"), width="small"),
            "why": st.column_config.TextColumn(t("Why")),
            "state": st.column_config.TextColumn(t("State"), width="small"),
        },
    )["selection"]["rows"]
    chosen = steps[picked[0]] if picked and picked[0] < len(steps) else None
    label = t("Do it again") if chosen is not None and chosen.undone else t("Undo this step")
    icon = ":material/redo:" if chosen is not None and chosen.undone else ":material/undo:"
    if st.button(label, icon=icon, disabled=chosen is None, key=f"{key}.back") and chosen is not None:
        _back(book, chosen, who, key)


def _cells(step: Step) -> dict[str, object]:
    return {
        "when": when(step.at),
        "who": step.who,
        "what": op_name(step.op),
        "record": clean(step.record),
        "records": step.records,
        "why": step.why,
        "state": t("undone") if step.undone else "",
    }


def _back(book: Book, chosen: Step, who: str, key: str) -> None:
    op = "redo" if chosen.undone else "undo"
    outcome = apply(book, [Action(op=op, of=chosen.action)], who)
    for error in outcome.refused.values():
        show_error(error)
        return
    st.session_state[f"{key}.turn"] = st.session_state.get(f"{key}.turn", 0) + 1
    st.rerun()
