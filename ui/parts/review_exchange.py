"""Review goes out and comes in: exports as jobs, a second reviewer's package, how far both agree."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from core import paths
from core.extract.review import merge
from core.extract.review.book import Book
from core.extract.review.commands import ExportRequest, MergeRequest, OpenRequest, What
from core.extract.review.splits import counts
from core.extract.schema import Schema
from core.extract.schema import save as save_schema
from core.jobs import store
from core.operation import Request
from ui.i18n import t
from ui.parts.errors import errors_shown
from ui.parts.job_panel import job_panel
from ui.parts.request_form import request_form

HIDDEN: dict[What, tuple[str, ...]] = {
    "gold": ("blind", "sentences", "seed"),
    "training": ("blind", "sentences", "seed"),
    "few-shot": ("blind", "sentences", "seed", "by", "share"),
    "package": ("by", "share"),
    "labelstudio": ("by", "share", "limit", "blind", "sentences", "seed", "who"),
}
"""Fields that say nothing for what is exported."""


def what_name(what: What) -> str:
    return {
        "gold": t("Gold"),
        "training": t("Rows for training"),
        "few-shot": t("Examples for prompts"),
        "package": t("For a second reviewer"),
        "labelstudio": t("Label Studio"),
    }[what]


def what_for(what: What) -> str:
    return {
        "gold": t(
            "records.jsonl of the sentences that you called whole, to score runs against. "
            "Their texts are gold for ever: they never go into training or prompts."
        ),
        "training": t(
            "The sentences that you called whole as training rows: in IEPile's form, and as records with their schema, "
            "both read by Train. Types that don't occur are learned as absent. Their texts are never gold."
        ),
        "few-shot": t(
            "The run's schema with some of these sentences as its examples, those that show most types. "
            "Their texts are never gold."
        ),
        "package": t(
            "One .zip with the sentences and the schema, no code. The other person receives it on their own Review "
            "page, works on it, and sends a package back."
        ),
        "labelstudio": t(
            "Every document as a task with the model's records, and the labeling config. "
            "What was annotated comes back under “Second reviewer”."
        ),
    }[what]


def export_view(book: Book, schema: Schema | None, who: str, key: str) -> None:
    kinds: list[What] = ["gold", "training", "few-shot", "package", "labelstudio"]
    if not (book.folder / "store.sqlite").is_file():
        kinds.remove("labelstudio")
    what = st.segmented_control(
        t("What"), kinds, default="gold", format_func=what_name, key=f"{key}.what", required=True
    )
    st.caption(what_for(what))
    out = book.folder / "review" / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"
    given: dict[str, Any] = {"run": book.folder, "what": what, "out": out, "who": who, "schema_ref": _ref(book, schema)}
    hide = ("run", "what", "out", "schema_ref", "who", *HIDDEN[what])
    request = request_form(ExportRequest, f"{key}.{what}", hide=hide, defaults=given)
    if request is not None and st.button(
        t("Write {what}", what=what_name(what)), type="primary", icon=":material/ios_share:", key=f"{key}.write.{what}"
    ):
        _start(request, f"{key}.job")
    _job(f"{key}.job", downloads=True)
    given_away = counts()
    if given_away:
        told = {"train": t("training"), "few-shot": t("examples"), "gold": t("gold")}
        parts = " · ".join(f"{told[split]} {count:,}" for split, count in given_away.items())
        st.caption(t("Texts with a purpose, in this workspace: {parts}. None ever changes it.", parts=parts))


def _ref(book: Book, schema: Schema | None) -> str:
    """The schema as a file beside the review, for the job to read: the form names none."""
    if schema is None or book.schema() is not None:
        return ""
    place = book.folder / "review-schema.json"
    save_schema(schema, place)
    return str(place)


def second_view(book: Book, key: str) -> None:
    for who in merge.reviewers(book):
        _agreement(book, who)
    st.subheader(t("Take in what came back"))
    st.caption(
        t("A package that the other person sent back, or an export (JSON) of Label Studio. Yours stays as it is.")
    )
    request = request_form(MergeRequest, f"{key}.merge", hide=("run",), defaults={"run": book.folder})
    if request is not None and st.button(
        t("Compare and take in"), type="primary", icon=":material/merge:", key=f"{key}.merge.start"
    ):
        _start(request, f"{key}.merge.job")
    _job(f"{key}.merge.job")


def _agreement(book: Book, who: str) -> None:
    found = merge.agreement(book, who)
    with st.container(border=True):
        st.text(t("You and {who}", who=who))
        one, two, three = st.columns(3)
        one.metric(
            t("Cohen's kappa"),
            "–" if found.kappa is None else f"{found.kappa:.2f}",
            help=t("Agreement on accepting, correcting or rejecting, beyond what chance would give; 1 is complete."),
        )
        two.metric(
            t("Span F1"),
            "–" if found.span_f1 is None else f"{found.span_f1:.2f}",
            help=t("How many spans both have, of the sentences that both called whole."),
        )
        three.metric(t("To settle"), f"{found.open:,}")
        st.caption(
            t(
                "Decided by both: {records} records, alike: {same}. Whole for both: {sentences} sentences.",
                records=f"{found.records:,}",
                same=f"{found.same:,}",
                sentences=f"{found.sentences:,}",
            )
        )
        if found.open:
            st.caption(
                t("Choose “Disagreements” among the sentences to settle them: A keeps, R rejects, O takes theirs.")
            )


def receive(key: str) -> None:
    """A package from somebody becomes a review of one's own."""
    st.caption(t("Somebody sent you a package to review? Receive it here; it becomes a review of your own."))
    out = paths.runs() / f"{time.strftime('%Y%m%d-%H%M%S')}-received"
    request = request_form(OpenRequest, key, hide=("out",), defaults={"out": out})
    if request is not None and st.button(t("Receive"), icon=":material/move_to_inbox:", key=f"{key}.start"):
        _start(request, f"{key}.job")
    done = _job(f"{key}.job")
    if done is not None and st.button(t("Open it"), type="primary", icon=":material/rate_review:", key=f"{key}.open"):
        st.query_params["run"] = Path(str(done.request["out"])).name
        st.session_state.pop(f"{key}.job", None)
        st.rerun()


def _start(request: Request, key: str) -> None:
    with errors_shown():
        st.session_state[key] = store.submit(request).id


def _job(key: str, *, downloads: bool = False) -> store.Job | None:
    """The job that was started here; it itself once it has ended well."""
    id = st.session_state.get(key)
    if id is None:
        return None
    job_panel(id)
    job = store.read(id)
    if job.state != "done":
        return None
    if downloads:
        out = Path(str((job.result or {}).get("out", "")))
        files = sorted(out.iterdir()) if out.is_dir() else [out] if out.is_file() else []
        with st.container(horizontal=True):
            for file in files:
                st.download_button(
                    file.name,
                    partial(file.open, "rb"),
                    file.name,
                    key=f"{key}.download.{id}.{file.name}",
                    icon=":material/download:",
                    on_click="ignore",
                )
    return job
