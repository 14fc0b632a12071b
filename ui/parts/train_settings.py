"""The settings of a training: the few that matter in a row each, all others folded under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.launchers import gpu
from core.launchers.finetune import FinetuneRequest
from ui.i18n import t
from ui.parts.request_form import FormField, fields_of, request_form

ESSENTIAL = ("epochs", "max_steps", "batch", "learning_rate", "max_length", "validation_share")
CHOSEN = ("base", "data", "validation", "method", "out", "resume", "unload_host", "dry_run")
"""What the rest of the page asks for."""


def settings_form(
    key: str, given: Mapping[str, Any], *, changing: bool = False, beside: int = 2
) -> FinetuneRequest | None:
    """Draw it; the whole request, or None where something is wrong, which is then said.

    `given`: the fields that are chosen elsewhere, and defaults of the others. `changing`: a training that is gone on
    with, whose validation part stays what it is.
    """
    known = {field.name: field for field in fields_of(FinetuneRequest)}
    shown = [name for name in ESSENTIAL if not (name == "validation_share" and (changing or given.get("validation")))]
    values = dict(given)
    places = [place for _ in range(0, len(shown), beside) for place in st.columns(beside)]
    for name, place in zip(shown, places, strict=False):
        with place:
            values[name] = number(known[name], key, given)
    hidden = [*ESSENTIAL, *CHOSEN, *(["devices"] if not gpu.usable() else [])]
    return request_form(FinetuneRequest, key, hide=hidden, defaults=values)


def number(field: FormField, key: str, given: Mapping[str, Any]) -> Any:
    """A number in as many places as it has: a learning rate of 0.0003 is not 0.00."""
    whole = field.kind is int
    default = given.get(field.name, field.info.get_default())
    steps = {"learning_rate": 1e-5, "epochs": 1.0, "validation_share": 0.05, "warmup": 0.01}
    bounds = field.bounds
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    return st.number_input(
        field.label,
        min_value=None if low is None else field.kind(low),
        max_value=None if high is None else field.kind(high),
        value=field.kind(default),
        step=1 if whole else steps.get(field.name, 0.01),
        format="%d" if whole else "%g",
        key=f"{key}.{field.name}",
        help=t(field.info.description or ""),
    )
