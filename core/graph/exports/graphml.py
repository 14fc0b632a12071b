"""graph.graphml, for Gephi, yEd and Cytoscape."""

from __future__ import annotations

from pathlib import Path

import networkx as nx

from core.graph.exports import audit
from core.graph.exports.html import WORDS
from core.graph.files import replacing
from core.graph.layout import Positions
from core.graph.text import clean

FILES = ("graph.graphml",)


def write(graph: nx.MultiDiGraph, positions: Positions, folder: Path) -> None:
    index = {node: str(place) for place, node in enumerate(graph)}
    plain = nx.MultiDiGraph(audit=audit.in_words(audit.told(graph), WORDS))
    for node, data in graph.nodes(data=True):
        x, y = positions[node]
        names = {"label": clean(data["label"]), "type": clean(data["type"]), "kind": data["kind"]}
        plain.add_node(index[node], **names, mentions=len(data["mentions"]), x=x, y=y)
    for number, (head, tail, data) in enumerate(graph.edges(data=True)):
        sentence = clean(data["evidence"][0].sentence)
        told = {"relation": clean(data["relation"]), "kind": data["kind"], "count": len(data["evidence"])}
        plain.add_edge(index[head], index[tail], key=str(number), **told, sentence=sentence)
    with replacing(folder / FILES[0]) as temporary:
        nx.write_graphml_xml(plain, temporary, encoding="utf-8")
