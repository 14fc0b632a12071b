"""A new evaluation: gold, the runs to score on it, the rules; and how gold is made where there is none yet."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import get_args

import streamlit as st
from pydantic import ValidationError

from core.extract.evaluate_pieces import Rules
from core.extract.evaluate_run import ReportRequest
from core.extract.evaluate_tables import TEMPLATES
from core.extract.schema import TASKS, Task
from core.jobs import store
from ui.i18n import t
from ui.parts.errors import errors_shown
from ui.parts.eval_sources import new_folder, run_label, runs_with_rows
from ui.parts.labels import distinct
from ui.parts.pickers import file_picker
from ui.parts.runs import Run
from ui.parts.schema_choice import task_name

KINDS = ["jsonl", "json", "csv", "tsv", "xlsx", "txt", "bio", "conll"]


def new_evaluation() -> Path | None:
    """Draw it; the folder of the evaluation that was started, or None."""
    known = runs_with_rows()
    left, right = st.columns([11, 10], gap="medium")
    with left, st.container(border=True):
        st.subheader(t("1 · Gold"))
        st.caption(
            t(
                "What is right, for the texts of your runs: CSV or Excel, JSON lines as IEPile and InstructIE have "
                "them, BIO tags, or an export of Label Studio or of Review."
            )
        )
        gold = file_picker(t("File with gold"), "evaluate.gold", types=KINDS)
    with left:
        how_to_make_gold(open_=not gold)
    with right, st.container(border=True):
        st.subheader(t("2 · Runs"))
        chosen = _choose(known)
        st.subheader(t("3 · Rules"))
        request = _request(gold, chosen, known)
        return _start(request, _missing(gold, chosen, known))


def _choose(known: dict[str, Run]) -> list[str]:
    labels = distinct({folder: run_label(run) for folder, run in known.items()})
    if not known:
        st.caption(t("No run yet."))
        st.page_link("views/extract.py", label=t("Extract from your own text"), icon=":material/arrow_forward:")
        return []
    asked = st.query_params.get("run", "")
    first = [folder for folder in known if asked and asked in (folder, Path(folder).name)]
    return st.multiselect(
        t("Runs on these texts; several are compared"),
        list(labels),
        default=first,
        format_func=lambda folder: labels.get(folder, folder),
        key="evaluate.runs",
        max_selections=20,
        placeholder=t("Choose runs"),
    )


def _request(gold: str | None, chosen: list[str], known: dict[str, Run]) -> ReportRequest | None:
    tasks = [task for task in TASKS if all(task in known[run].tasks for run in chosen if run in known)] or list(TASKS)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        task: Task = st.segmented_control(
            t("Task"), tasks, default=tasks[0], format_func=task_name, key=f"evaluate.task.{tasks}", required=True
        )
        rules: Rules = st.segmented_control(
            t("Rules"),
            get_args(Rules),
            default="strict",
            format_func=t,
            key="evaluate.rules",
            required=True,
            help=t("strict: places must match, arguments need their trigger; iepile: words, as IEPile's scorer"),
        )
    with st.expander(t("More"), icon=":material/tune:"):
        types = st.text_input(
            t("Types"),
            key="evaluate.types",
            help=t("Score these types alone, written with commas between; all if empty"),
        )
        missing = st.checkbox(
            t("Count gold rows without a prediction as rows where nothing was found"), key="evaluate.missing"
        )
        seen = st.checkbox(
            t("Leave out gold rows that a model or its prompt saw, instead of refusing them all"), key="evaluate.seen"
        )
        trained = st.text_input(
            t("Trained on"),
            key="evaluate.trained",
            help=t(
                "Files or folders that a model was trained on, where this program can't know: gold that stands in "
                "them is refused"
            ),
        )
    if not gold or not chosen:
        return None
    try:
        return ReportRequest(
            gold=Path(gold),
            pred=tuple(Path(run) for run in chosen),
            task=task,
            rules=rules,
            types=types,
            out=new_folder(gold),
            allow_missing=missing,
            leave_out_seen=seen,
            trained_on=tuple(Path(place.strip()) for place in trained.split(",") if place.strip()),
        )
    except ValidationError:
        return None


def _missing(gold: str | None, chosen: list[str], known: dict[str, Run]) -> str:
    if not known:
        return t("Extract first: there is no run to evaluate.")
    return "" if gold and chosen else t("Choose gold first.") if not gold else t("Choose a run first.")


def _start(request: ReportRequest | None, missing: str) -> Path | None:
    pressed = st.button(
        t("Evaluate"),
        type="primary",
        icon=":material/fact_check:",
        key="evaluate.start",
        disabled=request is None or bool(missing),
        help=missing or None,
    )
    if pressed and request is not None:
        with errors_shown():
            store.submit(request)
            return request.out
    return None


def how_to_make_gold(*, open_: bool) -> None:
    """Ten minutes with a spreadsheet, or with the audit, which needs none."""
    with st.expander(t("How to make gold in ten minutes"), expanded=open_, icon=":material/school:"):
        st.markdown(
            "\n".join(
                [
                    "1. " + t("Take thirty texts at random from your own file: not the easy ones, not the first ones."),
                    "2. "
                    + t(
                        "Write down what is in them, a row a record; a text in which there is nothing gets one row, "
                        "too, with the other cells empty. Excel will do; these tables show how."
                    ),
                    "3. " + t("Extract from the same texts, choose both here, and evaluate."),
                ]
            )
        )
        with st.container(horizontal=True):
            for task, rows in TEMPLATES.items():
                st.download_button(
                    task_name(task),
                    _csv(rows),
                    f"gold-{task}.csv",
                    "text/csv",
                    key=f"evaluate.template.{task}",
                    on_click="ignore",
                    icon=":material/table:",
                )
        st.caption(
            t(
                "Thirty texts tell a good run from a bad one; to tell two good ones apart takes some hundreds. "
                "Gold must be new to the model: what it was trained on, or shown as an example, is refused."
            )
        )
        st.caption(
            t("Without any gold, the audit tells how right a run is: you judge a random sample of its sentences.")
        )


def _csv(rows: tuple[tuple[str, ...], ...]) -> bytes:
    made = io.StringIO()
    csv.writer(made).writerows(rows)
    return made.getvalue().encode("utf-8-sig")
