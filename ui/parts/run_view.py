"""One extraction run: how far it is, what to do next, and its records, which fill in while it works."""

from __future__ import annotations

import mimetypes
from functools import partial
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from core.errors import UserError
from core.extract import schema as schemas
from core.extract import tables
from core.extract.export import export_run
from core.extract.joinback import JOINED, join_run
from core.extract.run import RunRequest
from core.jobs import store
from core.jobs.store import Job
from core.store import Store
from ui.i18n import t
from ui.parts.audit_badge import audit_badge
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress, state_badge, took, when
from ui.parts.live_graph import live_graph
from ui.parts.pickers import model_titles
from ui.parts.preflight import duration
from ui.parts.records_index import Kind, RecordsIndex
from ui.parts.records_table import failures_table, records_index, records_table
from ui.parts.runs import Run
from ui.parts.schema_choice import task_name
from ui.parts.source_file import look

LIVE_SECONDS = 1.0
FILES = ("entities.csv", "relations.csv", "events.csv", "records.jsonl", "audit.json")


def run_view(run: Run) -> None:
    """Draw the run. While it works it is drawn anew every second; once it is over nothing polls any more."""
    _head(run)
    live = not run.job.over or (has_store(run) and records_index(run.folder).behind)
    st.fragment(_body, run_every=LIVE_SECONDS if live else None)(run, live)


def has_store(run: Run) -> bool:
    return (run.folder / "store.sqlite").exists()


def _head(run: Run) -> None:
    asked = run.request
    column = asked.get("text_column")
    source = f"{run.input_name} › {column}" if column else run.input_name
    tasks = " + ".join(task_name(task) for task in run.tasks)
    told = [source, schema_title(str(asked.get("schema_ref", ""))), tasks, model_title(str(asked.get("model") or ""))]
    st.markdown(" · ".join(plain(part) for part in told if part))


def schema_title(ref: str) -> str:
    try:
        found = schemas.load(ref)
    except UserError:
        return Path(ref).stem
    return found.title or found.name


def model_title(ref: str) -> str:
    return model_titles().get(ref, ref)


def _body(run: Run, live: bool) -> None:
    job = store.read(run.job.id)
    run = Run(run.folder, job)
    index = records_index(run.folder) if has_store(run) else None
    if live and job.over and not (index and index.behind):
        st.rerun()
    _progress(run)
    _actions(run)
    if index is not None:
        _records(run, index)
    elif not job.over:
        st.caption(t("The first records appear in a moment: the model is being loaded."))


def _progress(run: Run) -> None:
    job = run.job
    with st.container(horizontal=True, vertical_alignment="center"):
        state_badge(job.state)
        st.caption(" · ".join(part for part in (when(job.created), took(job), *_receipt(job)) if part), width="content")
        st.page_link("views/jobs.py", label=t("Log"), icon=":material/notes:", query_params={"job": job.id})
        if job.over and has_store(run):
            audit_badge(run.folder)
    if not job.over:
        show_progress(job)
        _running(job)
    elif job.error is not None:
        show_error(job.error)
    elif job.state == "cancelled":
        st.info(t("Stopped as you asked. What was finished is kept."), icon=":material/block:")


def _running(job: Job) -> None:
    """What it has cost so far and is going to, and how many runners share it, where that is known."""
    told = []
    if (cost := job.metrics.get("cost")) is not None:
        whole = cost * job.total / job.done if job.total and job.done else cost
        told.append(t("cost so far {cost}, about {whole} in all", cost=f"{cost:,.2f}", whole=f"{whole:,.2f}"))
    if (runners := job.metrics.get("runners", 1)) > 1:
        told.append(t("{n} runners", n=f"{runners:.0f}"))
    if told:
        st.caption(" · ".join(told))


def _receipt(job: Job) -> list[str]:
    if job.state != "done":
        return []
    made = job.result or {}
    rate = t("{rate} rows per second", rate=f"{job.rate:,.1f}") if job.rate else ""
    cost = t("cost {cost}", cost=f"{made['cost']:,.2f}") if made.get("cost") is not None else ""
    return [t("{n} rows", n=f"{job.done:,.0f}"), rate, cost]


def _actions(run: Run) -> None:
    """The one primary button stands first: stop, continue, run all, or see the graph, as the run's state asks for."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if not run.job.over:
            _cancel(run.job)
        elif run.job.state != "done":
            _continue(run.job)
        elif (rest := rows_left(run)) > 0:
            _run_all(run, rest)
        _graph(run, primary=run.job.state == "done" and not rows_left(run))
        _downloads(run)


def rows_left(run: Run) -> int:
    """How many rows a finished try left out; 0 where it was no try."""
    if run.limit is None or run.job.done < run.limit:
        return 0
    try:
        rows = look(Path(run.request["input"]), run.request.get("sheet")).rows_estimate
    except (UserError, KeyError):
        return 0
    return max(0, rows - int(run.job.done))


def _cancel(job: Job) -> None:
    with st.popover(t("Stop"), icon=":material/stop_circle:"):
        st.write(t("Stop this run? What it has finished is kept, and it can go on later."))
        if st.button(t("Stop the run"), key=f"run.cancel.{job.id}", icon=":material/stop_circle:"):
            with errors_shown():
                store.cancel(job.id)


def _continue(job: Job) -> None:
    if st.button(t("Continue"), type="primary", icon=":material/play_arrow:", key=f"run.continue.{job.id}"):
        with errors_shown():
            store.restart(job.id)
            st.rerun()


def _run_all(run: Run, rest: int) -> None:
    label = t("Run all, {n} rows more", n=f"{rest:,}")
    rate = (run.job.result or {}).get("rows_per_second")
    told = t("{n} rows: about {time}", n=f"{rest:,}", time=duration(rest / rate)) if rate else None
    if st.button(label, type="primary", icon=":material/play_arrow:", key=f"run.all.{run.job.id}", help=told):
        _submit(run, limit=None)


def _graph(run: Run, *, primary: bool) -> None:
    if st.button(
        t("See the graph"),
        type="primary" if primary else "secondary",
        icon=":material/hub:",
        key=f"run.graph.{run.job.id}",
        disabled=not has_store(run),
    ):
        st.switch_page("views/graph.py", query_params={"run": str(run.folder)})


def _downloads(run: Run) -> None:
    if not has_store(run):
        return
    with st.popover(t("Download"), icon=":material/download:"):
        st.caption(t("What is finished so far. The CSV files open in Excel as they are."))
        for name in _files(run):
            st.download_button(
                name,
                partial(_file, run, name),
                f"{run.folder.name}-{name}",
                mimetypes.guess_type(name)[0] or "application/octet-stream",
                key=f"run.download.{run.job.id}.{name}",
                on_click="ignore",
                help=t("Your file, with what was found beside each row.") if name == JOINED else None,
                icon=":material/table:" if name.endswith(".csv") else ":material/data_object:",
                width="stretch",
            )


def _files(run: Run) -> list[str]:
    """joined.csv is for tables only; where a finished run has none, its source was no table."""
    joined = (run.folder / JOINED).exists() or run.job.state != "done"
    table = Path(str(run.request.get("input", ""))).suffix.lower() in tables.FORMATS
    return [name for name in FILES if name != JOINED or (joined and table)]


def _file(run: Run, name: str) -> BinaryIO:
    """The file as of now: while the run works it is written anew."""
    folder, asked = run.folder, run.request
    if run.job.state != "done" or not (folder / name).exists():
        if name == JOINED:
            columns = (asked.get("text_column"), asked.get("id_column"))
            text_file = asked.get("text_file", "auto")
            join_run(folder, Path(str(asked["input"])), sheet=asked.get("sheet"), columns=columns, text_file=text_file)
        else:
            export_run(folder)
    return (folder / name).open("rb")


def _records(run: Run, index: RecordsIndex) -> None:
    """How many there are, and one kind of them at a time."""
    counts = index.counts()
    names: dict[Kind, str] = {
        "entity": t("Entities"),
        "relation": t("Relations"),
        "event": t("Events"),
        "failure": t("Failures"),
    }
    asked = {"ner": "entity", "re": "relation", "ee": "event"}
    kinds: list[Kind] = [kind for kind in names if kind == "failure" or kind in {asked[task] for task in run.tasks}]
    views: dict[str, str] = {kind: names[kind] for kind in kinds[:-1]}
    views |= {"graph": t("Graph"), "failure": names["failure"]}
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = st.segmented_control(
            t("Records"),
            list(views),
            default=kinds[0],
            format_func=lambda view: views[view],
            key=f"run.kind.{run.folder.name}",
            label_visibility="collapsed",
            required=True,
        )
        st.caption(" · ".join(f"{names[kind]} {counts[kind]:,}" for kind in kinds), width="content")
    if chosen == "failure":
        failures_table(index)
        _ask_again(run, counts["failure"])
    elif chosen == "graph":
        live_graph(index, Store(run.folder).counts().rows, over=run.job.over)
    else:
        records_table(index, next(kind for kind in kinds if kind == chosen))


def _ask_again(run: Run, failed: int) -> None:
    if (
        failed
        and run.job.over
        and st.button(t("Ask the failed rows again"), icon=":material/refresh:", key=f"run.again.{run.job.id}")
    ):
        _submit(run, retry_failed=True)


def _submit(run: Run, **changes: object) -> None:
    """The same request on, in the same folder: what is finished is not done twice."""
    with errors_shown():
        store.submit(RunRequest.model_validate(run.request | {"retry_failed": False} | changes))
        st.rerun()
