"""An extraction as the shared page draws it: coloured spans of the text, and one table a kind of record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.graph.colours import colour, slots
from ui.sharing.words import Words


@dataclass(frozen=True)
class Table:
    headers: list[str]
    rows: list[list[str]]


def tables(found: dict[str, Any], words: Words) -> tuple[Table, Table, Table]:
    """Entities, relations, events; a span that was not found in the text has no place."""
    t = words.t
    entities = [[one["type"], one["text"], _place(one)] for one in found["entities"]]
    relations = [[one["head"]["text"], one["relation"], one["tail"]["text"]] for one in found["relations"]]
    events = [
        [one["type"], one["trigger"]["text"], "; ".join(f"{part['role']}: {part['text']}" for part in one["arguments"])]
        for one in found["events"]
    ]
    return (
        Table([t("Type"), t("Text"), t("Place")], entities),
        Table([t("Head"), t("Relation"), t("Tail")], relations),
        Table([t("Type"), t("Trigger"), t("Arguments")], events),
    )


def marked(found: dict[str, Any]) -> tuple[list[tuple[str, str | None]], dict[str, str]]:
    """The whole text in pieces, each with its type or None, and the types' colours.

    Of spans that overlap the first is coloured, the longest where several begin; the others stand in the tables.
    """
    text, at = found["text"], 0
    pieces: list[tuple[str, str | None]] = []
    for start, end, label in sorted(_spans(found), key=lambda span: (span[0], -span[1])):
        if start < at:
            continue
        pieces += [(text[at:start], None)] if start > at else []
        pieces.append((text[start:end], label))
        at = end
    if at < len(text):
        pieces.append((text[at:], None))
    places = slots([label for _, label in pieces if label])
    return pieces, {label: colour(label, places) for label in places}


def _spans(found: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Entities by type; of relations and events, whose spans have none of their own, what they are."""
    named = [(one, one["type"]) for one in found["entities"]]
    named += [(one[end], one["relation"]) for one in found["relations"] for end in ("head", "tail")]
    for event in found["events"]:
        named += [(event["trigger"], event["type"]), *((part, part["role"]) for part in event["arguments"])]
    spans: dict[tuple[int, int], str] = {}
    for one, label in named:  # an entity's type comes first
        if one["start"] is not None and one["end"] > one["start"]:
            spans.setdefault((one["start"], one["end"]), label)
    return [(start, end, label) for (start, end), label in spans.items()]


def _place(one: dict[str, Any]) -> str:
    return "–" if one["start"] is None else f"{one['start']}–{one['end']}"
