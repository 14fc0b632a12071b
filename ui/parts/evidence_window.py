"""Of a long document the part that is drawn: around the chosen record, else around the first ones."""

from __future__ import annotations

from typing import Any

BEFORE = 500
"""Codepoints in front of the record."""
LOST = 200
"""Records that the text doesn't hold, drawn under it; all of them stand in the table."""


def windowed(data: dict[str, Any], long: int) -> dict[str, Any]:
    """The component's data with the text cut to `long` codepoints and without what lies outside. `cut`: (before,
    after), whether something was left out there. What it gets stays small, whatever the document's length."""
    text, marks = data["text"], data["marks"]
    if len(text) <= long:
        return data | {"cut": (False, False)}
    own = [mark for mark in marks if data["selected"] in mark["records"]] or marks
    first = min((mark["start"] for mark in own), default=0)
    start = max(0, min(first - BEFORE, len(text) - long))
    end = start + long
    inside = [
        mark | {"start": max(0, mark["start"] - start), "end": min(long, mark["end"] - start)}
        for mark in marks
        if mark["end"] > start and mark["start"] < end
    ]
    seen = {record for mark in inside for record in mark["records"]}
    return data | {
        "text": text[start:end],
        "marks": inside,
        "rows": [row for row in data["rows"] if row["record"] in seen],
        "lost": data["lost"][:LOST],
        "cut": (start > 0, end < len(text)),
    }
