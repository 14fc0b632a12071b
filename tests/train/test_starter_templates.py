"""Generated training sentences: every template reads, offsets are right, nothing kept out is ever trained."""

from __future__ import annotations

import json
import random
import re
import time
from itertools import islice
from pathlib import Path

import pytest

from train.starter import templates
from train.starter.check import clashes, missing
from train.starter.names import Names, kinds, names, side
from train.starter.templates import (
    TemplateError,
    World,
    fill,
    load_templates,
    load_world,
    parse,
    rows,
)
from train.starter.templates import starts_with_a_vowel as vowel

PROJECT = Path(__file__).resolve().parents[2]
# Worlds that stand for the ready-made schemas, whose wordings come first there.
SCHEMAS = {
    "people": "people-and-organisations-en",
    "news": "general-news-en",
    "finance": "finance-en",
    "science": "science-en",
}
WORLD = World(
    "small",
    {"person": [["person", ""]], "place": [["place", ""]]},
    {"born in": [["born in", ""]]},
    {"birth": templates.EventType([["birth", ""]], {"who": [["who", ""]], "where": [["where", ""]]})},
    {"person": ["person"], "city": ["place"], "river": ["place"], "company": []},
)
worlds = pytest.mark.parametrize("world", templates.worlds())


def one(line: str, seed: int = 0) -> templates.Row:
    return fill(parse(line, WORLD), "train", random.Random(seed))[0]


@worlds
def test_every_type_of_a_world_is_trained(world: str) -> None:
    assert missing(world) == []


@worlds
def test_what_is_found_stands_where_its_offsets_say(world: str) -> None:
    for split in ("train", "kept_out"):
        for row in islice(rows(world, split, random.Random(1), join=0.3), 400):
            spans = [*row.entities, *(span for r in row.relations for span in (r.head, r.tail))]
            spans += [span for event in row.events for span in (event.trigger, *event.arguments)]
            for span in spans:
                assert row.text[span.start : span.end] == span.text
                assert span.text == span.text.strip() != ""


@pytest.mark.parametrize("world", SCHEMAS)
def test_sentences_are_set_as_a_person_sets_them(world: str) -> None:
    for split in ("train", "kept_out"):
        for row in islice(rows(world, split, random.Random(1), join=0.3), 400):
            assert not re.search(
                r"  | ,|\.\.|[{}\[\]]|\bthe the\b|\ban? the\b|\ba [aeiou]\w+ist\b", row.text, re.IGNORECASE
            )


@worlds
def test_no_trigger_that_is_kept_out_is_trained_in_any_world(world: str) -> None:
    assert clashes(world) == []


@pytest.mark.parametrize("world", SCHEMAS)
def test_the_ready_made_schemas_are_the_first_wordings(world: str) -> None:
    schema = json.loads((PROJECT / "assets" / "schemas" / f"{SCHEMAS[world]}.json").read_text(encoding="utf-8"))
    ours = load_world(world)
    for ready, mine in ((schema["entities"], ours.entities), (schema["relations"], ours.relations)):
        assert [[x["name"], x["description"]] for x in ready] == [wordings[0] for wordings in mine.values()]
    assert [[x["name"], x["description"]] for x in schema["events"]] == [e.wordings[0] for e in ours.events.values()]
    for event, mine in zip(schema["events"], ours.events.values(), strict=True):
        assert [role["name"] for role in event["roles"]] == [wordings[0][0] for wordings in mine.roles.values()]


@pytest.mark.parametrize("world", SCHEMAS)
def test_there_is_enough_to_train_and_to_judge_by(world: str) -> None:
    found = load_templates(world)
    assert sum(not template.kept_out for template in found) >= 150
    assert sum(template.kept_out for template in found) >= 25


def test_the_demo_sentences_and_their_names_are_never_generated() -> None:
    demo = {"Curie", "Lovelace", "Babbage", "Turing", "Mandela", "Kamprad", "Kahlo", "Maathai", "Morita", "Ibuka"}
    demo |= {"Mistral", "Nadella", "Lindgren", "Ramanujan", "Ardern", "Vicuña", "Mvezo", "Coyoacán", "Bletchley"}
    for world in SCHEMAS:
        for row in islice(rows(world, "train", random.Random(2)), 1000):
            assert not demo & set(row.text.replace(",", " ").replace(".", " ").split())


@pytest.mark.parametrize("kind", ["first_name", "surname", "city", "country", "company", "occupation", "acronym"])
def test_kept_out_names_share_nothing_with_training_names(kind: str) -> None:
    rng = random.Random(3)
    trained = {names("train").fill(kind, rng) for _ in range(3000)}
    held = {names("kept_out").fill(kind, rng) for _ in range(3000)}
    assert not trained & held
    if kind in ("first_name", "acronym", "country", "occupation"):
        assert {side(name) for name in held if " " not in name} == {"kept_out"}


def test_parts_of_a_kept_out_persons_name_are_kept_out_too() -> None:
    rng, lists = random.Random(4), ("_first", "_last_list")
    trained = {line for name in lists for line in Names("train").read(name)[0]}
    for _ in range(2000):
        assert not trained & set(names("kept_out").fill("person", rng).replace("-", " ").split())


def test_there_are_many_names() -> None:
    assert len(names("train").read("_first")[0]) > 300
    assert len(names("train").read("_last_list")[0]) > 450
    assert len(names("train").read("_city_list")[0]) > 350
    assert len(names("train").read("country")[0]) > 150
    rng = random.Random(5)
    assert len({names("train").fill("person", rng) for _ in range(2000)}) > 1900
    assert len({names("train").fill("company", rng) for _ in range(2000)}) > 1200


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_every_kind_has_names_on_both_sides(kind: str) -> None:
    for split in ("train", "kept_out"):
        assert names(split).fill(kind, random.Random(6)).strip()


def test_a_template_becomes_a_row_with_its_records() -> None:
    row = one("{person P} was [t born] in {city C}. || birth: t who=P where=C ; born in: P > C")
    person, place = row.entities
    assert (person.type, place.type) == ("person", "place")
    assert row.text == f"{person.text} was born in {place.text}."
    assert [(r.head.text, r.relation, r.tail.text) for r in row.relations] == [(person.text, "born in", place.text)]
    event = row.events[0]
    assert (event.type, event.trigger.text) == ("birth", "born")
    assert [(a.role, a.start) for a in event.arguments] == [("who", person.start), ("where", place.start)]


def test_alternatives_triggers_and_plain_parentheses() -> None:
    seen = {one("She (was|has been|) [t seen|met] (in 1990). || birth: t", seed).text for seed in range(40)}
    assert seen == {f"She {a}{b} (in 1990)." for a in ("was ", "has been ", "") for b in ("seen", "met")}


def test_an_article_fits_the_name_and_stays_outside_the_span() -> None:
    for seed in range(60):
        row = one("They crossed the {river R} near a {~company C}.", seed)
        assert not row.entities[0].text.startswith("the ") and "the the" not in row.text
    assert [vowel(word) for word in ("engineer", "MRI scan", "UN envoy", "hour", "8%")] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert [vowel(word) for word in ("university", "European", "one-act play", "banker")] == [False] * 4


def test_a_tilde_slot_is_no_entity_but_can_be_named() -> None:
    row = one("A {~company C} and {city D} [t met]. || birth: t who=C where=D")
    assert [entity.type for entity in row.entities] == ["place"]
    assert row.events[0].arguments[0].text in row.text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{person P", "never closed"),
        ("[t born", "never closed"),
        ("(a|b", "never closed"),
        ("a|b", "stray"),
        ("a) b", "stray"),
        ("{dragon P}", "unknown kind"),
        ("{song S}", "no entity type"),
        ("{person P} {person P}", "bound twice"),
        ("{person P} || birth: t who=P", "unknown name"),
        ("{person P} [t born] || birth: t when=P", 'no role "when"'),
        ("{person P} [t born] || death: t who=P", "unknown event"),
        ("{person P} {city C} || lives in: P > C", "unknown relation"),
        ("({person P}|she) left {city C} || born in: P > C", "stands in an alternative"),
        ("[t a {city C}]", "nested"),
        ("{person P} || birth", "no colon"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(line, WORLD)


def test_a_wrong_line_in_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worlds").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "worlds" / "bad.json").write_text('{"entities": {"p": [["p", ""]]}, "kinds": {"person": ["p"]}}')
    (tmp_path / "templates" / "bad.txt").write_text("# fine\n{person} left.\n{person came.\n")
    monkeypatch.setattr(templates, "HERE", tmp_path)
    with pytest.raises(TemplateError, match=r"bad\.txt:3: .* never closed"):
        load_templates("bad")
    load_templates.cache_clear()
    load_world.cache_clear()


def test_the_same_seed_gives_the_same_rows_and_splits_use_other_templates() -> None:
    first, again = (list(islice(rows("people", "train", random.Random(7), join=0.2), 50)) for _ in range(2))
    assert first == again
    held = {template.line for template in load_templates("people") if template.kept_out}
    assert held and held.isdisjoint(template.line for template in load_templates("people") if not template.kept_out)


def test_joined_sentences_keep_their_records() -> None:
    joined = list(islice(rows("people", "train", random.Random(8), join=1.0), 200))
    assert all(row.text.count(". ") >= 1 or ": " in row.text for row in joined)
    assert any(len(row.events) > 1 for row in joined)
    repeated = [row for row in joined if len({e.text for e in row.entities}) < len(row.entities)]
    assert 20 < len(repeated) < 180


def test_rows_are_made_fast() -> None:
    load_templates("people")
    start = time.process_time()
    list(islice(rows("people", "train", random.Random(9)), 3000))
    assert time.process_time() - start < 1.0
