"""Votes of several passes, tokens' probabilities, swapped ends, and what confidences are worth."""

from __future__ import annotations

import math

import pytest

from core.extract import schema as schemas
from core.extract.confidence import by_tokens, calibration, judged, voted
from core.extract.directions import marked
from core.extract.passes import FIRST, Pass, shuffled
from core.inference.decoding import Decoding
from core.records import Argument, Entity, Event, Extraction, Relation, Span

SPENT = {"calls": 1, "unreadable": 0, "tokens": 5}


def found(*records: Entity | Relation | Event, **spent: int) -> Extraction:
    return Extraction(
        "",
        "",
        entities=tuple(one for one in records if isinstance(one, Entity)),
        relations=tuple(one for one in records if isinstance(one, Relation)),
        events=tuple(one for one in records if isinstance(one, Event)),
        provenance={**SPENT, **spent},
    )


ADA = Entity("Ada", "person", 0, 3)
LONDON = Entity("London", "place", 10, 16)
PARIS = Entity("Paris", "place", 20, 25)


def told(extraction: Extraction) -> dict[str, float | None]:
    return {one.text: one.confidence for one in extraction.entities}


def test_records_are_kept_by_half_of_the_passes_and_their_share_is_their_confidence() -> None:
    result = voted([found(ADA, LONDON), found(LONDON, ADA), found(ADA, PARIS)])
    assert told(result) == {"Ada": 1.0, "London": pytest.approx(2 / 3, abs=1e-3)}
    assert result.confidence == pytest.approx((1 + 2 / 3 + 2 / 3) / 3, abs=1e-3)
    assert result.provenance["tokens"] == 15
    assert (result.provenance["passes"], result.provenance["votes_needed"]) == (3, 2)
    assert set(told(voted([found(ADA, LONDON), found(LONDON, ADA), found(ADA, PARIS)], votes=3))) == {"Ada"}
    assert set(told(voted([found(ADA), found(PARIS)], votes=1))) == {"Ada", "Paris"}


def test_passes_that_all_find_nothing_agree_wholly() -> None:
    assert voted([found(), found()]).confidence == 1.0


def test_a_pass_that_nobody_can_read_has_no_vote() -> None:
    result = voted([found(ADA), found(unreadable=1)])
    assert told(result) == {"Ada": 1.0}
    assert result.provenance["unreadable"] == 1, "but it is not forgotten"


def test_an_entity_elsewhere_in_the_text_is_another_one_and_an_unlocated_one_is_known_by_its_words() -> None:
    other = Entity("Ada", "person", 40, 43)
    result = voted([found(ADA), found(other)], votes=1)
    assert [one.confidence for one in result.entities] == [0.5, 0.5]
    assert told(voted([found(Entity("X", "person")), found(Entity("x", "person"))])) == {"X": 1.0}


def test_an_events_arguments_are_voted_on_within_it() -> None:
    def meeting(*arguments: str) -> Event:
        return Event("meeting", Span("met", 4, 7), tuple(Argument("who", one) for one in arguments))

    result = voted([found(meeting("Ada", "Bo")), found(meeting("Ada")), found(meeting("Ada"))]).events[0]
    assert result.confidence == 1.0
    assert [(one.text, one.confidence) for one in result.arguments] == [("Ada", 1.0)]


def relation(head: str, tail: str, name: str = "parent of") -> Relation:
    return Relation(Span(head), name, Span(tail))


def test_a_relation_that_passes_say_either_way_round_is_marked_and_a_mutual_one_is_not() -> None:
    turned = voted([found(relation("Ada", "Bo")), found(relation("Ada", "Bo")), found(relation("Bo", "Ada"))])
    assert [(one.head.text, one.swapped) for one in turned.relations] == [("Ada", True)]
    both = [relation("Ada", "Bo", "spouse"), relation("Bo", "Ada", "spouse")]
    assert not any(one.swapped for one in voted([found(*both), found(*both)]).relations)


def test_ends_whose_types_fit_the_schema_only_when_swapped_are_marked() -> None:
    schema = schemas.from_json(
        {
            "entities": ["person", "place"],
            "relations": [{"name": "born in", "head": "person", "tail": "place, country"}, "near"],
        },
        "test",
    )
    extraction = found(
        ADA, LONDON, relation("Ada", "london", "born in"), relation("London", "Ada", "born in"),
        relation("London", "Ada", "near"), relation("London", "Nobody", "born in"),
    )  # fmt: skip
    assert [one.swapped for one in marked(extraction, schema).relations] == [False, True, False, False]
    assert marked(extraction, schema) == extraction, "a mark makes no other record"
    assert marked(extraction, schema).to_dict()["relations"][1]["swapped"] is True


def test_tokens_probabilities_go_to_the_records_they_say() -> None:
    answer = "person: Ada || Bo\nplace: Paris"
    sure, unsure = math.log(0.9), math.log(0.5)
    tokens = [("person", 0.0), (": ", 0.0), ("Ada", sure), (" || ", 0.0), ("B", sure), ("o", unsure), ("\n", 0.0)]
    tokens += [("place: ", 0.0), ("Paris", sure)]
    result = by_tokens(found(ADA, Entity("Bo", "person"), Entity("elsewhere", "place")), answer, tokens)
    assert told(result)["Ada"] == pytest.approx(0.9, abs=1e-3)
    assert told(result)["Bo"] == pytest.approx(math.sqrt(0.45), abs=1e-3)
    assert 0 < (told(result)["elsewhere"] or 0) < 1
    assert judged(result).confidence is not None
    assert judged(found(ADA)).confidence is None, "one pass without probabilities measures nothing"
    assert told(voted([result, result]))["Ada"] == pytest.approx(0.9, abs=1e-3)


def test_calibration_of_known_pairs() -> None:
    made = calibration([(0.9, True), (0.9, False), (0.15, False), (1.0, True), (0.0, False)])
    assert made.count == 5
    assert [(one.high, one.count) for one in made.bins] == [(0.1, 1), (0.2, 1), (0.9, 2), (1.0, 1)]
    assert made.ece == pytest.approx((0.15 + 2 * abs(0.9 - 0.5)) / 5)
    assert made.brier == pytest.approx((0.01 + 0.81 + 0.0225) / 5)
    assert calibration([]).ece is None


def test_passes_differ_and_the_same_pass_is_the_same() -> None:
    schema = schemas.from_json({"entities": ["a", "b"]}, "test")
    usual = Decoding(beams=4)
    assert FIRST.decoding(usual) == usual
    drawn = Pass(2, 0.7).decoding(usual)
    assert (drawn.temperature, drawn.beams, drawn.seed) == (0.7, 1, 2)
    orders = [[one.name for one in shuffled("ner", schema, seed).entities] for seed in (1, 2, 3)]
    assert all(order == ["b", "a"] for order in orders), "never as it was, where there is another order"
    assert shuffled("ner", schema, 4) == shuffled("ner", schema, 4)
