"""One line on how right a run's records are: its audit's figures, or that there was none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from core.extract.audit import told
from ui.i18n import t


def audit_badge(run: Path) -> None:
    """The badge, and the way to the audit."""
    said = told(run)
    if said["audited"]:
        st.badge(audited(said), icon=":material/verified:", color="green")
    else:
        st.badge(t("not audited"), icon=":material/help:", color="gray", help=why_audit())
    st.page_link(
        "views/evaluate.py",
        label=t("See the audit") if said["audited"] else t("Audit it"),
        icon=":material/fact_check:",
        query_params={"audit": str(run)},
    )


def audited(said: dict[str, Any]) -> str:
    """`audited (12 sentences): precision 83% (70–91%), recall …`."""
    figures = [
        f"{name} {_share(said, field)}" for name, field in ((t("precision"), "precision"), (t("recall"), "recall"))
    ]
    return t("audited, {n} sentences: {figures}", n=said["sentences"], figures=", ".join(figures))


def _share(said: dict[str, Any], name: str) -> str:
    if said[name] is None:
        return "–"
    low, high = said[f"{name}_interval"]
    return f"{said[name]:.0%} ({low:.0%}–{high:.0%})"


def why_audit() -> str:
    return t("Nobody knows how right these records are. Judging a hundred random sentences tells, with an interval.")
