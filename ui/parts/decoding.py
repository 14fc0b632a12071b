"""The decoding settings as a column of controls; bounds and explanations come from the fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.inference.decoding import LARGEST_SEED, Decoding
from core.inference.presets import READY
from ui.i18n import t

START = READY["balanced"]
"""Where a conversation starts: varied, and not going round in circles."""
_USUAL: dict[str, tuple[Any, Any, Any]] = {
    "temperature": (0.0, 2.0, 0.05),
    "top_p": (0.05, 1.0, 0.05),
    "top_k": (0, 200, 1),
    "beams": (1, 8, 1),
    "max_tokens": (16, 4096, 16),
    "repetition_penalty": (1.0, 2.0, 0.05),
}
"""What a slider offers, in which steps; it offers all that is allowed once a preset lies outside."""


def decoding_controls(key: str, can: Mapping[str, Any]) -> Decoding:
    """Draw them and return what is set. Beams appear only where the engine can follow them."""
    labels = {
        "temperature": t("Temperature"),
        "top_p": t("Top-p"),
        "top_k": t("Top-k"),
        "beams": t("Beams"),
        "max_tokens": t("Longest answer (tokens)"),
        "repetition_penalty": t("Repetition penalty"),
    }
    chosen: dict[str, Any] = {}
    for name, label in labels.items():
        if name != "beams" or can.get("beams"):
            chosen[name] = _slider(key, name, label)
    wanted = current(key).beams
    if "beams" not in chosen and wanted > 1:
        st.caption(t("{n} beams are wanted; this engine follows one.", n=wanted))
    chosen["seed"] = st.number_input(
        t("Seed"),
        0,
        LARGEST_SEED,
        None,
        1,
        key=f"{key}.seed",
        help=_help("seed"),
        placeholder=t("chosen anew each time"),
        persist_state="session",
    )
    return Decoding(**chosen)


def current(key: str) -> Decoding:
    """What the controls stand at, beams included, before they are drawn."""
    return Decoding(**{name: st.session_state.get(f"{key}.{name}", default) for name, default in START})


def put(key: str, decoding: Decoding) -> None:
    """Set the controls, before they are drawn."""
    for name, value in decoding:
        st.session_state[f"{key}.{name}"] = value


def described(settings: Mapping[str, Any]) -> str:
    """Every setting of an answer on one line, by the names that commands and files use."""
    return ", ".join(f"{name} {value:g}" for name, value in settings.items() if isinstance(value, int | float))


def _slider(key: str, name: str, label: str) -> Any:
    low, high, step = _USUAL[name]
    place = f"{key}.{name}"
    value = st.session_state.get(place, getattr(START, name))
    if not low <= value <= high:
        st.session_state[f"{place}.wide"] = True  # and stays so: another range makes another slider, at its default
    if st.session_state.get(f"{place}.wide"):
        low, high = _allowed(name, type(step))
        low = min(low, value)
    default = None if place in st.session_state else value
    return st.slider(label, low, high, default, step, key=place, help=_help(name), persist_state="session")


def _allowed(name: str, kind: type) -> tuple[Any, Any]:
    bounds = Decoding.model_json_schema()["properties"][name]
    return kind(bounds.get("minimum", 0.01)), kind(bounds["maximum"])


def _help(name: str) -> str:
    return t(Decoding.model_fields[name].description or "")
