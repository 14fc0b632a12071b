"""The three next things a person may want to do, worked out from what is really there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.jobs.store import Job
from ui.i18n import t
from ui.parts.job_panel import operation_title
from ui.parts.recover_home import stopped

SHOWN = 3
STARTER = "models starter"


@dataclass(frozen=True)
class Step:
    """`page` is a view's name; `query` selects something on it."""

    title: str
    why: str
    page: str
    icon: str
    query: dict[str, str] = field(default_factory=dict)


def next_steps(jobs: Sequence[Job], *, models: int, loaded: str) -> list[Step]:
    """The first that apply, most pressing first. `loaded` is the loaded model's title, or empty."""
    if not models:
        jobs = [job for job in jobs if job.operation != STARTER]  # the first-run card shows that one
    latest = jobs[0] if jobs else None
    run = next((job for job in jobs if job.operation == "extract run" and job.state == "done"), None)
    built = {
        str((job.request or {}).get("run")) for job in jobs if job.operation == "graph build" and job.state == "done"
    }
    steps = [Step(title, why, "recover", ":material/healing:", {"recovery": name}) for name, title, why in stopped()]
    if latest is not None and latest.state in ("failed", "died"):
        steps.append(_explain(latest))
    steps += [_watch(job) for job in jobs if not job.over][:1]
    if run is not None and (out := _output(run)) not in built:
        steps.append(_see_graph(out))
    if run is None:
        steps.append(_extract())
    if models and not loaded:
        steps.append(_load())
    if loaded:
        steps.append(_ask(loaded))
    if run is not None:
        steps.append(_extract())
    return [*steps, _bigger_model(), _sample_graph()][:SHOWN]


def _output(run: Job) -> str:
    return str((run.request or {}).get("out", ""))


def _explain(job: Job) -> Step:
    why = t("It stopped before its end: see why, and start it again.")
    return Step(operation_title(job.operation), why, "jobs", ":material/error:", {"job": job.id})


def _watch(job: Job) -> Step:
    why = t("Running now: see how far it is.")
    return Step(operation_title(job.operation), why, "jobs", ":material/play_arrow:", {"job": job.id})


def _see_graph(out: str) -> Step:
    why = t("From your last extraction, {name}: every node leads to its sentences.", name=Path(out).name)
    return Step(t("See the knowledge graph"), why, "graph", ":material/hub:", {"run": out})


def _extract() -> Step:
    why = t("Entities, relations or events from a text or a table, each with the place it was read from.")
    return Step(t("Extract from your text"), why, "extract", ":material/data_object:")


def _load() -> Step:
    why = t("It is loaded on first use; loading it now saves that wait.")
    return Step(t("Load a model"), why, "models", ":material/memory:")


def _ask(title: str) -> Step:
    return Step(t("Ask the model"), t("{model} is loaded and ready.", model=title), "chat", ":material/chat:")


def _bigger_model() -> Step:
    why = t("See which ones fit this machine, or connect a server.")
    return Step(t("Find a stronger model"), why, "models", ":material/search:")


def _sample_graph() -> Step:
    why = t("A small one, made from sample sentences.")
    return Step(t("Look at a sample graph"), why, "graph", ":material/hub:")
