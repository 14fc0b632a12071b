"""The decoding settings as a column of controls; bounds and explanations come from the fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.inference.decoding import LARGEST_SEED, Decoding
from ui.i18n import t

CHAT = Decoding(temperature=0.7, top_p=0.95, max_tokens=512, repetition_penalty=1.1)
"""Where a conversation starts: varied, and not going round in circles."""


def decoding_controls(key: str, can: Mapping[str, Any]) -> Decoding:
    """Draw them and return what is set. Beams appear only where the engine can follow them."""
    temperature = _slider(key, "temperature", t("Temperature"), 0.0, 2.0, 0.05)
    top_p = _slider(key, "top_p", t("Top-p"), 0.05, 1.0, 0.05)
    top_k = _slider(key, "top_k", t("Top-k"), 0, 200, 1)
    beams = _slider(key, "beams", t("Beams"), 1, 8, 1) if can.get("beams") else 1
    max_tokens = _slider(key, "max_tokens", t("Longest answer (tokens)"), 16, 4096, 16)
    penalty = _slider(key, "repetition_penalty", t("Repetition penalty"), 1.0, 2.0, 0.05)
    seed = st.number_input(
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
    return Decoding(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        beams=beams,
        max_tokens=max_tokens,
        repetition_penalty=penalty,
        seed=seed,
    )


def _slider(key: str, name: str, label: str, low: Any, high: Any, step: Any) -> Any:
    default = getattr(CHAT, name)
    return st.slider(label, low, high, default, step, key=f"{key}.{name}", help=_help(name), persist_state="session")


def _help(name: str) -> str:
    return t(Decoding.model_fields[name].description or "")
