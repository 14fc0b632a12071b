"""From records to nodes and edges, each with its evidence."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from core.graph.build import Evidence, build, located, node_key
from core.graph.sentence import sentence_around
from core.records import Argument, Entity, Event, Extraction, Relation, Span

TEXT = "Marie Curie was born in Warsaw. In 1903 she received the Nobel Prize with Pierre Curie."


def span(words: str, text: str = TEXT) -> Span:
    start = text.index(words)
    return Span(words, start, start + len(words))


def entity(words: str, type: str, text: str = TEXT) -> Entity:
    start = text.index(words)
    return Entity(words, type, start, start + len(words))


def row(id: str = "a", text: str = TEXT, **records) -> Extraction:
    return Extraction(id, text, **records)


def test_the_same_name_in_other_letters_is_one_node() -> None:
    one = row("a", entities=(entity("Marie Curie", "Person"),))
    two = row("b", "ＭＡＲＩＥ  curie spoke.", entities=(Entity("ＭＡＲＩＥ  curie", "Person", 0, 12),))
    three = row("c", entities=(entity("Marie Curie", "Person"),))
    graph = build([one, two, three])
    assert list(graph) == [("marie curie", "Person")]
    data = graph.nodes["marie curie", "Person"]
    assert data["label"] == "Marie Curie"
    assert [mention.doc for mention in data["mentions"]] == ["a", "b", "c"]


def test_the_same_name_of_another_type_is_another_node() -> None:
    text = "Paris met Paris."
    graph = build([row("a", text, entities=(Entity("Paris", "Person", 0, 5), Entity("Paris", "City", 10, 15)))])
    assert set(graph) == {("paris", "Person"), ("paris", "City")}


def test_a_relation_joins_the_entities_that_it_overlaps() -> None:
    relation = Relation(span("Marie Curie"), "born in", span("Warsaw"))
    graph = build([row(entities=(entity("Marie Curie", "Person"), entity("Warsaw", "City")), relations=(relation,))])
    assert len(graph) == 2
    edge = graph.edges[("marie curie", "Person"), ("warsaw", "City"), ("born in", "relation")]
    assert edge["evidence"] == [Evidence("a", 0, 30, 0, "Marie Curie was born in Warsaw.", "relation:0")]


def test_an_end_without_an_entity_has_no_type() -> None:
    graph = build([row(relations=(Relation(span("Pierre Curie"), "knows", span("Marie Curie")),))])
    assert graph.has_edge(("pierre curie", ""), ("marie curie", ""))


def test_an_end_that_is_not_in_the_text_keeps_its_type_by_its_name() -> None:
    relation = Relation(Span("marie curie"), "born in", Span("Atlantis"))
    graph = build([row(entities=(entity("Marie Curie", "Person"),), relations=(relation,))])
    assert graph.has_edge(("marie curie", "Person"), ("atlantis", ""))
    assert graph.nodes["atlantis", ""]["mentions"][0].start is None


def test_a_relation_read_twice_is_one_edge_with_two_sentences() -> None:
    relation = Relation(span("Marie Curie"), "born in", span("Warsaw"))
    graph = build([row("a", relations=(relation,)), row("b", relations=(relation,))])
    assert graph.number_of_edges() == 1
    ((_, _, evidence),) = graph.edges(data="evidence")
    assert [one.doc for one in evidence] == ["a", "b"]


def test_two_events_with_the_same_trigger_keep_their_own_arguments() -> None:
    event = Event(
        "Award", span("received"), (Argument("winner", **_place("Pierre Curie")), Argument("time", **_place("1903")))
    )
    graph = build([row("a", events=(event,)), row("b", events=(event,))])
    events = [node for node, data in graph.nodes(data=True) if data["kind"] == "event"]
    assert len(events) == 2
    assert all(graph.out_degree(node) == 2 for node in events)
    assert {graph.nodes[node]["label"] for node in events} == {"received"}
    assert {key for *_, key in graph.edges(keys=True)} == {("winner", "role"), ("time", "role")}


def test_wrong_offsets_are_never_evidence() -> None:
    graph = build([row(entities=(Entity("Warsaw", "City", 0, 6),))])
    assert graph.nodes["warsaw", "City"]["mentions"][0].start is None


def test_a_row_knows_its_own_place_in_the_file() -> None:
    graph = build([row(entities=(entity("Warsaw", "City"),), provenance={"row": 41})])
    assert graph.nodes["warsaw", "City"]["mentions"][0].row == 41


def test_the_graph_tells_what_it_was_made_of() -> None:
    error = {"problem": "No.", "remedy": "Yes.", "values": {}}
    warning = {"problem": "The model does not read {language}.", "remedy": "", "values": {"language": "zh"}}
    graph = build([row(provenance={"model": "starter", "warnings": [warning, "odd {"]}), row("b", error=error)])
    assert graph.graph["rows"] == 2
    assert graph.graph["failed"] == 1
    assert graph.graph["models"] == {"starter": 1, "": 1}
    assert len(graph.graph["warnings"]) == 2


def test_a_sentence_ends_where_sentences_end() -> None:
    text = "他去了。Dr. Smith lives in St. Petersburg. J. Doe left！好"
    assert sentence_around(text, text.index("Smith"), text.index("Smith") + 5) == "Dr. Smith lives in St. Petersburg."
    assert sentence_around(text, 0, 1) == "他去了。"
    assert sentence_around("a" * 5000, 2000, 2001) == f"…{'a' * 601}…"


@given(st.text(), st.data())
def test_a_sentence_holds_its_span(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 50)))
    assert text[start:end].strip() in sentence_around(text, start, end)


@given(st.text(), st.text())
def test_a_key_is_its_own_key(text: str, type: str) -> None:
    key = node_key(text, type)
    assert node_key(*key) == key
    assert node_key(unicodedata.normalize("NFD", text), type) == key


spans = st.builds(Span, st.text(max_size=5), st.none() | st.integers(-3, 20), st.none() | st.integers(-3, 20))
entities = st.builds(
    Entity, st.text(max_size=5), st.text(max_size=3), st.none() | st.integers(-3, 20), st.none() | st.integers(-3, 20)
)
arguments = st.builds(
    Argument, st.text(max_size=3), st.text(max_size=5), st.none() | st.integers(-3, 20), st.none() | st.integers(-3, 20)
)
rows = st.builds(
    Extraction,
    id=st.text(max_size=3),
    text=st.text(max_size=30),
    entities=st.lists(entities, max_size=4).map(tuple),
    relations=st.lists(st.builds(Relation, spans, st.text(max_size=3), spans), max_size=3).map(tuple),
    events=st.lists(
        st.builds(Event, st.text(max_size=3), spans, st.lists(arguments, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
)


@given(st.lists(rows, max_size=4))
def test_whatever_a_model_writes_everything_in_the_graph_has_evidence(found: list[Extraction]) -> None:
    graph = build(found)
    texts = {(one.id, row): one.text for row, one in enumerate(found)}
    for _, data in graph.nodes(data=True):
        assert data["mentions"] and data["label"] is not None
    for one in [mention for _, seen in graph.nodes(data="mentions") for mention in seen]:
        assert (one.doc, one.row) in texts
        assert one.start is None or 0 <= one.start < one.end <= len(texts[one.doc, one.row])
    for *_, evidence in graph.edges(data="evidence"):
        assert evidence


@given(st.text(max_size=20), spans)
def test_located_means_that_the_text_holds_it(text: str, one: Span) -> None:
    if located(text, one):
        assert text[one.start : one.end] == one.text != ""


def _place(words: str) -> dict:
    found = span(words)
    return {"text": found.text, "start": found.start, "end": found.end}
