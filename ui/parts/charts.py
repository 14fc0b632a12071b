"""Small line charts of a job's numbers, drawn by ECharts (it needs no `eval`, which the pages' policy forbids)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from ui.i18n import t
from ui.parts.request_form import label_of

POINTS = 400
BESIDE = 4


def line_charts(series: Mapping[str, Sequence[tuple[float, float]]], unit: str = "") -> None:
    """One chart a metric against what was done (in `unit`s) when it was taken, `BESIDE` in a row."""
    drawn = [(name, points) for name, points in series.items() if len(points) > 1]
    for first in range(0, len(drawn), BESIDE):
        for column, (name, points) in zip(st.columns(BESIDE), drawn[first : first + BESIDE], strict=False):
            with column:
                st.echarts_chart(line(name, thinned(points), unit), height=200, key=f"metric.{name}")


def line(name: str, points: Sequence[tuple[float, float]], unit: str = "") -> dict:
    """The ECharts spec of one metric."""
    title = t(label_of(name))
    return {
        "animation": False,
        "title": {"text": title, "textStyle": {"fontSize": 13, "fontWeight": "normal"}, "left": 4, "top": 0},
        "grid": {"left": 8, "right": 16, "top": 34, "bottom": 22, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "value",
            "name": unit,
            "nameLocation": "middle",
            "nameGap": 22,
            "splitLine": {"show": False},
            "min": "dataMin",
            "max": "dataMax",
        },
        "yAxis": {"type": "value", "scale": True},
        "series": [
            {
                "type": "line",
                "name": title,
                "showSymbol": False,
                "data": [[done, value] for done, value in points],
            }
        ],
    }


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most about POINTS of them, evenly taken, first and last kept."""
    step = max(1, len(points) // POINTS)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]
