"""The curves of a training, drawn by ECharts from metrics.jsonl: both losses large, the rest small under them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import resources
from ui.i18n import t
from ui.parts.charts import line, thinned
from ui.parts.train_runs import Series

HEIGHT = 320
SMOOTH_FROM = 20
"""Steps from which on a smoothed curve says more than the points."""
SMALL = ("learning_rate", "grad_norm", "tokens_per_second", "memory")
GB = 1_000_000_000


def curves(series: Series, key: str) -> None:
    """Draw what there is; nothing before the second step."""
    if len(series.get("loss", ())) > 1:
        st.echarts_chart(losses(series), height=HEIGHT, key=f"{key}.loss", alt=t("Loss by step"))
    drawn = [name for name in SMALL if len(series.get(name, ())) > 1]
    for column, name in zip(st.columns(max(1, len(drawn))), drawn, strict=False):
        with column:
            points = series[name]
            if name == "memory":
                points = [(step, round(value / GB, 2)) for step, value in points]
            spec = line(name, thinned(points), t("steps"))
            if name == "memory":
                spec["title"]["text"] += " (GB)"
            st.echarts_chart(spec, height=170, key=f"{key}.{name}")


def losses(series: Series) -> dict[str, Any]:
    train = list(thinned(series["loss"]))
    drawn = [_line(t("training"), train, width=1 if len(train) >= SMOOTH_FROM else 2)]
    if len(train) >= SMOOTH_FROM:
        drawn[0]["lineStyle"]["opacity"] = 0.6
        drawn.append(_line(t("training, smoothed"), smoothed(train), width=2))
    if held_out := series.get("eval_loss"):
        drawn.append({**_line(t("validation"), list(thinned(held_out)), width=2), "showSymbol": True, "symbolSize": 8})
    return {
        "animation": False,
        "title": {"text": t("Loss"), "textStyle": {"fontSize": 13, "fontWeight": "normal"}, "left": 4, "top": 0},
        "legend": {"top": 0, "left": "center"},
        "toolbox": {"right": 8, "top": 0, "feature": {"dataZoom": {"yAxisIndex": "none"}, "restore": {}}},
        "grid": {"left": 8, "right": 16, "top": 64, "bottom": 26, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "value",
            "name": t("steps"),
            "nameLocation": "middle",
            "nameGap": 24,
            "min": "dataMin",
            "max": "dataMax",
            "splitLine": {"show": False},
        },
        "yAxis": {"type": "value", "scale": True},
        "series": drawn,
    }


def smoothed(points: list[tuple[float, float]], weight: float = 0.9) -> list[tuple[float, float]]:
    """An exponential mean, corrected at its start as Adam's moments are."""
    made, mean = [], 0.0
    for number, (step, value) in enumerate(points, 1):
        mean = weight * mean + (1 - weight) * value
        made.append((step, round(mean / (1 - weight**number), 5)))
    return made


def _line(name: str, points: list[tuple[float, float]], *, width: int) -> dict[str, Any]:
    return {
        "type": "line",
        "name": name,
        "showSymbol": False,
        "lineStyle": {"width": width},
        "data": [[step, value] for step, value in points],
    }


def numbers(last: dict[str, Any]) -> None:
    """The last of each, in a row."""
    shown = [
        (t("Loss"), _number(last.get("loss"), ".3f")),
        (t("Validation loss"), _number(last.get("eval_loss"), ".3f")),
        (t("Learning rate"), _number(last.get("learning_rate"), ".2g")),
        (t("Tokens per second"), _number(last.get("tokens_per_second"), ",.0f")),
        (t("Memory"), resources.size(last["memory"]) if last.get("memory") else "–"),
    ]
    with st.container(horizontal=True):
        for label, value in shown:
            st.metric(label, value)


def _number(value: Any, form: str) -> str:
    return format(float(value), form) if isinstance(value, int | float) else "–"
