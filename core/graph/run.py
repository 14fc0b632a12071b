"""`graph build`: from an extraction run to the files of its graph."""

from __future__ import annotations

import time
from pathlib import Path

import networkx as nx
from pydantic import Field

from core import registry
from core.errors import UserError
from core.graph import files, source
from core.graph.build import add, empty, finish
from core.graph.layout import layout
from core.operation import Needs, Progress, Request, Result, operation

STEP = 200


class BuildRequest(Request):
    """Build the knowledge graph of an extraction run, with the evidence of every node and edge."""

    run: Path = Field(description="Folder that an extraction run wrote", json_schema_extra={"picker": "folder"})
    out: Path = Field(description="Folder for the graph's files", json_schema_extra={"picker": "folder"})
    seed: int = Field(
        default=7, ge=0, le=2**31, description="Same seed, same picture", json_schema_extra={"advanced": True}
    )


class BuildResult(Result):
    out: Path
    files: list[str]
    rows: int
    nodes: int
    edges: int
    components: int
    seconds: float

    def summary(self) -> str:
        shape = f"{self.nodes} nodes, {self.edges} edges, {self.components} components"
        made = "\n".join(str(self.out / name) for name in self.files)
        return f"{shape}, from {self.rows} rows in {self.seconds:.1f} s\n{made}"


def estimate(request: BuildRequest) -> Needs:
    try:
        size = source.records_file(request.run).stat().st_size
    except (UserError, OSError):
        return Needs()
    return Needs(ram=150_000_000 + 6 * size, disk=6 * size, disk_at=request.out, seconds=2 + size / 1e6)


@operation("graph", "build", estimate=estimate)
def run(request: BuildRequest, progress: Progress) -> BuildResult:
    """Files appear one by one, each whole; graph.json last, so a graph that was cut short is none."""
    started = time.monotonic()
    origin = source.fingerprint(request.run)
    out = _folder(request.out)
    files.remove_leftovers(out)
    graph = _read(request.run, out, progress)
    progress.log(f"{len(graph)} nodes, {graph.number_of_edges()} edges; laying them out")
    positions = layout(graph, request.seed)
    exports = registry.plugins("core.graph.exports")
    for name, export in exports.items():
        progress.log(f"writing {name}")
        export.write(graph, positions, out)
    files.write_graph(out, graph, positions, origin)
    made = [name for export in exports.values() for name in export.FILES]
    return BuildResult(
        out=out,
        files=[*made, files.ROWS, files.GRAPH],
        rows=graph.graph["rows"],
        nodes=len(graph),
        edges=graph.number_of_edges(),
        components=nx.number_weakly_connected_components(graph),
        seconds=round(time.monotonic() - started, 3),
    )


def _read(run: Path, out: Path, progress: Progress) -> nx.MultiDiGraph:
    graph = empty()
    with files.rows_writer(out) as database:
        for position, extraction in enumerate(source.extractions(run)):
            files.keep_row(database, extraction)
            add(graph, extraction, position)
            if position % STEP == 0:
                progress.step(position + 1, unit="rows")
        if not graph.graph["rows"]:
            raise UserError(
                "The extraction run in {folder} has no rows yet.",
                remedy="Run the extraction first, or wait for its first rows.",
                folder=run,
            )
    progress.step(graph.graph["rows"], graph.graph["rows"], "rows")
    graph.graph["audit"] = source.audit(run)
    return finish(graph)


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "The folder {folder} can't be made ({reason}).",
            remedy="Choose a folder in a place you may write to.",
            folder=out,
            reason=error.strerror or error,
        ) from error
    return out.resolve()
