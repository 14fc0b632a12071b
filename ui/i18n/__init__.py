"""English text is the key; Chinese stands in `zh/<area>.json`, one flat table an area, merged when first needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from core import settings
from core.errors import UserError

TABLES = Path(__file__).parent / "zh"


def t(text: str, /, **values: object) -> str:
    """The text in the person's language, its `{named}` fields filled."""
    template = chinese().get(text, text) if language() == "zh" else text
    return template.format(**values) if values else template


def error_text(error: UserError | Mapping) -> tuple[str, str]:
    """(problem, remedy) in the person's language, of an error or of its `to_dict()`."""
    if not isinstance(error, UserError):
        error = UserError.from_dict(dict(error))
    return t(error.problem, **error.values), t(error.remedy, **error.values)


def language() -> str:
    """`en` or `zh`: as set, else as the browser asks."""
    try:
        chosen = settings.read().language
    except UserError:
        chosen = "auto"
    return browser_language() if chosen == "auto" else chosen


def browser_language() -> str:
    import streamlit as st

    return "zh" if (st.context.locale or "").lower().startswith("zh") else "en"


@cache
def chinese() -> dict[str, str]:
    merged: dict[str, str] = {}
    for table in sorted(TABLES.glob("*.json")):
        merged |= json.loads(table.read_text(encoding="utf-8"))
    return merged
