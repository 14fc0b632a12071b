"""An evaluation: its figures with their intervals, then what went wrong by kind, type and text, with the sentences."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from core.extract import evaluate_html
from core.extract.evaluate import Evaluation, RunScores
from core.extract.evaluate_errors import ERRORS, KINDS
from core.extract.evaluate_run import ERROR_LINES, HTML, JSON, read_report
from core.extract.evaluate_store import Findings, Wanted
from core.extract.score import Figure
from core.graph.text import clean
from ui.i18n import error_text, t
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.eval_charts import calibration_chart, confusion_chart, curve_chart
from ui.parts.eval_sentences import sentences
from ui.parts.eval_sources import Evaluated
from ui.parts.eval_words import flattering, kind_help, kind_name, report_words, slot_name, verdict_name
from ui.parts.job_panel import job_panel
from ui.parts.schema_choice import task_name


def evaluation_view(shown: Evaluated) -> None:
    """Draw it, or how far it is, or why it failed."""
    if shown.job is not None and not shown.job.over:
        job_panel(shown.job.id)
        return
    if not shown.done:
        if shown.job is not None and shown.job.error is not None:
            show_error(shown.job.error)
        elif shown.job is not None:
            job_panel(shown.job.id)
        return
    with errors_shown():
        report, made = _read(str(shown.out), (shown.out / JSON).stat().st_mtime_ns)
        _head(shown, report, made)
        _notes(report)
        number = _choose_run(made, shown.name)
        numbers(made.runs[number])
        if len(made.runs) > 1:
            _compared(made)
        st.fragment(_details)(shown.out, made, number, shown.name)


@st.cache_data(max_entries=8, show_spinner=False)
def _read(out: str, written: int) -> tuple[dict[str, Any], Evaluation]:
    """`written` is only a part of the cache's key: a report made again is read again."""
    return read_report(Path(out))


def _head(shown: Evaluated, report: dict[str, Any], made: Evaluation) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        told = [
            plain(Path(report["gold"]["path"]).name),
            task_name(made.task),
            t(made.rules),
            t("{n} rows", n=f"{made.runs[0].scores.documents:,}"),
        ]
        st.markdown(" · ".join(told), width="content")
        st.space("stretch")
        with st.popover(t("Download"), icon=":material/download:"):
            st.download_button(
                t("Report to read and to send ({file})", file=HTML),
                partial(_html, shown.out, report),
                f"{shown.out.name}.html",
                "text/html",
                key="evaluate.download.html",
                on_click="ignore",
                width="stretch",
            )
            for name, label in ((JSON, t("All figures")), (ERROR_LINES, t("All errors, one JSON a line"))):
                st.download_button(
                    f"{label} ({name})",
                    partial((shown.out / name).open, "rb"),
                    f"{shown.out.name}-{name}",
                    "application/json",
                    key=f"evaluate.download.{name}",
                    on_click="ignore",
                    width="stretch",
                )


def _html(out: Path, report: dict[str, Any]) -> bytes:
    """The report in the person's language; the file beside it is English."""
    made = evaluate_html.render(report, Findings(out), report_words(), lambda note: error_text(note)[0])
    return made.encode()


def _notes(report: dict[str, Any]) -> None:
    if report["notes"]:
        with st.expander(t("To be known: {n}", n=len(report["notes"])), icon=":material/info:"):
            for note in report["notes"]:
                st.markdown(f"- {plain(_note(note))}")


def _note(told: dict[str, Any]) -> str:
    return f"{told['run']}: {error_text(told)[0]}".removeprefix(": ")


def _choose_run(made: Evaluation, name: str) -> int:
    if len(made.runs) == 1:
        return 0
    return st.segmented_control(
        t("Run"),
        range(len(made.runs)),
        default=0,
        format_func=lambda number: clean(made.runs[number].name),
        key=f"evaluate.run.{name}",
        required=True,
    )


def numbers(run: RunScores) -> None:
    """Precision and recall first, with how sure they are."""
    total = run.scores.total
    with st.container(horizontal=True):
        figure(
            t("precision").capitalize(),
            total.precision,
            total.precision_interval,
            t("Of what was found, how much is right"),
        )
        figure(t("recall").capitalize(), total.recall, total.recall_interval, t("Of what there is, how much was found"))
        figure("F1", total.f1, total.f1_interval, t("The harmonic mean of the two: the score to quote"))
    counts = t(
        "{gold} in gold, {found} found, {right} right",
        gold=f"{total.gold:,}",
        found=f"{total.predicted:,}",
        right=f"{total.correct:,}",
    )
    st.caption(f"{counts} · {t('95% intervals by resampling documents')}")


def figure(label: str, value: float, interval: tuple[float, float], help: str) -> None:
    st.metric(
        label,
        f"{value:.1%}",
        help=help,
        border=True,
        width=220,
        delta=f"{interval[0]:.1%} – {interval[1]:.1%}",
        delta_color="off",
        delta_arrow="off",
    )


def _compared(made: Evaluation) -> None:
    with st.container(border=True):
        st.markdown(f"##### {t('Which run is better')}")
        st.dataframe(
            [
                {
                    "pair": f"{made.runs[pair.before].name} → {made.runs[pair.after].name}",
                    "verdict": verdict_name(pair.comparison.verdict),
                    "difference": f"{pair.comparison.difference:+.3f}",
                    "interval": f"{pair.comparison.interval[0]:+.3f} – {pair.comparison.interval[1]:+.3f}",
                    "f1": f"{pair.comparison.before:.3f} → {pair.comparison.after:.3f}",
                }
                for pair in made.versus
            ],
            hide_index=True,
            column_config={
                "pair": st.column_config.TextColumn(t("From → to"), width="large"),
                "verdict": t("Verdict"),
                "difference": t("Difference in F1"),
                "interval": t("95% interval"),
                "f1": "F1",
            },
        )
        if (several := made.variants) is not None:
            low, high = several.mean_interval
            st.markdown(
                t(
                    "All runs together: mean F1 **{mean}** ({low} – {high}), from {lowest} to {best} ({name}); the "
                    "best on one half of the texts scores **{chosen}** on the other half.",
                    mean=f"{several.mean:.3f}",
                    low=f"{low:.3f}",
                    high=f"{high:.3f}",
                    lowest=f"{several.lowest:.3f}",
                    best=f"{several.best:.3f}",
                    name=plain(made.runs[several.best_run].name),
                    chosen=f"{several.chosen:.3f}",
                )
            )
            st.caption(flattering())


def _details(out: Path, made: Evaluation, number: int, name: str) -> None:
    run, findings = made.runs[number], Findings(out)
    key = f"evaluate.{name}.{number}"
    asked = st.session_state.setdefault(f"{key}.wanted", Wanted(number, ERRORS))
    left, right = st.columns([11, 10], gap="large")
    with left:
        _kinds(run, key)
        _types(run, key)
        for slot, cells in run.confusion.items():
            st.markdown(f"##### {t('What was taken for what')} · {slot_name(slot)}")
            confusion_chart(cells, f"{key}.confusion.{slot}", partial(_pick_cell, key, slot))
        curve_chart({one.name: one.curve for one in made.runs}, key)
        calibration_chart({one.name: one.calibration for one in made.runs}, key)
        _documents(findings, number, key)
    with right:
        sentences(findings, st.session_state.get(f"{key}.wanted", asked), key)


def _kinds(run: RunScores, key: str) -> None:
    st.markdown(f"##### {t('Errors by kind')}", help=kind_help())
    kinds = [kind for kind in (*ERRORS, KINDS[0]) if run.errors.get(kind)]

    def picked() -> None:
        kind = st.session_state[f"{key}.kind"]
        now: Wanted = st.session_state[f"{key}.wanted"]
        st.session_state[f"{key}.wanted"] = Wanted(now.run, (kind,) if kind else ERRORS, now.type)

    st.pills(
        t("Errors by kind"),
        kinds,
        format_func=lambda kind: f"{kind_name(kind)} {run.errors[kind]:,}",
        key=f"{key}.kind",
        on_change=picked,
        label_visibility="collapsed",
    )


def _types(run: RunScores, key: str) -> None:
    st.markdown(f"##### {t('By type')}")
    names = list(run.scores.types)
    table = f"{key}.types"

    def picked() -> None:
        rows = st.session_state[table]["selection"]["rows"]
        now: Wanted = st.session_state[f"{key}.wanted"]
        type = names[rows[0]] if rows and rows[0] < len(names) else None
        st.session_state[f"{key}.wanted"] = Wanted(now.run, now.kinds or ERRORS, type)

    percent = st.column_config.ProgressColumn
    columns: dict[str, Any] = {kind: st.column_config.NumberColumn(kind_name(kind), width="small") for kind in KINDS}
    st.dataframe(
        [_type_line(name, run.scores.types[name], run.by_type.get(name, {})) for name in names],
        key=table,
        hide_index=True,
        on_select=picked,
        selection_mode="single-row",
        height=min(38 + 35 * len(names), 360),
        column_config={
            "type": st.column_config.TextColumn(t("Type"), width="medium"),
            "f1": percent("F1", min_value=0, max_value=1, format="%.2f", width="small"),
            "interval": st.column_config.TextColumn(t("95% interval"), width="small"),
            "precision": st.column_config.NumberColumn(t("precision").capitalize(), format="%.2f", width="small"),
            "recall": st.column_config.NumberColumn(t("recall").capitalize(), format="%.2f", width="small"),
            "gold": st.column_config.NumberColumn(t("in gold"), width="small"),
            "found": st.column_config.NumberColumn(t("found"), width="small"),
            **columns,
        },
    )
    st.caption(t("Choose a row to see its sentences."))


def _type_line(name: str, made: Figure, kinds: dict[str, int]) -> dict[str, Any]:
    low, high = made.f1_interval
    return {
        "type": clean(name),
        "f1": made.f1,
        "interval": f"{low:.2f} – {high:.2f}",
        "precision": made.precision,
        "recall": made.recall,
        "gold": made.gold,
        "found": made.predicted,
        **{kind: kinds.get(kind, 0) for kind in KINDS},
    }


def _pick_cell(key: str, slot: str, gold: str, pred: str) -> None:
    now: Wanted = st.session_state[f"{key}.wanted"]
    st.session_state[f"{key}.wanted"] = Wanted(now.run, slot=slot, gold=gold, pred=pred)


def _documents(findings: Findings, number: int, key: str) -> None:
    with st.expander(t("Texts, most errors first"), icon=":material/description:"):
        rows = findings.documents(number)
        table = f"{key}.documents"

        def picked() -> None:
            chosen = st.session_state[table]["selection"]["rows"]
            now: Wanted = st.session_state[f"{key}.wanted"]
            doc = rows[chosen[0]][0] if chosen and chosen[0] < len(rows) else None
            st.session_state[f"{key}.wanted"] = replace(Wanted(now.run, ERRORS), doc=doc)

        st.dataframe(
            [
                {"id": clean(id) or str(doc + 1), "gold": gold, "found": found, "right": right, "text": clean(text)}
                for doc, id, text, gold, found, right in rows
            ],
            key=table,
            hide_index=True,
            on_select=picked,
            selection_mode="single-row",
            height=300,
            column_config={
                "id": st.column_config.TextColumn(t("Row"), width=70),
                "gold": st.column_config.NumberColumn(t("in gold"), width=70),
                "found": st.column_config.NumberColumn(t("found"), width=70),
                "right": st.column_config.NumberColumn(t("right"), width=70),
                "text": st.column_config.TextColumn(t("Text"), width="large"),
            },
        )
