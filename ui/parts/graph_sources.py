"""Graphs that a person can look at: one for each extraction run, and the sample."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import streamlit as st

from core import paths, registry
from core.errors import UserError
from core.graph import files, source
from core.graph.build import build
from core.graph.layout import Positions, layout
from core.graph.run import BuildRequest
from core.jobs import store
from core.records import Extraction
from ui.parts.runs import all_runs

SAMPLE = paths.ASSETS / "samples" / "sample_run"
DOWNLOADS = ("graph.html", "nodes.csv", "edges.csv", "graph.jsonl", "graph.graphml")


@dataclass(frozen=True)
class Source:
    """An extraction run, and the folder that its graph is built in."""

    run: Path

    @property
    def sample(self) -> bool:
        return self.run == SAMPLE

    @property
    def out(self) -> Path:
        return self.run / "graph"

    @property
    def built(self) -> bool:
        return (self.out / files.GRAPH).is_file()


@dataclass(frozen=True)
class Loaded:
    graph: nx.MultiDiGraph
    positions: Positions
    read_row: Callable[[str], Extraction | None]
    fingerprint: dict[str, Any]
    """Of the run as it was when the graph was built."""


def sources() -> list[Source]:
    """The workspace's runs and those of jobs that wrote elsewhere, newest first; the sample last."""
    folders = {folder.resolve() for folder in paths.runs().iterdir() if folder.is_dir()}
    folders |= {run.folder.resolve() for run in all_runs()}
    dated = sorted(((_written(folder), str(folder)) for folder in folders), reverse=True)
    return [*(Source(Path(folder)) for written, folder in dated if written), Source(SAMPLE)]


def load(chosen: Source) -> Loaded:
    """The graph with its positions, read once for every session. The sample, being small, is laid out here."""
    if chosen.sample:
        return _sample()
    return _built(str(chosen.out), (chosen.out / files.GRAPH).stat().st_mtime_ns)


def outdated(chosen: Source, loaded: Loaded) -> bool:
    """Whether the run has other rows than when its graph was built."""
    try:
        return not chosen.sample and source.fingerprint(chosen.run) != loaded.fingerprint
    except UserError:  # the run's own files were removed; the graph keeps its rows
        return False


def job_of(chosen: Source) -> store.Job | None:
    """The newest job that built this graph or is building it."""
    wanted = str(chosen.out)
    return next(
        (job for job in store.all_jobs() if job.operation == "graph build" and job.request.get("out") == wanted), None
    )


def submit(chosen: Source) -> None:
    store.submit(BuildRequest(run=chosen.run, out=chosen.out))


def download(chosen: Source, loaded: Loaded, name: str) -> io.BytesIO | Any:
    """A file of the graph, opened when its button is pressed."""
    if not chosen.sample:
        return (chosen.out / name).open("rb")
    export = next(one for one in registry.plugins("core.graph.exports").values() if name in one.FILES)
    with tempfile.TemporaryDirectory() as folder:
        export.write(loaded.graph, loaded.positions, Path(folder))
        return io.BytesIO((Path(folder) / name).read_bytes())


def _written(folder: Path) -> float:
    try:
        return source.records_file(folder).stat().st_mtime
    except (UserError, OSError):
        return 0.0


@st.cache_resource(show_spinner=False)
def _sample() -> Loaded:
    rows = list(source.extractions(SAMPLE))
    graph = build(rows)
    known = {row.id: row for row in rows}
    return Loaded(graph, layout(graph), known.get, {})


@st.cache_resource(max_entries=3, show_spinner=False)
def _built(out: str, written: int) -> Loaded:
    """`written` is only a part of the cache's key: a graph built again is read again."""
    folder = Path(out)
    graph, positions, fingerprint = files.read_graph(folder)
    return Loaded(graph, positions, lambda doc: files.read_row(folder, doc), fingerprint)
