"""The board: one sentence large, its records under it, decided by keyboard; what is decided is stored in batches.

The component holds the next sentences, so the one after shows at once. What it sends comes again until it is
confirmed, and a step that came twice is stored once (core/extract/review/decide.py).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import UserError
from core.extract.review import queue
from core.extract.review.book import Book
from core.extract.review.decide import apply
from core.extract.review.queue import Filter
from core.extract.schema import EventType, RelationType, Schema
from core.graph.text import clean
from ui.i18n import error_text, t
from ui.parts.colours import UNTYPED, colour, slots

_HERE = Path(__file__).parent
BEHIND, AHEAD = 6, 30
"""Sentences that the browser holds beside the one that is shown."""
LETTERS = 200_000
"""Characters of theirs that are sent at most: a few very long ones are fewer."""

_component = st.components.v2.component(
    "knowlm-studio.review_board",
    css=(_HERE / "review_board.css").read_text(encoding="utf-8"),
    js="\n".join(
        (_HERE / f"review_{name}.js").read_text(encoding="utf-8") for name in ("model", "text", "draw", "keys", "board")
    ),
)


@dataclass(frozen=True)
class Queue:
    """A queue as it was when it was asked for; it stays so while its sentences are decided."""

    name: str
    filter: Filter
    ids: array[int]


def board(book: Book, held: Queue, who: str, key: str) -> bool:
    """Draw the board; what it sends is stored before anything else of the page is drawn.

    False where the queue names sentences that are gone, since their document was extracted again.
    """

    def sent() -> None:
        given = st.session_state[key].get("sent")
        if given:
            st.session_state[f"{key}.told"] = _store(book, held, who, given)
            st.session_state[f"{key}.at"] = max(0, min(int(given["at"]), len(held.ids)))

    told = st.session_state.get(f"{key}.told", {})
    at = st.session_state.get(f"{key}.at")
    if at is None or st.session_state.get(f"{key}.queue") != held.name:
        st.session_state[f"{key}.queue"] = held.name
        at = st.session_state[f"{key}.at"] = _place(book, held, who)
    data = payload(book, held, at, told)
    _component(key=key, data=data, on_sent_change=sent)
    return at >= len(held.ids) or any(unit["place"] == at for unit in data["units"])


def _store(book: Book, held: Queue, who: str, given: dict[str, Any]) -> dict[str, Any]:
    """What the board is told of the steps it sent."""
    told: dict[str, Any] = {"number": int(given["number"]), "done": [], "refused": {}, "failed": "", "goto": None}
    steps = [step for step in given["steps"] if isinstance(step, dict)]
    at = int(given["at"])
    try:
        if steps:
            outcome = apply(book, steps, who)
            told["done"] = outcome.done
            told["refused"] = {id: " ".join(error_text(error)) for id, error in outcome.refused.items()}
            away = next((step for step in steps if step.get("op") in ("undo", "redo") and not step.get("of")), None)
            places = [held.ids.index(unit) for unit in outcome.units if unit in held.ids] if away else []
            told["goto"] = [told["number"], places[0]] if places else None
        if 0 <= at < len(held.ids):
            book.set_meta(**{f"at:{who}": held.ids[at]})
    except UserError as error:
        told["failed"] = " ".join(error_text(error))
    return told


def _place(book: Book, held: Queue, who: str) -> int:
    """Where this person was last, else the beginning."""
    last = book.meta(f"at:{who}")
    return held.ids.index(last) if last in held.ids else 0


def payload(book: Book, held: Queue, at: int, told: dict[str, Any]) -> dict[str, Any]:
    """What the component draws: plain data; offsets are codepoints of the sentence."""
    first = max(0, at - BEHIND)
    units = queue.read(book, held.ids[first : at + AHEAD])
    places = {unit: first + number for number, unit in enumerate(held.ids[first : at + AHEAD])}
    shown: list[dict[str, Any]] = []
    letters = 0
    for unit in sorted(units, key=lambda unit: (abs(places[unit["id"]] - at), places[unit["id"]])):
        letters += len(unit["text"])
        if letters > LETTERS and shown:
            break
        shown.append(_unit(unit, places[unit["id"]]))
    types = _types(book.schema(), queue.types(book))
    coloured = slots(one["name"] for kind in ("entity", "event") for one in types[kind])
    return {
        "review": book.id,
        "queue": held.name,
        "total": len(held.ids),
        "at": at,
        "units": shown,
        "types": types,
        "colours": {name: colour(name, coloured) for name in coloured},
        "plain": UNTYPED,
        "number": told.get("number", 0),
        "done": told.get("done", []),
        "refused": told.get("refused", {}),
        "failed": told.get("failed", ""),
        "goto": told.get("goto"),
        "words": _words(),
    }


def _unit(unit: dict[str, Any], place: int) -> dict[str, Any]:
    """A sentence with all its texts fit to be sent: a lone surrogate has no bytes."""
    title = " · ".join(part for part in (unit["document"], unit["model"]) if part)
    return _clean(unit | {"place": place, "title": title})


def _clean(thing: Any) -> Any:
    if isinstance(thing, str):
        return clean(thing)
    if isinstance(thing, dict):
        return {name: _clean(value) for name, value in thing.items()}
    return [_clean(value) for value in thing] if isinstance(thing, list | tuple) else thing


def _types(schema: Schema | None, found: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """The schema's types of each kind, and those that occur besides."""
    made: dict[str, list[dict[str, Any]]] = {"entity": [], "relation": [], "event": []}
    if schema is not None:
        made["entity"] = [{"name": one.name, "more": one.description} for one in schema.entities]
        made["relation"] = [{"name": one.name, "more": _ends(one)} for one in schema.relations]
        made["event"] = [{"name": one.name, "more": one.description, "roles": _roles(one)} for one in schema.events]
    for kind, names in found.items():
        known = {one["name"] for one in made[kind]}
        made[kind] += [{"name": name, "more": ""} for name in names if name not in known]
    return _clean(made)


def _ends(one: RelationType) -> str:
    ends = f"{one.head or t('anything')} → {one.tail or t('anything')}" if one.head or one.tail else ""
    return " · ".join(part for part in (ends, one.description) if part)


def _roles(one: EventType) -> list[str]:
    return [role.name for role in one.roles]


def _words() -> dict[str, str]:
    return {
        "board": t("Review: one sentence with its records"),
        "place": t("{n} of {all}", n="{n}", all="{all}"),
        "row": t("row {row}", row="{row}"),
        "whole": t("whole"),
        "saved": t("saved"),
        "saving": t("not saved yet: {n}", n="{n}"),
        "nothing": t("The model found nothing in this sentence. Add what is missing, or call it whole."),
        "empty": t("No sentence matches these filters."),
        "end": t("That was the last sentence of this queue."),
        "loading": t("The next sentences are being fetched…"),
        "open": t("Records still undecided: {n}. Decide them, or accept the rest with Shift+Enter.", n="{n}"),
        "pending": t("undecided"),
        "accepted": t("accepted"),
        "rejected": t("rejected"),
        "proposed": t("proposed by another"),
        "missing": t("not there"),
        "added": t("added"),
        "edited": t("edited"),
        "swapped": t("direction in doubt"),
        "lost": t("not in the text"),
        "confidence": t("Confidence"),
        "head": t("head"),
        "tail": t("tail"),
        "span": t("entity"),
        "trigger": t("trigger"),
        "entity": t("Entity"),
        "relation": t("Relation"),
        "event": t("Event"),
        "accept": t("Accept"),
        "reject": t("Reject"),
        "edit": t("Edit span"),
        "type": t("Type"),
        "swap": t("Swap direction"),
        "argument": t("Add argument"),
        "new": t("Add record"),
        "accept_all": t("Accept all {n} alike", n="{n}"),
        "reject_all": t("Reject all {n} alike", n="{n}"),
        "take": t("Take the other's"),
        "why": t("Why"),
        "why_hint": t("A reason for the next step; Enter keeps it"),
        "undo": t("Undo"),
        "redo": t("Redo"),
        "previous": t("Previous"),
        "next": t("Next"),
        "done": t("Sentence is whole"),
        "done_rest": t("Accept the rest, whole"),
        "filter": t("Type to filter, Enter to choose"),
        "choose_type": t("Which type is it?"),
        "choose_role": t("Which role?"),
        "choose_new": t("What is missing?"),
        "edit_span": t("Where is it: {part}", part="{part}"),
        "select_for": t("Select in the text: {part}", part="{part}"),
        "select_keys": t(
            "← → another word · Shift+← → its end · Alt+← → its beginning · ↑ ↓ by character · "
            "Enter takes it · Esc leaves"
        ),
        "select_parts": t(
            "← → another word · Shift+← → its end · Alt+← → its beginning · ↑ ↓ by character · Tab the next part · "
            "Del takes an argument out · Enter takes it · Esc leaves"
        ),
        "keys": t("↑ ↓ choose a record · drag over words to select them · a sentence counts once you call it whole"),
    }
