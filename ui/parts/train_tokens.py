"""A training sample as the model sees it: its tokens, those that are learned in the accent colour and underlined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core.graph.text import clean
from ui.i18n import t

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "knowlm-studio.train_tokens",
    css=(_HERE / "train_tokens.css").read_text(encoding="utf-8"),
    js=(_HERE / "train_tokens.js").read_text(encoding="utf-8"),
)


def tokens(pieces: Sequence[tuple[str, bool]], key: str, *, cut: bool = False) -> None:
    """Draw (text, learned) pieces; `cut`: the sample goes on after them."""
    words = {
        "learned": t("learned: the model is to write this"),
        "given": t("given: the model only reads this"),
        "sample": t("Sample, token by token"),
    }
    drawn = [[clean(text), learned] for text, learned in pieces]
    _component(key=key, data={"pieces": drawn, "cut": cut, "words": words})
