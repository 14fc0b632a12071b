"""One row's text with its records marked in it, and the records under it: click one, see the other.

The only place where spans are drawn. The component gets plain data (`payload`) and answers with a
record's name: `entity:3`, `relation:0`, `event:1`. Editing spans can be added on the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from core.extract.readers import page_at
from core.graph.build import located, warnings_of
from core.graph.text import clean
from core.records import Argument, Entity, Extraction, Span
from ui.i18n import error_text, t
from ui.parts.colours import UNTYPED, chip_column, colour, slots
from ui.parts.evidence_window import windowed

_HERE = Path(__file__).parent
LONG = 20_000
"""Codepoints drawn of a text: around its records where it is longer."""

_component = st.components.v2.component(
    "knowlm-studio.evidence",
    html='<div class="evidence"></div>',
    css=(_HERE / "evidence.css").read_text(encoding="utf-8"),
    js=(_HERE / "evidence.js").read_text(encoding="utf-8"),
)


def evidence(extraction: Extraction, key: str, selected: str | None = None, *, types: Iterable[str] = ()) -> str | None:
    """Draw a row's evidence; the record that is selected now, or None.

    That is the last one clicked here, until the caller passes another `selected` (say, of a table).
    `types` are all types of the run or schema, so that each has the same colour in every row.
    """
    state = f"{key}.selected"
    known = st.session_state.get(state)
    if known is None or known["row"] != extraction.id or known["asked"] != selected:
        known = st.session_state[state] = {"row": extraction.id, "asked": selected, "now": selected}

    def clicked() -> None:
        record = st.session_state[key].get("clicked")
        if record:
            known["now"] = None if record == known["now"] else record

    _component(key=key, data=payload(extraction, known["now"], types), on_clicked_change=clicked)
    return known["now"]


def evidence_and_table(
    extraction: Extraction, key: str, selected: str | None = None, *, types: Iterable[str] = ()
) -> str | None:
    """The evidence with a table of the row's records under it; a click in either selects in both."""
    chosen = evidence(extraction, f"{key}.text", selected, types=types)
    lines = record_lines(extraction)
    names = [line["record"] for line in lines]
    if not lines:
        return chosen
    table = f"{key}.table"
    wanted = [names.index(chosen)] if chosen in names else []
    shown = st.session_state.get(table)
    if shown is None or list(shown["selection"]["rows"]) != wanted:
        st.session_state[table] = {"selection": {"rows": wanted, "columns": [], "cells": []}}

    def picked() -> None:
        rows = st.session_state[table]["selection"]["rows"]
        now = names[rows[0]] if rows and rows[0] < len(names) else None
        st.session_state[f"{key}.text.selected"]["now"] = now

    st.dataframe(
        [{name: value for name, value in line.items() if name != "record"} for line in lines],
        key=table,
        hide_index=True,
        on_select=picked,
        selection_mode="single-row",
        column_config={
            "type": chip_column(t("Type"), (line["type"][0] for line in lines if line["type"])),
            "text": st.column_config.TextColumn(t("Text"), width="large"),
            "place": st.column_config.TextColumn(t("Place"), width="small"),
        },
    )
    return chosen


def record_lines(extraction: Extraction) -> list[dict[str, Any]]:
    """One line a record: its name, type, words and place, as a table shows them."""
    lines = [
        _line(f"entity:{number}", entity.type, entity.text, _place(extraction, [entity]))
        for number, entity in enumerate(extraction.entities)
    ]
    for number, relation in enumerate(extraction.relations):
        words = f"{relation.head.text} → {relation.relation} → {relation.tail.text}"
        lines.append(_line(f"relation:{number}", "", words, _place(extraction, [relation.head, relation.tail])))
    for number, event in enumerate(extraction.events):
        told = "; ".join(f"{argument.role}: {argument.text}" for argument in event.arguments)
        words = f"{event.trigger.text} ({told})" if told else event.trigger.text
        lines.append(_line(f"event:{number}", event.type, words, _place(extraction, [event.trigger, *event.arguments])))
    return lines


def _line(record: str, type: str, text: str, place: str) -> dict[str, Any]:
    return {"record": record, "type": [clean(type)] if type else [], "text": clean(text), "place": place}


def _place(extraction: Extraction, spans: Sequence[Entity | Span | Argument]) -> str:
    """`12-18, 30-34`, of a document with pages `p. 3: 4012-4018`; a dash for what the text doesn't hold, and behind
    what stands there otherwise than the model wrote it how well it fits."""
    text = extraction.text
    page = next((page_at(extraction.provenance, span.start) for span in spans if located(text, span)), None)
    told = ", ".join(_where(span) if located(text, span) else "–" for span in spans)
    return f"{t('p. {n}', n=page)}: {told}" if page is not None else told


def _where(span: Entity | Span | Argument) -> str:
    return f"{span.start}-{span.end}" + (f" (≈ {span.fit:.0%})" if span.fit < 1 else "")


def payload(extraction: Extraction, selected: str | None = None, types: Iterable[str] = ()) -> dict[str, Any]:
    """What the component draws, all plain text. Offsets are codepoints; the component counts as Python does."""
    own = [entity.type for entity in extraction.entities] + [event.type for event in extraction.events]
    places = slots(clean(type) for type in (*own, *types))
    marks = _Marks(extraction.text, places)
    rows = [
        *_entity_rows(extraction, marks),
        *_relation_rows(extraction, marks),
        *_event_rows(extraction, marks, places),
    ]
    whole = {
        "text": clean(extraction.text),
        "marks": marks.found,
        "rows": [row for row in rows if not row["lost"] and row["kind"] != "entity"],
        "lost": [row for row in rows if row["lost"]],
        "badges": _badges(extraction),
        "error": " ".join(error_text(extraction.error)) if extraction.error else "",
        "confidence": extraction.confidence,
        "selected": selected,
        "words": {
            "text": t("Text"),
            "relations": t("Relations"),
            "events": t("Events"),
            "lost": t("Not in the text"),
            "why": t("The model wrote this, but the text does not hold it as it stands."),
            "confidence": t("Confidence"),
            "nothing": t("No records in this row."),
            "cut": t("(shortened)"),
        },
    }
    return windowed(whole, LONG)


class _Marks:
    """The highlighted places, one an offset pair and type, and the records that each belongs to."""

    def __init__(self, text: str, places: dict[str, int]) -> None:
        self.text = text
        self.places = places
        self.found: list[dict[str, Any]] = []
        self._at: dict[tuple[int | None, int | None], list[dict[str, Any]]] = {}

    def add(self, span: Entity | Span | Argument, record: str, *, type: str = "", kind: str = "end") -> bool:
        """Mark a span for a record; False if the text doesn't hold it. The end of a relation or an argument lies
        on the entity of the same place, if there is one."""
        if not located(self.text, span):
            return False
        there = self._at.setdefault((span.start, span.end), [])
        for mark in there:
            if kind == "end" or (mark["kind"], mark["label"]) == (kind, type):
                if record not in mark["records"]:
                    mark["records"].append(record)
                return True
        ink = colour(type, self.places) if type else UNTYPED
        mark = {"start": span.start, "end": span.end, "label": type, "kind": kind, "colour": ink, "records": [record]}
        there.append(mark)
        self.found.append(mark)
        return True


def _entity_rows(extraction: Extraction, marks: _Marks) -> Iterable[dict]:
    for number, entity in enumerate(extraction.entities):
        record = f"entity:{number}"
        lost = not marks.add(entity, record, type=clean(entity.type), kind="entity")
        parts = [_part(entity.text, lost=lost), _part(entity.type, "type")]
        yield {"record": record, "kind": "entity", "lost": lost, "parts": parts}


def _relation_rows(extraction: Extraction, marks: _Marks) -> Iterable[dict]:
    for number, relation in enumerate(extraction.relations):
        record = f"relation:{number}"
        head, tail = marks.add(relation.head, record), marks.add(relation.tail, record)
        parts = [
            _part(relation.head.text, lost=not head),
            _part("→", "arrow"),
            _part(relation.relation, "relation"),
            _part("→", "arrow"),
            _part(relation.tail.text, lost=not tail),
        ]
        yield {"record": record, "kind": "relation", "lost": not (head and tail), "parts": parts}


def _event_rows(extraction: Extraction, marks: _Marks, places: dict[str, int]) -> Iterable[dict]:
    for number, event in enumerate(extraction.events):
        record = f"event:{number}"
        type = clean(event.type)
        there = marks.add(event.trigger, record, type=type, kind="trigger")
        parts = [_part(event.type, "type", ink=colour(type, places)), _part(event.trigger.text, lost=not there)]
        for argument in event.arguments:
            found = marks.add(argument, record)
            parts += [_part(argument.role, "role"), _part(argument.text, lost=not found)]
            there = there and found
        yield {"record": record, "kind": "event", "lost": not there, "parts": parts}


def _part(text: str, kind: str = "word", *, lost: bool = False, ink: str = "") -> dict[str, Any]:
    return {"text": clean(text), "kind": kind, "lost": lost, "colour": ink}


def _badges(extraction: Extraction) -> list[str]:
    """What a person must know before believing the row."""
    told = [error_text(warning)[0] for warning in warnings_of(extraction)]
    if not told and extraction.provenance.get("reads_language") is False:
        told.append(t("This model does not read this language."))
    return told
