"""Type colours as pages use them. Which type has which colour is decided in core/graph/colours.py, once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from core.graph.colours import PALETTE, UNTYPED, colour, shape, slots

__all__ = ["PALETTE", "UNTYPED", "chip_column", "colour", "is_dark", "shape", "slots"]


def is_dark() -> bool:
    """Whether the person's page is dark now."""
    return st.context.theme.type == "dark"


def chip_column(label: str, types: Iterable[str]) -> Any:
    """A table column whose cells (lists of one type) are chips in the types' colours."""
    known = sorted({type for type in types if type})
    places = slots(known)
    return st.column_config.MultiselectColumn(label, options=known, color=[colour(type, places) for type in known])
