"""nodes.csv and edges.csv, with a byte-order mark so that Excel reads their Chinese."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import networkx as nx

from core.graph.files import replacing
from core.graph.layout import Positions
from core.graph.text import clean

FILES = ("nodes.csv", "edges.csv")
NODE_COLUMNS = ("id", "label", "type", "kind", "degree", "mentions", "rows", "x", "y")
EDGE_COLUMNS = (
    "source",
    "target",
    "head",
    "relation",
    "tail",
    "kind",
    "count",
    "row",
    "id",
    "start",
    "end",
    "sentence",
)


def write(graph: nx.MultiDiGraph, positions: Positions, folder: Path) -> None:
    index = {node: place for place, node in enumerate(graph)}
    _table(folder / FILES[0], NODE_COLUMNS, _nodes(graph, positions, index))
    _table(folder / FILES[1], EDGE_COLUMNS, _edges(graph, index))


def _nodes(graph: nx.MultiDiGraph, positions: Positions, index: dict) -> Iterable[list]:
    for node, data in graph.nodes(data=True):
        rows = sorted({mention.row for mention in data["mentions"]})
        count = len(data["mentions"])
        place = positions[node]
        yield [
            index[node],
            data["label"],
            data["type"],
            data["kind"],
            graph.degree(node),
            count,
            " ".join(map(str, rows)),
            *place,
        ]


def _edges(graph: nx.MultiDiGraph, index: dict) -> Iterable[list]:
    """One line a piece of evidence: an edge read in three rows has three lines, each with its sentence."""
    for head, tail, data in graph.edges(data=True):
        names = [graph.nodes[head]["label"], data["relation"], graph.nodes[tail]["label"], data["kind"]]
        for one in data["evidence"]:
            yield [
                index[head],
                index[tail],
                *names,
                len(data["evidence"]),
                one.row,
                one.doc,
                one.start,
                one.end,
                one.sentence,
            ]


def _table(path: Path, columns: tuple[str, ...], lines: Iterable[list]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in line] for line in lines)


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
