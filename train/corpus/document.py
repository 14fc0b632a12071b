"""What flows from reading through cleaning to packing: one text and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    source: str
    """The corpus source it belongs to, as the configuration names it."""
    id: str
    """What finds it again: file and line, or what the file itself calls it."""
    language: str = ""
    """`en`, `zh`, … or empty where nobody knows."""
