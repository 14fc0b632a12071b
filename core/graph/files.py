"""What `graph build` keeps: graph.json (nodes, edges, evidence, positions) and evidence.sqlite (the rows).

The rows are copied, so that a graph shows its evidence even when its run is moved or goes on.
graph.json is written last: its presence means that the graph is complete.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import networkx as nx
import psutil

from core.errors import UserError
from core.graph.build import Evidence, facts_of
from core.graph.layout import Positions
from core.records import Extraction

GRAPH = "graph.json"
ROWS = "evidence.sqlite"
VERSION = 1


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, put in its place when all went well and removed when not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Temporary files of builds that were killed."""
    for left in folder.glob(".*.part*"):
        pid = left.name.split(".part")[0].rpartition(".")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            left.unlink(missing_ok=True)


def write_graph(folder: Path, graph: nx.MultiDiGraph, positions: Positions, source: dict[str, Any]) -> None:
    index = {node: place for place, node in enumerate(graph)}
    sentences: dict[str, int] = {}

    def packed(evidence: Iterable[Evidence]) -> list[list]:
        return [
            [one.doc, one.start, one.end, one.row, sentences.setdefault(one.sentence, len(sentences)), one.record]
            for one in evidence
        ]

    nodes = [
        [*node, data["label"], data["kind"], *positions[node], packed(data["mentions"])]
        for node, data in graph.nodes(data=True)
    ]
    edges = [
        [index[head], index[tail], data["relation"], data["kind"], packed(data["evidence"])]
        for head, tail, data in graph.edges(data=True)
    ]
    content = {
        "version": VERSION,
        "source": source,
        "facts": facts_of(graph),
        "nodes": nodes,
        "edges": edges,
        "sentences": list(sentences),
    }
    with replacing(folder / GRAPH) as temporary:
        # ASCII: a lone surrogate in a text survives the way through a file.
        temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="ascii")


def read_graph(folder: Path) -> tuple[nx.MultiDiGraph, Positions, dict[str, Any]]:
    """(graph, positions, fingerprint of the run it was built from). Raises UserError."""
    file = folder / GRAPH
    try:
        content = json.loads(file.read_text(encoding="ascii"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}")
        return (*_unpack(content), content["source"])
    except FileNotFoundError:
        raise UserError(
            "There is no graph in {folder}.", remedy="Build it with `graph build`, or on the Graph page.", folder=folder
        ) from None
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        raise UserError(
            "{file} can't be read ({reason}).", remedy="Build the graph again.", file=file, reason=error
        ) from error


def _unpack(content: dict[str, Any]) -> tuple[nx.MultiDiGraph, Positions]:
    sentences = content["sentences"]

    def evidence(rows: list[list]) -> list[Evidence]:
        return [
            Evidence(doc, start, end, row, sentences[place], record) for doc, start, end, row, place, record in rows
        ]

    graph = nx.MultiDiGraph(**content["facts"])
    keys = [(text, type) for text, type, *_ in content["nodes"]]
    positions = {}
    for key, (_, type, label, kind, x, y, mentions) in zip(keys, content["nodes"], strict=True):
        graph.add_node(key, label=label, type=type, kind=kind, mentions=evidence(mentions))
        positions[key] = (x, y)
    for head, tail, relation, kind, rows in content["edges"]:
        graph.add_edge(
            keys[head], keys[tail], key=(relation, kind), relation=relation, kind=kind, evidence=evidence(rows)
        )
    return graph, positions


@contextmanager
def rows_writer(folder: Path) -> Iterator[sqlite3.Connection]:
    """Takes rows with `keep_row`; the finished file appears at once."""
    with replacing(folder / ROWS) as temporary:
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary)) as database:
            database.execute("create table rows (id text primary key, record text not null) without rowid")
            yield database
            database.commit()


def keep_row(database: sqlite3.Connection, extraction: Extraction) -> None:
    record = json.dumps(extraction.to_dict())  # ASCII: SQLite refuses lone surrogates
    database.execute("insert or replace into rows values (?, ?)", (json.dumps(extraction.id), record))


def read_row(folder: Path, doc: str) -> Extraction | None:
    """The row of that document id, with all its records; None where the graph's folder doesn't keep it."""
    file = folder / ROWS
    if not file.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("select record from rows where id = ?", (json.dumps(doc),)).fetchone()
    except sqlite3.DatabaseError as error:
        raise UserError(
            "{file} can't be read ({reason}).", remedy="Build the graph again.", file=file, reason=error
        ) from error
    return Extraction.from_dict(json.loads(found[0])) if found else None
