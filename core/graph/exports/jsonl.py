"""graph.jsonl: one node or edge a line, each with all its evidence."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx

from core.graph.files import replacing
from core.graph.layout import Positions
from core.graph.text import clean

FILES = ("graph.jsonl",)


def write(graph: nx.MultiDiGraph, positions: Positions, folder: Path) -> None:
    index = {node: place for place, node in enumerate(graph)}
    with replacing(folder / FILES[0]) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for node, data in graph.nodes(data=True):
            x, y = positions[node]
            names = {"node": index[node], "label": data["label"], "type": data["type"], "kind": data["kind"]}
            file.write(_line({**names, "x": x, "y": y, "mentions": [one._asdict() for one in data["mentions"]]}))
        for head, tail, data in graph.edges(data=True):
            ends = {"edge": [index[head], index[tail]], "relation": data["relation"], "kind": data["kind"]}
            file.write(_line({**ends, "evidence": [one._asdict() for one in data["evidence"]]}))


def _line(row: dict) -> str:
    line = json.dumps(row, ensure_ascii=False)
    return clean(line) + "\n"  # json escapes control characters itself; what is left are lone surrogates
