"""What stands in a corpus: mix and lengths of its sources, and samples as the model will read them. A job reads it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import operation
from core.jobs import store
from core.jobs.store import Job
from core.launchers.corpus import Ledger
from ui.i18n import t
from ui.parts.data_corpora import Corpus, name_of
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.job_panel import show_progress
from ui.parts.pickers import model_picker

OPERATION = "corpus inspect"
SAMPLES = 8


def inspect(corpus: Corpus, ledger: Ledger) -> None:
    with st.container(border=True):
        st.subheader(t("What the model will read"))
        job = _latest(corpus)
        if job is not None and not job.over:
            st.fragment(_working, run_every=1)(job.id)
            return
        if job is not None and job.state == "done" and job.result:
            _found(job.result, ledger, f"data.inspect.{job.id}")
        elif job is not None and job.error is not None:
            show_error(job.error)
        else:
            st.caption(t("The mix of the sources, how long their samples are, and some of them as text."))
        _again(corpus, job)


def _latest(corpus: Corpus) -> Job | None:
    wanted = str(corpus.out)
    jobs = (job for job in store.all_jobs() if job.operation == OPERATION)
    return next((job for job in jobs if str(job.request.get("folder")) == wanted), None)


def _again(corpus: Corpus, job: Job | None) -> None:
    key = f"data.inspect.{name_of(corpus.out)}"
    known = (corpus.job.request if corpus.job else {}).get("tokenizer") or ""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tokenizer = known or model_picker(t("Tokenizer"), f"{key}.tokenizer")
        seed = int(job.request.get("seed", 0)) + 1 if job else 0
        label = t("Other samples") if job else t("Look into it")
        if st.button(label, icon=":material/visibility:", key=key, disabled=not tokenizer):
            with errors_shown():
                asked = {"folder": corpus.out, "tokenizer": tokenizer, "samples": SAMPLES, "seed": seed}
                store.submit(operation.find(OPERATION).request.model_validate(asked))
                st.rerun()


def _working(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    show_progress(job)


def _found(result: dict[str, Any], ledger: Ledger, key: str) -> None:
    parts = result["sources"]
    weights = {source.name: source.weight for source in ledger.sources}
    whole = sum(weights.values()) or 1
    rows = [
        {
            t("Source"): part["name"],
            t("Tokens"): f"{part['tokens']:,}",
            t("Share of the tokens"): f"{part['share']:.1%}",
            t("Share of the mix"): f"{weights.get(part['name'], 0) / whole:.1%}",
            t("Documents"): f"{part['documents']:,}",
            t("Samples"): f"{part['samples']:,}",
            t("Rows"): f"{part['rows']:,}",
            t("Fill"): f"{part['fill']:.2%}",
        }
        for part in parts
    ]
    st.table([{name: plain(cell) for name, cell in row.items()} for row in rows], border="horizontal", hide_index=True)
    st.echarts_chart(lengths(parts, int(result["length"])), height=220, key=f"{key}.lengths")
    name = st.segmented_control(
        t("Source"),
        [part["name"] for part in parts],
        default=parts[0]["name"],
        key=f"{key}.source",
        label_visibility="collapsed",
        required=True,
    )
    chosen = next(part for part in parts if part["name"] == name)
    for shown in chosen["shown"]:
        with st.container(border=True, gap="small"):
            said = t("{file} · sample {number} · {tokens} tokens",
                     file=shown["file"], number=f"{shown['number']:,}", tokens=f"{shown['tokens']:,}")  # fmt: skip
            st.caption(plain(said))
            st.text(shown["text"])


def lengths(parts: list[dict[str, Any]], length: int) -> dict[str, Any]:
    """The ECharts spec of samples by their length, a source a colour."""
    bins = len(parts[0]["lengths"])
    return {
        "animation": False,
        "title": {
            "text": t("Samples by length, in tokens"),
            "textStyle": {"fontSize": 13, "fontWeight": "normal"},
            "left": 4,
            "top": 0,
        },
        "legend": {"right": 8, "top": 0},
        "grid": {"left": 8, "right": 16, "top": 34, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": [f"≤ {length * (at + 1) // bins}" for at in range(bins)]},
        "yAxis": {"type": "value", "minInterval": 1},
        "series": [{"type": "bar", "name": part["name"], "stack": "all", "data": part["lengths"]} for part in parts],
    }
