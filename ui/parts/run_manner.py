"""How a run goes about it, folded: passes and votes, and of a server how many processes ask it and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.extract.run import RunRequest
from core.models import Model
from ui.i18n import t
from ui.parts.request_form import FormField, fields_of

ALWAYS = ("passes", "votes", "pass_temperature", "retries", "retry_on")
REMOTE = ("runners", "price_prompt", "price_answer")
NEEDS_PASSES = ("votes", "pass_temperature")


def manner_form(model: Model) -> dict[str, Any]:
    """The request's fields as chosen; those that are as usual are left out."""
    fields = {field.name: field for field in fields_of(RunRequest)}
    shown = [*ALWAYS, *(REMOTE if model.format == "remote" else ())]
    with st.expander(t("Passes, retries and prices"), icon=":material/repeat:"):
        passes = _draw(fields["passes"], disabled=False)
        if passes > 1:
            st.caption(
                t("Each text is read {n} times; a record's confidence is the share of passes that say it.", n=passes)
            )
        values = {"passes": passes}
        for name in shown[1:]:
            values[name] = _draw(fields[name], disabled=name in NEEDS_PASSES and passes == 1)
    usual = {name: fields[name].info.get_default() for name in values}
    if passes == 1:
        values = {name: value for name, value in values.items() if name not in NEEDS_PASSES}
    return {name: value for name, value in values.items() if value is not None and value != usual[name]}


def fill(asked: Mapping[str, Any]) -> None:
    """Choose what an earlier request had."""
    for name in (*ALWAYS, *REMOTE):
        if asked.get(name) is not None:
            st.session_state[f"extract.manner.{name}"] = asked[name]


def _draw(field: FormField, *, disabled: bool) -> Any:
    key = f"extract.manner.{field.name}"
    usual = field.info.get_default()
    st.session_state.setdefault(key, list(usual) if isinstance(usual, tuple) else usual)
    if field.name == "retry_on":
        names = {
            "server": t("errors of the server"),
            "unreadable": t("answers nobody can read"),
            "cut": t("answers cut off"),
        }
        chosen = st.pills(
            field.label,
            list(names),
            format_func=lambda name: names[name],
            selection_mode="multi",
            key=key,
            help=field.help,
            persist_state="session",
        )
        return tuple(chosen or ())
    number = field.kind
    bounds = field.bounds
    return st.number_input(
        field.label,
        min_value=number(bounds["ge"]),
        max_value=number(bounds["le"]) if "le" in bounds else None,
        value=None if usual is None else "min",
        step=number(1) if number is int else 0.1,
        key=key,
        help=field.help,
        disabled=disabled,
        placeholder=t("not set"),
        persist_state="session",
    )
