"""The charts of an evaluation: what was taken for what, precision against recall, and whether confidences hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from core.extract.confidence import Calibration
from core.extract.evaluate_curves import Point
from core.extract.evaluate_html import often
from core.graph.text import clean
from ui.i18n import t
from ui.parts.colours import PALETTE, is_dark
from ui.parts.errors import plain

SHOWN = 15
Cells = Mapping[str, Mapping[str, int]]


def confusion_chart(cells: Cells, key: str, on_pick: Callable[[str, str], None]) -> None:
    """Rows are gold's labels, columns the predicted ones; a click answers with the cell. Nothing for a single label."""
    labels = often(cells)[:SHOWN]
    if not labels:
        return
    spec, places = confusion_spec(cells, labels)

    def picked() -> None:
        for group in st.session_state[key]["selection"]["selected"]:
            for place in group["data_indices"]:
                if place < len(places):
                    on_pick(*places[place])

    st.echarts_chart(
        spec,
        height=max(200, 26 * (len(labels) + 1) + 110),
        key=key,
        on_select=picked,
        alt=t("What was taken for what"),
    )


def confusion_spec(cells: Cells, labels: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """(the ECharts option, the cell of each of its points)."""
    known = [*labels, ""]
    names = [clean(label) or t("none") for label in known]
    ink = "#E4EAEA" if is_dark() else "#1F2A2E"
    data, places = [], []
    for row, gold in enumerate(known):
        for column, pred in enumerate(known):
            if number := cells.get(gold, {}).get(pred, 0):
                data.append([column, row, number])
                places.append((gold, pred))
    most = max((number for _, _, number in data), default=1)
    axis = {"type": "category", "data": names, "splitArea": {"show": True}, "nameLocation": "middle"}
    return {
        "animation": False,
        "tooltip": {"trigger": "item"},
        "grid": {"left": 30, "right": 8, "top": 8, "bottom": 34, "containLabel": True},
        "xAxis": {**axis, "name": t("predicted"), "nameGap": 60, "axisLabel": {"rotate": 40, "width": 90,
                                                                              "overflow": "truncate"}},
        "yAxis": {**axis, "name": t("gold"), "inverse": True, "nameGap": 100, "axisLabel": {"width": 90,
                                                                                           "overflow": "truncate"}},
        "visualMap": {"show": False, "min": 0, "max": most, "inRange": {"color": ["#00000008", f"{PALETTE[0]}88"]}},
        "series": [
            {
                "type": "heatmap",
                "data": data,
                "selectedMode": "single",
                "label": {"show": True, "color": ink},
                "select": {"itemStyle": {"borderColor": ink, "borderWidth": 2}},
            }
        ],
    }, places  # fmt: skip


def calibration_chart(known: Mapping[str, Calibration | None], key: str) -> None:
    """How much is right of what is so sure, beside what should be; nothing where confidences were not measured."""
    drawn = {name: one for name, one in known.items() if one is not None and len(one.bins) > 1}
    if not drawn:
        return
    st.markdown(f"##### {t('Whether confidences can be believed')}")
    ideal = {"type": "line", "name": t("ideal"), "showSymbol": False, "data": [[0, 0], [1, 1]],
             "lineStyle": {"type": "dashed", "opacity": 0.5}}  # fmt: skip
    st.echarts_chart(
        {
            "animation": False,
            "legend": {"top": 0},
            "grid": {"left": 8, "right": 24, "top": 34, "bottom": 26, "containLabel": True},
            "tooltip": {"trigger": "item"},
            "xAxis": {"type": "value", "name": t("Confidence"), "nameLocation": "middle", "nameGap": 24, "max": 1},
            "yAxis": {"type": "value", "name": t("share right"), "min": 0, "max": 1},
            "series": [
                ideal,
                *(
                    {
                        "type": "line",
                        "name": clean(name),
                        "symbolSize": 6,
                        "data": [[round(one.confidence, 4), round(one.right, 4)] for one in made.bins],
                    }
                    for name, made in drawn.items()
                ),
            ],
        },
        height=300,
        key=f"{key}.calibration",
        alt=t("Whether confidences can be believed"),
    )
    for name, made in drawn.items():
        st.caption(
            t(
                "{name}: on average {ece} beside the truth (expected calibration error), from {n} records.",
                name=plain(clean(name)),
                ece=f"{made.ece or 0:.1%}",
                n=f"{made.count:,}",
            )
        )


def curve_chart(curves: Mapping[str, Sequence[Point]], key: str) -> None:
    """Precision against recall of each run; nothing where confidences were not measured."""
    drawn = {name: points for name, points in curves.items() if len(points) > 1}
    if not drawn:
        return
    st.markdown(f"##### {t('Precision and recall by confidence')}")
    st.echarts_chart(
        {
            "animation": False,
            "legend": {"top": 0, "show": len(drawn) > 1},
            "grid": {"left": 8, "right": 24, "top": 34, "bottom": 26, "containLabel": True},
            "tooltip": {"trigger": "item"},
            "xAxis": {
                "type": "value",
                "name": t("recall").capitalize(),
                "nameLocation": "middle",
                "nameGap": 24,
                "min": 0,
                "max": 1,
            },
            "yAxis": {"type": "value", "name": t("precision").capitalize(), "min": 0, "max": 1},
            "series": [
                {
                    "type": "line",
                    "name": clean(name),
                    "symbolSize": 4,
                    "data": [[round(one.recall, 4), round(one.precision, 4)] for one in points],
                }
                for name, points in drawn.items()
            ],
        },
        height=300,
        key=f"{key}.curve",
        alt=t("Precision and recall by confidence"),
    )
    st.caption(t("From left to right, less sure records come in: where the curve falls is where to review."))
