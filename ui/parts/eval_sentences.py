"""The sentences behind a number of an evaluation: a table of what was found there, and both sides of the chosen one."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.extract.evaluate_store import Findings, Line, Wanted
from core.graph.text import clean
from ui.i18n import t
from ui.parts.eval_words import kind_name, slot_name
from ui.parts.evidence import evidence

LISTED = 500


def sentences(findings: Findings, wanted: Wanted, key: str) -> None:
    """Draw them; nothing is read of documents that aren't shown."""
    total = findings.count(wanted)
    st.markdown(f"##### {told(wanted)} · {total:,}")
    if not total:
        st.caption(t("There are none."))
        return
    lines = findings.lines(wanted, LISTED)
    if total > LISTED:
        st.caption(t("The first {n} of {all}; the download has them all.", n=LISTED, all=f"{total:,}"))
    chosen = _table(lines, f"{key}.lines.{hash(wanted)}")
    gold, pred = findings.pair(wanted.run, chosen.doc)
    types = {line.type for line in lines}
    with st.container(border=True):
        st.caption(f":material/verified: {t('Gold')}")
        evidence(gold, f"{key}.gold", chosen.gold_record, types=types)
    with st.container(border=True):
        st.caption(f":material/smart_toy: {t('Predicted')}")
        evidence(pred, f"{key}.pred", chosen.pred_record, types=types)


def told(wanted: Wanted) -> str:
    """What the sentences have in common, in words."""
    if wanted.gold is not None or wanted.pred is not None:
        return f"{clean(wanted.gold or '') or t('none')} → {clean(wanted.pred or '') or t('none')}"
    kinds = [kind_name(kind) for kind in wanted.kinds]
    parts = [", ".join(kinds) if len(kinds) == 1 else "" if kinds else t("everything")]
    parts = [part for part in parts if part] or [t("all errors")]
    return " · ".join([*parts, *([clean(wanted.type)] if wanted.type is not None else [])])


def _table(lines: list[Line], key: str) -> Line:
    picked = st.dataframe(
        [_cells(line) for line in lines],
        key=key,
        hide_index=True,
        height=min(38 + 35 * len(lines), 290),
        on_select="rerun",
        selection_mode="single-row-required",
        column_config={
            "id": st.column_config.TextColumn(t("Row"), width=70),
            "kind": st.column_config.TextColumn(t("Error"), width="small"),
            "gold": st.column_config.TextColumn(t("Gold"), width="medium"),
            "pred": st.column_config.TextColumn(t("Predicted"), width="medium"),
            "slot": st.column_config.TextColumn(t("What"), width="small"),
        },
    )["selection"]["rows"]
    return lines[picked[0]] if picked and picked[0] < len(lines) else lines[0]


def _cells(line: Line) -> dict[str, Any]:
    return {
        "id": clean(line.id) or str(line.doc + 1),
        "kind": kind_name(line.kind),
        "gold": _side(line.gold_words, line.gold_label) if line.gold_record else "–",
        "pred": _side(line.pred_words, line.pred_label) if line.pred_record else "–",
        "slot": slot_name(line.slot),
    }


def _side(words: str, label: str | None) -> str:
    return clean(f"{words} ({label})" if label else words)
