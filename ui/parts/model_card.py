"""One model as a card: what it is, whether it fits this machine and why not, and its buttons."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import resources
from core.models import Model
from ui.i18n import t
from ui.parts.errors import plain

FORMATS = {"gguf": "GGUF", "huggingface": "Hugging Face", "adapter": "LoRA", "remote": "OpenAI API"}
LANGUAGES = {"en": "English", "zh": "中文", "de": "Deutsch", "fr": "Français", "es": "Español", "ja": "日本語"}


HOST_BYTES = 500_000_000
"""What a model takes beside its weights: the host process, its buffers and a short context."""


def memory_needed(model: Model) -> int | None:
    """Bytes it takes once loaded, reckoned from its files; None for one that runs elsewhere."""
    return round(model.size * 1.05) + HOST_BYTES if model.size else None


def facts(model: Model) -> None:
    """Title and badges: format, size, languages, licence."""
    st.markdown(f"**{plain(model.title)}**")
    with st.container(horizontal=True, gap="small"):
        st.badge(FORMATS[model.format], color="gray")
        if model.size:
            st.badge(resources.size(model.size), icon=":material/hard_drive:", color="gray")
        st.badge(language_names(model.card.languages), icon=":material/translate:", color="gray")
        if model.format != "remote":
            st.badge(plain(model.card.license) or t("licence not declared"), icon=":material/license:", color="gray")
        if model.card.trained_for_extraction:
            st.badge(t("trained for extraction"), icon=":material/data_object:", color="primary")


def language_names(codes: Sequence[str]) -> str:
    return ", ".join(LANGUAGES.get(code, code) for code in codes) or t("languages not declared")


def fit_line(needed: int | None) -> bool:
    """Say whether `needed` bytes of memory fit what is free now, or what this machine has at all. True if now."""
    if needed is None:
        return True
    total, free = resources.ram()
    numbers = {"needed": resources.size(needed), "free": resources.size(free), "total": resources.size(total)}
    if needed <= free:
        mark = ":green[:material/check:]"
        verdict = t("Fits this machine: needs {needed} of memory, {free} are free", **numbers)
    elif needed <= total:
        mark = ":orange[:material/warning:]"
        verdict = t("Does not fit now: needs {needed} of memory, {free} are free", **numbers)
    else:
        mark = ":red[:material/close:]"
        verdict = t("Does not fit this machine: needs {needed} of memory, it has {total}", **numbers)
    st.caption(f"{mark} {verdict}")
    return needed <= free
