"""What a pretraining shows beside its curves: each source's perplexity, what the model writes, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from core.launchers import contract
from core.launchers.pretrain import DELTA
from ui.i18n import t
from ui.parts.charts import thinned
from ui.parts.errors import plain
from ui.parts.follow_file import Rows, rows_of
from ui.parts.preflight import duration
from ui.parts.train_runs import Training

WRITTEN = "written.jsonl"
PERPLEXITY = "perplexity/"
SHOWN_STEPS = 5


def is_pretraining(training: Training) -> bool:
    return "corpus" in training.asked


def along_the_way(out: Path) -> None:
    """Perplexity by source over the steps, and the newest texts."""
    _perplexity(rows_of(out / contract.METRICS), f"train.perplexity.{out.name}")
    _written(rows_of(out / WRITTEN))


def _perplexity(rows: Rows, key: str) -> None:
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith(PERPLEXITY) and isinstance(value, int | float):
                curves.setdefault(name.removeprefix(PERPLEXITY), []).append((float(row["step"]), float(value)))
    if not curves:
        return
    if all(len(points) < 2 for points in curves.values()):
        _numbers({name: points[-1][1] for name, points in curves.items()})
        return
    spec = {
        "animation": False,
        "title": {"text": t("Perplexity of each source"), "textStyle": {"fontSize": 13, "fontWeight": "normal"}},
        "legend": {"top": 0, "left": "center"},
        "grid": {"left": 8, "right": 16, "top": 40, "bottom": 26, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "name": t("steps"), "nameLocation": "middle", "nameGap": 24, "min": "dataMin"},
        "yAxis": {"type": "value", "scale": True},
        "series": [
            {"type": "line", "name": name, "data": [[step, round(value, 3)] for step, value in thinned(points)]}
            for name, points in curves.items()
        ],
    }
    st.echarts_chart(spec, height=240, key=key, alt=t("Perplexity of each source by step"))


def _numbers(perplexity: dict[str, float]) -> None:
    with st.container(horizontal=True):
        for name, value in perplexity.items():
            st.metric(t("Perplexity, {source}", source=plain(name)), f"{value:,.2f}")


def _written(rows: Rows) -> None:
    if not rows:
        return
    steps = sorted({int(row["step"]) for row in rows}, reverse=True)[:SHOWN_STEPS]
    with st.expander(t("What it writes, after {n} steps", n=f"{steps[0]:,}"), icon=":material/edit_note:"):
        for step in steps:
            st.caption(t("Step {n}", n=f"{step:,}"))
            for row in rows:
                if row["step"] == step:  # as plain text: what a model writes may look like Markdown
                    st.text(f"{row['prompt']} ⟶ {row['text']}")


def receipt(training: Training, result: dict[str, Any]) -> None:
    with st.container(border=True):
        if perplexity := result.get("perplexity"):
            st.markdown(f"**{t('Perplexity on rows that were kept out of training')}**")
            _numbers({str(name): float(value) for name, value in perplexity.items()})
        told = [t("{n} steps", n=f"{result.get('steps', 0):,}"), t("{n} tokens", n=f"{result.get('tokens', 0):,}")]
        if training.job is not None and training.job.started and training.job.ended:
            told.append(t("took {time}", time=duration(training.job.ended - training.job.started)))
        st.caption(" · ".join(told))
        st.markdown(f":material/folder: {plain(str(training.out))}")
        difference = training.out.with_name(training.out.name + DELTA)
        if difference.is_dir():
            st.markdown(f":material/difference: {plain(str(difference))}")
        st.caption(t("Its README.md is the model card; the ledger tells which rows each step learned from."))
