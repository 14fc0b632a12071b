"""Records become a graph, and nothing in it without its evidence.

Nodes: every entity, every end of a relation, every argument; the same text (NFKC, casefolded) of
the same type is one node, however many rows name it. An event is a node of its own, never merged
with another of the same trigger, so that its arguments stay its own. Edges: relation and role.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import networkx as nx

from core.errors import UserError
from core.graph.sentence import sentence_of
from core.records import Argument, Entity, Extraction, Span

NodeKey = tuple[str, str]
"""(normalised text, type); the type is "" where no entity tells it."""


class Evidence(NamedTuple):
    """Where a node or an edge was read. Offsets are codepoints; None where the text doesn't hold it."""

    doc: str
    start: int | None
    end: int | None
    row: int
    sentence: str
    record: str
    """Which record of that row: `entity:3`, `relation:0`, `event:1`."""


def build(extractions: Iterable[Extraction]) -> nx.MultiDiGraph:
    """The graph of all rows. Node data: label, type, kind (entity or event), mentions; edge key: its
    relation or role; edge data: relation, kind (relation or role), evidence.

    `graph.graph` tells what it was made of: rows and how many failed; rows by model, and by warning (JSON of
    `UserError.to_dict()`).
    """
    graph = empty()
    for position, extraction in enumerate(extractions):
        add(graph, extraction, position)
    return finish(graph)


def empty() -> nx.MultiDiGraph:
    return nx.MultiDiGraph(rows=0, failed=0, models=Counter(), warnings=Counter())


def add(graph: nx.MultiDiGraph, extraction: Extraction, position: int) -> None:
    """Put one row's records in. `position` is its place in the run, for rows that don't know their own."""
    facts = graph.graph
    facts["rows"] += 1
    facts["failed"] += extraction.error is not None
    facts["models"][str(extraction.provenance.get("model") or "")] += 1
    facts["warnings"].update(json.dumps(warning.to_dict()) for warning in warnings_of(extraction))
    row = _Row(graph, extraction, row_of(extraction, position))
    for index, entity in enumerate(extraction.entities):
        row.mention(entity, entity.type, f"entity:{index}")
    for index, relation in enumerate(extraction.relations):
        row.relate(relation.head, relation.relation, relation.tail, f"relation:{index}")
    for index, event in enumerate(extraction.events):
        row.happen(event.type, event.trigger, event.arguments, f"event:{index}")


def finish(graph: nx.MultiDiGraph) -> nx.MultiDiGraph:
    """Call each node by its most frequent spelling; the first one among equals."""
    for _, data in graph.nodes(data=True):
        data["label"] = data.pop("spellings").most_common(1)[0][0]
    return graph


def node_key(text: str, type: str) -> NodeKey:
    """`Ｍarie  CURIE` and `Marie Curie` of one type are one node."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split()), type.strip()


def located(text: str, span: Entity | Span | Argument) -> bool:
    """Whether the offsets are there and hold exactly the span's text: only then is anything highlighted."""
    if span.start is None or span.end is None or not 0 <= span.start < span.end <= len(text):
        return False
    return text[span.start : span.end] == span.text


def warnings_of(extraction: Extraction) -> list[UserError]:
    """The warnings that a row carries, say that its model does not read the language."""
    found = extraction.provenance.get("warnings")
    return [_warning(one) for one in found if one] if isinstance(found, list | tuple) else []


def _warning(told: object) -> UserError:
    """From `UserError.to_dict()`; anything else is shown as it stands."""
    try:
        error = UserError.from_dict(told)  # type: ignore[arg-type]
        str(error)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        return UserError("{warning}", remedy="", warning=told)
    return error


def row_of(extraction: Extraction, position: int) -> int:
    """The row in the input file, counted from 0."""
    row = extraction.provenance.get("row")
    return row if isinstance(row, int) else position


@dataclass
class _Row:
    graph: nx.MultiDiGraph
    extraction: Extraction
    row: int
    seen: set[tuple[NodeKey, int | None, int | None]] = field(default_factory=set)

    def mention(self, span: Entity | Span | Argument, type: str, record: str) -> NodeKey | None:
        """The node that a span names, made if new; the same place of the text is one mention. None: no text."""
        key = node_key(span.text, type)
        if not key[0]:
            return None
        evidence = self.evidence([span], record)
        self._node(key, span.text, type.strip(), "entity")
        if (place := (key, evidence.start, evidence.end)) not in self.seen:
            self.seen.add(place)
            self.graph.nodes[key]["mentions"].append(evidence)
        return key

    def relate(self, head: Span, relation: str, tail: Span, record: str) -> None:
        source = self.mention(head, self.type_of(head), record)
        target = self.mention(tail, self.type_of(tail), record)
        if source and target:
            self._edge(source, target, relation, "relation", self.evidence([head, tail], record))

    def happen(self, type: str, trigger: Span, arguments: Sequence[Argument], record: str) -> None:
        key = (f"{node_key(trigger.text, '')[0]}@{self.extraction.id}#{record}", type.strip())
        self._node(key, trigger.text.strip() or type, type.strip(), "event")
        self.graph.nodes[key]["mentions"].append(self.evidence([trigger], record))
        for argument in arguments:
            target = self.mention(argument, self.type_of(argument), record)
            if target:
                self._edge(key, target, argument.role, "role", self.evidence([trigger, argument], record))

    def type_of(self, span: Span | Argument) -> str:
        """The type of the entity that overlaps it most, else of one with the same text in this row, else ""."""
        best = max(self.extraction.entities, key=lambda entity: _overlap(entity, span), default=None)
        if best is not None and _overlap(best, span) > 0:
            return best.type
        wanted = node_key(span.text, "")
        return next((entity.type for entity in self.extraction.entities if node_key(entity.text, "") == wanted), "")

    def evidence(self, spans: Sequence[Entity | Span | Argument], record: str) -> Evidence:
        """Offsets reach from the first to the last located span."""
        text = self.extraction.text
        places = list(_places(text, spans))
        start = min((place[0] for place in places), default=None)
        end = max((place[1] for place in places), default=None)
        return Evidence(self.extraction.id, start, end, self.row, sentence_of(text, places), record)

    def _node(self, key: NodeKey, text: str, type: str, kind: str) -> None:
        if key not in self.graph:
            self.graph.add_node(key, type=type, kind=kind, mentions=[], spellings=Counter())
        self.graph.nodes[key]["spellings"][" ".join(text.split()) or key[0]] += 1

    def _edge(self, source: NodeKey, target: NodeKey, relation: str, kind: str, evidence: Evidence) -> None:
        if not self.graph.has_edge(source, target, key=(relation, kind)):
            self.graph.add_edge(source, target, key=(relation, kind), relation=relation, kind=kind, evidence=[])
        self.graph.edges[source, target, (relation, kind)]["evidence"].append(evidence)


def _places(text: str, spans: Sequence[Entity | Span | Argument]) -> Iterator[tuple[int, int]]:
    for span in spans:
        if located(text, span):
            assert span.start is not None and span.end is not None  # noqa: S101 what located() says, for the type checker
            yield span.start, span.end


def _overlap(entity: Entity, span: Span | Argument) -> float:
    """Shared length over joint length, in [0, 1]."""
    if entity.start is None or entity.end is None or span.start is None or span.end is None:
        return 0.0
    shared = min(entity.end, span.end) - max(entity.start, span.start)
    joint = max(entity.end, span.end) - min(entity.start, span.start)
    return max(0.0, shared / joint) if joint else 0.0


def facts_of(graph: nx.MultiDiGraph) -> dict[str, Any]:
    """What the graph was made of, as plain values."""
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in graph.graph.items()}
