"""Scores against figures worked out by hand, and what must hold of any scores."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.extract import resample
from core.extract.score import Scores, compare, figure, score
from core.records import Argument, Entity, Event, Extraction, Relation, Span

TEXT = "Ann Lee met Bo in Rome, and Bo left Rome."


def span(words: str, nth: int = 0) -> Span:
    """The nth occurrence of the words in TEXT; without a place where it has none."""
    at = -1
    for _ in range(nth + 1):
        at = TEXT.find(words, at + 1)
    return Span(words) if at < 0 else Span(words, at, at + len(words))


def entity(kind: str, words: str, nth: int = 0) -> Entity:
    made = span(words, nth)
    return Entity(words, kind, made.start, made.end)


def argument(role: str, words: str, nth: int = 0) -> Argument:
    made = span(words, nth)
    return Argument(role, words, made.start, made.end)


def ner(*entities: Entity, id: str = "1") -> Extraction:
    return Extraction(id, TEXT, entities=entities)


def counts(made: Scores) -> tuple[int, int, int]:
    return made.total.gold, made.total.predicted, made.total.correct


def test_strict_entities_need_type_and_place() -> None:
    gold = ner(entity("person", "Ann Lee"), entity("person", "Bo"), entity("place", "Rome"), entity("place", "Rome", 1))
    pred = ner(
        entity("person", "Ann Lee"),
        entity("person", "Ann"),  # wrong boundary
        entity("place", "Bo"),  # wrong type
        entity("place", "Rome", 1),
        entity("place", "Rome", 1),  # said twice
        Entity("Paris", "place"),  # not in the text
    )
    made = score([gold], [pred], "ner")
    assert counts(made) == (4, 5, 2)
    assert (made.total.precision, made.total.recall) == (0.4, 0.5)
    assert made.total.f1 == pytest.approx(4 / 9)
    assert made.unlocated == (0, 1)
    assert {name: (one.gold, one.predicted, one.correct) for name, one in made.types.items()} == {
        "person": (2, 2, 1),
        "place": (2, 3, 1),
    }


def test_what_has_no_place_never_matches_under_strict_but_does_under_iepile() -> None:
    row = ner(Entity("Paris", "place"))
    assert counts(score([row], [row], "ner")) == (1, 1, 0)
    assert counts(score([row], [row], "ner", "iepile")) == (1, 1, 1)


def test_strict_relations_need_both_places_and_their_direction() -> None:
    gold = Extraction("1", TEXT, relations=(Relation(span("Ann Lee"), "met", span("Bo")),))
    for head, kind, tail, right in [
        (span("Ann Lee"), "met", span("Bo"), 1),
        (span("Ann Lee"), "met", span("Bo", 1), 0),
        (span("Bo"), "met", span("Ann Lee"), 0),
        (span("Ann Lee"), "left", span("Bo"), 0),
    ]:
        pred = Extraction("1", TEXT, relations=(Relation(head, kind, tail),))
        assert counts(score([gold], [pred], "re")) == (1, 1, right)


def meeting(trigger: Span, *arguments: Argument, kind: str = "meeting") -> Extraction:
    return Extraction("1", TEXT, events=(Event(kind, trigger, arguments),))


GOLD_MEETING = meeting(span("met"), argument("who", "Ann Lee"), argument("who", "Bo"), argument("where", "Rome"))


def test_strict_arguments_need_their_trigger() -> None:
    wrong = meeting(span("left"), argument("who", "Ann Lee"), argument("who", "Bo"), argument("where", "Rome"))
    assert counts(score([GOLD_MEETING], [wrong], "ee")) == (4, 4, 0)
    credited = score([GOLD_MEETING], [wrong], "ee", "iepile")
    assert counts(credited) == (4, 4, 3), "the published rules credit arguments of a wrong trigger"
    assert credited.slots["trigger"].correct == 0


def test_the_score_of_events_is_over_triggers_and_arguments_together() -> None:
    pred = meeting(span("met"), argument("who", "Ann Lee"), argument("where", "Bo"), argument("where", "Rome", 1))
    made = score([GOLD_MEETING], [pred], "ee")
    trigger, arguments = made.slots["trigger"], made.slots["argument"]
    assert (trigger.gold, trigger.predicted, trigger.correct) == (1, 1, 1)
    assert (arguments.gold, arguments.predicted, arguments.correct) == (3, 3, 1)
    assert made.total.f1 == pytest.approx(2 * 2 / (4 + 4))
    assert counts(score([GOLD_MEETING], [pred], "ee", "iepile")) == (4, 4, 3), "either Rome is Rome"


def test_iepile_counts_words_as_often_as_gold_says_them() -> None:
    gold = ner(entity("place", "Rome"), entity("place", "Rome", 1))
    thrice = ner(*[Entity("Rome", "place")] * 3)
    assert counts(score([gold], [thrice], "ner", "iepile")) == (2, 3, 2)


def test_iepile_puts_the_parts_of_one_row_together() -> None:
    people, places = ner(entity("person", "Bo")), ner(entity("place", "Rome"))
    whole = ner(entity("person", "Bo"), entity("place", "Rome"))
    made = score([whole], [people, places], "ner", "iepile")
    assert (counts(made), made.documents) == ((2, 2, 2), 1)
    with pytest.raises(UserError, match="The id 1 occurs twice in the predictions"):
        score([whole], [people, places], "ner", "strict")


def test_iepile_counts_a_gold_that_each_part_repeats_once() -> None:
    people, places = ner(entity("person", "Bo")), ner(entity("place", "Rome"))
    whole = ner(entity("person", "Bo"), entity("place", "Rome"))
    assert counts(score([whole, whole], [people, places], "ner", "iepile")) == (2, 2, 2)
    with pytest.raises(UserError, match="The id 1 occurs twice in the gold"):
        score([people, places], [people, places], "ner", "iepile")


def test_iepile_keeps_rows_apart_that_have_the_same_text_and_no_id() -> None:
    rows = [ner(entity("person", "Bo"), id=""), ner(entity("place", "Rome"), id="")]
    made = score(rows, rows, "ner", "iepile")
    assert (counts(made), made.documents) == ((2, 2, 2), 2)


def test_iepile_puts_parts_together_also_where_gold_has_no_ids() -> None:
    whole = ner(entity("person", "Bo"), entity("place", "Rome"), id="")
    parts = [ner(entity("person", "Bo")), ner(entity("place", "Rome"))]
    assert counts(score([whole], parts, "ner", "iepile")) == (2, 2, 2)


def published(gold: Extraction, pred: Extraction) -> tuple[int, int, int]:
    """formats.md's rules once more, naively: each predicted (text, type) strikes one out of gold's list."""
    left = [(one.text, one.type) for one in gold.entities]
    right = 0
    for one in pred.entities:
        if (one.text, one.type) in left:
            left.remove((one.text, one.type))
            right += 1
    return len(gold.entities), len(pred.entities), right


WORDS = ("Ann Lee", "Ann", "Bo", "Rome", "met", "Paris")
entities = st.builds(entity, st.sampled_from(("person", "place", "thing")), st.sampled_from(WORDS), st.integers(0, 1))
spans = st.builds(span, st.sampled_from(WORDS), st.integers(0, 1))
relations = st.builds(Relation, spans, st.sampled_from(("met", "left")), spans)
arguments = st.builds(argument, st.sampled_from(("who", "where")), st.sampled_from(WORDS), st.integers(0, 1))
events = st.builds(Event, st.sampled_from(("meeting", "going")), spans, st.lists(arguments, max_size=3).map(tuple))
rows = st.builds(
    lambda entities, relations, events: Extraction("", TEXT, entities, relations, events),
    *(st.lists(kind, max_size=4).map(tuple) for kind in (entities, relations, events)),
)
files = st.lists(st.tuples(rows, rows), min_size=1, max_size=5).map(
    lambda pairs: [tuple(replace(row, id=f"{number}") for row in pair) for number, pair in enumerate(pairs)]
)
tasks = st.sampled_from(("ner", "re", "ee"))
rules = st.sampled_from(("strict", "iepile"))


@settings(deadline=None)
@given(rows, rows)
def test_iepile_is_the_published_count(gold: Extraction, pred: Extraction) -> None:
    assert counts(score([gold], [pred], "ner", "iepile")) == published(gold, pred)


def located(row: Extraction) -> Extraction:
    """Only what has its place."""
    return replace(
        row,
        entities=tuple(one for one in row.entities if one.located),
        relations=tuple(one for one in row.relations if one.head.located and one.tail.located),
        events=tuple(
            replace(one, arguments=tuple(part for part in one.arguments if part.start is not None))
            for one in row.events
            if one.trigger.located
        ),
    )


@settings(deadline=None)
@given(files, tasks, rules)
def test_gold_against_itself_is_perfect(pairs, task, rules) -> None:
    gold = [located(one) for one, _ in pairs]
    made = score(gold, gold, task, rules)
    perfect = 1.0 if made.total.gold else 0.0
    for one in (made.total, *made.types.values()):
        assert one.precision == one.recall == one.f1 == one.f1_interval[0] == one.f1_interval[1] == perfect
    assert compare(gold, gold, gold, task, rules).verdict == "cannot tell"


@settings(deadline=None)
@given(files, tasks, rules, st.randoms())
def test_the_order_of_rows_and_records_does_not_matter(pairs, task, rules, order: random.Random) -> None:
    gold, pred = ([pair[side] for pair in pairs] for side in (0, 1))
    assert score(shuffled(gold, order), shuffled(pred, order), task, rules) == score(gold, pred, task, rules)


def shuffled(rows: Iterable[Extraction], order: random.Random) -> list[Extraction]:
    def mix(records: tuple) -> tuple:
        return tuple(order.sample(records, len(records)))

    made = [
        replace(row, entities=mix(row.entities), relations=mix(row.relations), events=mix(row.events)) for row in rows
    ]
    order.shuffle(made)
    return made


@settings(deadline=None)
@given(files, tasks, rules)
def test_swapping_gold_and_prediction_swaps_precision_and_recall(pairs, task, rules) -> None:
    gold, pred = ([pair[side] for pair in pairs] for side in (0, 1))
    there, back = score(gold, pred, task, rules).total, score(pred, gold, task, rules).total
    assert (there.precision, there.recall, there.f1) == (back.recall, back.precision, back.f1)
    assert 0 <= there.correct <= min(there.gold, there.predicted)


def test_the_interval_is_that_of_drawing_documents_one_by_one() -> None:
    random.seed(5)
    documents = [(gold := random.randint(0, 4), random.randint(2, 5), min(gold, random.randint(0, 2)))
                 for _ in range(300)]  # fmt: skip
    tally: dict[tuple[int, int, int], int] = {}
    for one in documents:
        tally[one] = tally.get(one, 0) + 1
    made = figure(resample.Counter(tally))

    table, draw = np.array(documents), np.random.default_rng(0)
    drawn = [table[draw.integers(0, len(table), len(table))].sum(axis=0) for _ in range(4000)]
    naive = np.percentile([2 * right / (gold + said) for gold, said, right in drawn], (2.5, 97.5))
    assert made.f1_interval == pytest.approx(naive, abs=0.005)
    assert made.f1_interval[0] < made.f1 < made.f1_interval[1]


def test_types_restrict_both_sides() -> None:
    gold = ner(entity("person", "Bo"), entity("place", "Rome"))
    pred = ner(entity("person", "Bo"), entity("place", "Bo"))
    made = score([gold], [pred], "ner", types={"person"})
    assert (counts(made), made.ignored) == ((1, 1, 1), ("place",))


def test_a_failed_row_counts_as_nothing_found() -> None:
    gold = ner(entity("person", "Bo"))
    failed = Extraction("1", TEXT, error={"problem": "No.", "remedy": "No.", "values": {}})
    made = score([gold], [failed], "ner")
    assert (counts(made), made.failed) == ((1, 0, 0), 1)


def many(right: float, seed: int, number: int = 200) -> tuple[list[Extraction], list[Extraction]]:
    """Gold of one person a row, and predictions that find that share of them."""
    draw = random.Random(seed)
    gold = [ner(entity("person", "Bo"), id=str(row)) for row in range(number)]
    found = [entity("person", "Bo") if draw.random() < right else entity("person", "Ann") for _ in range(number)]
    return gold, [ner(one, id=str(row)) for row, one in enumerate(found)]


def test_a_clear_gain_is_better_and_its_loss_worse() -> None:
    (gold, before), (_, after) = many(0.4, 1), many(0.8, 2)
    gain, loss = compare(gold, before, after, "ner"), compare(gold, after, before, "ner")
    assert (gain.verdict, loss.verdict) == ("better", "worse")
    assert gain.interval[0] > 0.2
    assert gain.difference == pytest.approx(-loss.difference) == pytest.approx(gain.after - gain.before)
    assert gain.before == score(gold, before, "ner").total.f1


def test_a_gain_within_chance_cannot_be_told() -> None:
    (gold, before), (_, after) = many(0.50, 1, 60), many(0.52, 2, 60)
    made = compare(gold, before, after, "ner")
    assert made.verdict == "cannot tell"
    assert made.interval[0] < 0 < made.interval[1]


def test_pairing_tells_what_separate_intervals_could_not() -> None:
    gold, before = many(0.5, 1)
    fixed = [row for row in range(200) if before[row].entities[0].text == "Ann"][:12]
    after = [gold[row] if row in fixed else before[row] for row in range(200)]
    assert compare(gold, before, after, "ner").verdict == "better"
    old, new = score(gold, before, "ner").total, score(gold, after, "ner").total
    assert old.f1_interval[1] > new.f1_interval[0], "the two intervals overlap"


@pytest.mark.parametrize(("start", "end"), [(12, 15), (-1, 1), (12, None), (400, 402), (14, 14), (None, 14)])
def test_offsets_that_do_not_cut_out_the_words_are_refused(start: int, end: int) -> None:
    with pytest.raises(UserError, match="don't fit the text of the row 1"):
        score([ner()], [ner(Entity("Bo", "person", start, end))], "ner")


def test_nothing_to_score_is_said() -> None:
    with pytest.raises(UserError, match="no rows to score"):
        score([], [], "ner")
    with pytest.raises(UserError, match="no rows to score"):
        compare([], [], [], "ner")
