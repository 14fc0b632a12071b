"""audit.json: how right the records are that the graph was made of, or that nobody has judged any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx

from core.graph.files import replacing
from core.graph.layout import Positions

FILES = ("audit.json",)
NOT_AUDITED = {"audited": False}


def write(graph: nx.MultiDiGraph, positions: Positions, folder: Path) -> None:
    with replacing(folder / FILES[0]) as temporary:
        temporary.write_text(json.dumps(told(graph), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def told(graph: nx.MultiDiGraph) -> dict[str, Any]:
    return graph.graph.get("audit") or NOT_AUDITED


def in_words(said: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """One line, from the templates `audited` and `not_audited`."""
    if not said.get("audited"):
        return words["not_audited"]
    return words["audited"].format(
        n=said["sentences"], precision=_share(said, "precision"), recall=_share(said, "recall")
    )


def _share(said: Mapping[str, Any], name: str) -> str:
    if said.get(name) is None:
        return "–"
    low, high = said[f"{name}_interval"]
    return f"{said[name]:.0%} ({low:.0%}–{high:.0%})"
