"""Judging: one sentence large, its records as chips that a key turns from right to wrong, what is missing added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from core.extract.audit import Audit
from core.extract.audit_share import suggested
from core.extract.audit_values import Item, Judgement, SampleInfo, key_of
from core.extract.evaluate_pieces import Piece
from core.extract.schema import Task
from core.graph.text import clean
from core.records import Extraction
from ui.i18n import t
from ui.parts.audit_add import add_form
from ui.parts.audit_sentence import sentence_row, without
from ui.parts.errors import errors_shown, plain
from ui.parts.evidence import evidence

KEYS = 9
"""Records that have a key of their own: 1 to 9."""


@dataclass
class Draft:
    """What is said of the sentence so far; written down when it is done."""

    wrong: set[str] = field(default_factory=set)
    added: Extraction | None = None
    suggested: bool = False


def judge(audit: Audit, info: SampleInfo, who: str) -> None:
    """Draw the sentence in turn, and write down what is said of it."""
    key = f"audit.{audit.folder.name}.{info.sample}"
    nr = _nr(audit, info, key)
    if nr is None:
        st.success(t("All sentences of the sample are judged."), icon=":material/task_alt:")
        if st.button(t("Look at them again"), key=f"{key}.again", icon=":material/undo:"):
            st.session_state[f"{key}.nr"] = info.size - 1
            st.rerun()
        return
    item = next(audit.items(info.sample, nr))
    pieces = item.pieces(info.tasks)
    draft = _draft(item, info, f"{key}.{nr}.draft")
    st.progress(info.judged / info.size, text=t("{n} of {all} sentences judged", n=info.judged, all=info.size))
    with st.container(border=True):
        _sentence(item, pieces, draft, f"{key}.{nr}")
        _chips(pieces, draft, f"{key}.{nr}")
        _added(draft, f"{key}.{nr}")
    _buttons(audit, info, item, draft, who, key)
    if st.session_state.get(f"{key}.adding"):
        added = add_form(item, info.tasks, _types(audit, info), draft.added, f"{key}.{nr}.form.{_size(draft.added)}")
        if added is not None:
            draft.added = added
            st.rerun()


def _nr(audit: Audit, info: SampleInfo, key: str) -> int | None:
    """The sentence that was asked for, else the first that nobody has judged."""
    asked = st.session_state.get(f"{key}.nr")
    if asked is not None and 0 <= asked < info.size:
        return asked
    return next(iter(audit.open_items(info.sample)), None)


def _draft(item: Item, info: SampleInfo, key: str) -> Draft:
    if key not in st.session_state:
        told = item.judgement or suggested(info, item)
        made = Draft(suggested=item.judgement is None and told is not None)
        if told is not None:
            made.wrong, made.added = set(told.wrong), told.added
        st.session_state[key] = made
    return st.session_state[key]


def _sentence(item: Item, pieces: Sequence[Piece], draft: Draft, key: str) -> None:
    number = item.document.provenance.get("row")
    told = [t("Row {row}", row=plain(item.document.id) if number is None else int(number) + 1)]
    if item.judgement is not None:
        told.append(t("judged by {who}", who=plain(item.judgement.who)))
    st.caption(" · ".join(told))
    st.markdown(f"### {plain(clean(item.sentence.strip()))}")
    if pieces or draft.added is not None:
        evidence(sentence_row(item, pieces, draft.added), f"{key}.evidence.{_size(draft.added)}")
    with st.expander(t("In its text"), icon=":material/article:"):
        text = item.document.text
        before, after = text[max(0, item.start - 600) : item.start], text[item.end : item.end + 600]
        st.markdown(
            f"{plain(clean(before))}**{plain(clean(text[item.start : item.end].strip()))}** {plain(clean(after))}"
        )
    if draft.suggested:
        st.info(
            t("Filled in from what was said of this sentence for the other run. Look at what is only here."),
            icon=":material/content_copy:",
        )


def _chips(pieces: Sequence[Piece], draft: Draft, key: str) -> None:
    if not pieces:
        st.caption(t("The run found nothing in this sentence. Is that right?"))
        return
    with st.container(horizontal=True, gap="small"):
        _draw_chips(pieces, draft, key)


def _draw_chips(pieces: Sequence[Piece], draft: Draft, key: str) -> None:
    for number, piece in enumerate(pieces, start=1):
        name = key_of(piece)
        wrong = name in draft.wrong or not piece.item.located
        icon = ":red[:material/close:]" if wrong else ":green[:material/check:]"
        words = plain(clean(piece.words))
        told = words if piece.item.slot in ("relation", "argument") else f"{words} · **{plain(clean(piece.label))}**"
        st.button(
            f"{icon} {told}" + (f" · {t('not in the text')}" if not piece.item.located else ""),
            key=f"{key}.chip.{number}",
            on_click=_turn,
            args=(draft, name),
            shortcut=str(number) if number <= KEYS else None,
            disabled=not piece.item.located,
        )


def _turn(draft: Draft, name: str) -> None:
    draft.wrong ^= {name}


def _added(draft: Draft, key: str) -> None:
    """What was missing; a click takes it out again."""
    if draft.added is None:
        return
    told = [("entity", number, f"{one.text} · {one.type}") for number, one in enumerate(draft.added.entities)]
    told += [
        ("relation", number, f"{one.head.text} → {one.relation} → {one.tail.text}")
        for number, one in enumerate(draft.added.relations)
    ]
    told += [("event", number, f"{one.trigger.text} · {one.type}") for number, one in enumerate(draft.added.events)]
    for kind, number, words in told:
        if st.button(
            f":blue[:material/add_circle:] {plain(clean(words))}",
            key=f"{key}.added.{kind}.{number}",
            type="tertiary",
            help=t("Missing in the run; a click takes it out again."),
        ):
            draft.added = without(draft.added, kind, number) if draft.added else None
            st.rerun()


def _buttons(audit: Audit, info: SampleInfo, item: Item, draft: Draft, who: str, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(t("So it is, next"), type="primary", icon=":material/check:", shortcut="Enter", key=f"{key}.done"):
            with errors_shown():
                audit.judge(info.sample, item.nr, Judgement(tuple(sorted(draft.wrong)), draft.added), who)
                _go(key, item.nr, None)
        adding = bool(st.session_state.get(f"{key}.adding"))
        if st.button(
            t("Close the form") if adding else t("Something is missing"),
            icon=":material/add:",
            shortcut="A",
            key=f"{key}.add",
        ):
            st.session_state[f"{key}.adding"] = not adding
            st.rerun()
        if st.button(t("Back"), icon=":material/arrow_back:", shortcut="B", key=f"{key}.back", disabled=item.nr == 0):
            _go(key, item.nr, item.nr - 1)
        if item.judgement is not None and st.button(
            t("Open it again"), icon=":material/undo:", shortcut="U", key=f"{key}.open"
        ):
            with errors_shown():
                audit.judge(info.sample, item.nr, None, who)
                _go(key, item.nr, item.nr)
        if item.judgement is not None and st.button(
            t("Next"), icon=":material/arrow_forward:", shortcut="N", key=f"{key}.next"
        ):
            _go(key, item.nr, item.nr + 1 if item.nr + 1 < info.size else None)
    st.caption(t("1 to 9 turn a record from right to wrong and back; a record is right only if all of it is."))


def _go(key: str, left: int, to: int | None) -> None:
    """To another sentence; None: the first open one. What is drafted of the one that is left is read anew."""
    st.session_state.pop(f"{key}.{left}.draft", None)
    st.session_state[f"{key}.nr"] = to
    st.rerun()


def _size(added: Extraction | None) -> int:
    return 0 if added is None else len(added.entities) + len(added.relations) + len(added.events)


def _types(audit: Audit, info: SampleInfo) -> dict[Task, list[str]]:
    """The types that occur in the sample's texts; others can be typed in."""
    found = _known(str(audit.file), info.sample, info.judged)
    return {task: found[task] for task in info.tasks}


@st.cache_data(max_entries=8, show_spinner=False)
def _known(file: str, sample: int, judged: int) -> dict[Task, list[str]]:
    """`judged` is only a part of the cache's key: what was added brings types."""
    types: dict[Task, set[str]] = {"ner": set(), "re": set(), "ee": set()}
    for item in Audit(Path(file).parent).items(sample):
        for row in (item.document, item.judgement.added if item.judgement else None):
            if row is not None:
                types["ner"] |= {one.type for one in row.entities}
                types["re"] |= {one.relation for one in row.relations}
                types["ee"] |= {one.type for one in row.events}
    return {task: sorted(names) for task, names in types.items()}
