"""Deciding on a run's records: each step kept with who, when and why, undone and done again, and never twice."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract.review import queue, units
from core.extract.review.book import Book
from core.extract.review.decide import Action, apply
from core.extract.review.queue import Filter
from core.records import Extraction, Relation
from tests.core.review_runs import SCHEMA, TEXT, document, span, write_run


@pytest.fixture
def book(tmp_path: Path) -> Book:
    made = Book(write_run(tmp_path / "run", [document()]))
    made.refresh_all(SCHEMA)
    return made


def unit(book: Book, words: str) -> dict:
    """The sentence with these words, as it is shown."""
    everything = queue.read(book, list(queue.ids(book, Filter(state="all", order="file"))))
    return next(one for one in everything if words in one["text"])


def record(book: Book, words: str, kind: str) -> dict:
    return next(one for one in unit(book, words)["records"] if one["kind"] == kind)


def do(book: Book, op: str, at: dict, what: dict | None = None, who: str = "Li", **more: object) -> Action:
    """A step that must be taken."""
    name = what["name"] if what else ""
    action = Action.model_validate({"op": op, "unit": at["id"], "record": name, **more})
    outcome = apply(book, [action], who)
    assert outcome.done == [action.id], outcome.refused
    return action


def states(book: Book) -> dict[str, str]:
    return dict(book.read("SELECT name, state FROM records"))


def test_a_unit_is_a_sentence_with_its_records_and_the_units_are_the_text() -> None:
    made = units.cut(document())
    assert [one.text.strip() for one in made] == ["😀 Ada was born in London.", "Nothing here.", "Bob works in Ulm."]
    assert "".join(one.text for one in made) == TEXT
    assert [len(one.records) for one in made] == [3, 0, 4]


def test_sentences_that_a_record_connects_are_one_unit() -> None:
    far = Relation(span(TEXT, "Ada"), "knows", span(TEXT, "Bob"))
    (only,) = units.cut(replace(document(), relations=(far,)))
    assert only.text == TEXT


def test_what_no_sentence_holds_and_what_is_only_white_space() -> None:
    assert units.cut(Extraction("a", " \n\n ")) == []
    made = units.cut(Extraction("a", "\n\nOne.\n\n\n\nTwo.\n\n"))
    assert [one.text.strip() for one in made] == ["One.", "Two."]
    assert "".join(one.text for one in made) == "\n\nOne.\n\n\n\nTwo.\n\n"


def test_what_nothing_speaks_for_comes_first_then_the_least_sure_and_bare_sentences_last(book: Book) -> None:
    text = "Eve was born in Rome."
    eve = Relation(span(text, "Eve"), "born in", span(text, "Rome"))
    unsure = Extraction("b", text, relations=(eve,), provenance={"row": 1})
    folder = write_run(book.folder.parent / "other", [document(), unsure])
    other = Book(folder)
    other.refresh_all()
    shown = [one["text"].strip() for one in queue.read(other, list(queue.ids(other, Filter())))]
    assert shown == ["Eve was born in Rome.", "😀 Ada was born in London.", "Bob works in Ulm.", "Nothing here."]


def test_filters_by_type_row_model_and_bareness(tmp_path: Path) -> None:
    book = Book(write_run(tmp_path / "run", [document(model="one"), document("b", row=1, model="two")]))
    book.refresh_all()
    assert len(queue.ids(book, Filter(types=("born in",)))) == 2
    assert len(queue.ids(book, Filter(types=("born in",), models=("two",)))) == 1
    assert len(queue.ids(book, Filter(rows=((1, 1),)))) == 3
    assert len(queue.ids(book, Filter(bare=False))) == 4
    assert queue.models(book) == ["one", "two"]


def test_a_sentence_is_reviewed_only_when_a_person_says_that_it_is_whole(book: Book) -> None:
    ada = unit(book, "Ada")
    for one in ada["records"]:
        do(book, "accept", ada, one)
    assert queue.counts(book).reviewed == 0
    assert list(queue.ids(book, Filter(state="decided"))) == [ada["id"]]
    do(book, "whole", ada)
    assert list(queue.ids(book, Filter(state="reviewed"))) == [ada["id"]]
    assert ada["id"] not in queue.ids(book, Filter(state="todo"))


def test_a_sentence_with_open_records_is_not_whole_unless_all_left_are_accepted(book: Book) -> None:
    bob = unit(book, "Bob")
    refused = apply(book, [Action(op="whole", unit=bob["id"])], "Li").refused
    assert "4 records" in str(*refused.values())
    do(book, "whole", bob, state="accepted")
    assert {one["state"] for one in unit(book, "Bob")["records"]} == {"accepted"}


def test_edits_of_span_type_and_direction_keep_what_the_model_said(book: Book) -> None:
    bob = unit(book, "Bob")
    relation = record(book, "Bob", "relation")
    do(book, "swap", bob, relation, why="Bob is the one who works")
    do(book, "type", bob, relation, type="born in")
    do(book, "span", bob, relation, part="tail", start=4, end=16)
    now = record(book, "Bob", "relation")
    assert (now["value"]["head"]["text"], now["value"]["relation"], now["value"]["tail"]["text"]) == (
        "Bob",
        "born in",
        "works in Ulm",
    )
    assert now["state"] == "accepted"
    assert now["edited"]
    start = bob["start"]
    (value,) = book.read("SELECT value FROM records WHERE name = ?", [relation["name"]])
    tail = json.loads(value[0])["tail"]
    assert TEXT[tail["start"] : tail["end"]] == tail["text"]
    assert (tail["start"], tail["end"]) == (start + 4, start + 16)
    (origin,) = book.read("SELECT origin FROM records WHERE name = ?", [relation["name"]])
    assert json.loads(origin[0])["head"]["text"] == "Ulm"
    assert [step.op for step in queue.history(book)] == ["span", "type", "swap"]
    assert queue.history(book)[-1].why == "Bob is the one who works"
    assert queue.history(book)[-1].who == "Li"


def test_an_events_arguments_are_added_named_moved_and_taken_out(book: Book) -> None:
    bob = unit(book, "Bob")
    event = record(book, "Bob", "event")
    do(book, "argument", bob, event, type="goal", start=13, end=16)
    do(book, "role", bob, event, part="argument:1", type="who")
    do(book, "span", bob, event, part="argument:1", start=10, end=16)
    told = record(book, "Bob", "event")["value"]["arguments"]
    assert [(one["role"], one["text"]) for one in told] == [("who", "Bob"), ("who", "in Ulm")]
    do(book, "drop", bob, event, part="argument:0")
    assert [one["text"] for one in record(book, "Bob", "event")["value"]["arguments"]] == ["in Ulm"]


def test_records_are_added_with_offsets_behind_an_emoji(book: Book) -> None:
    ada = unit(book, "Ada")
    do(book, "add", ada, kind="entity", type="person", start=2, end=5)
    do(book, "add", ada, kind="relation", type="works in", start=2, end=5, tail=(18, 24))
    do(book, "add", ada, kind="event", type="move", start=6, end=9)
    added = [one for one in unit(book, "Ada")["records"] if one["added"]]
    assert [one["kind"] for one in added] == ["entity", "relation", "event"]
    assert added[0]["value"]["text"] == "Ada"
    assert added[1]["value"]["tail"]["text"] == "London"
    assert queue.counts(book).records == 7  # what the model said


def test_every_step_can_be_undone_and_done_again(book: Book) -> None:
    bob = unit(book, "Bob")
    before = unit(book, "Bob")
    relation, event = record(book, "Bob", "relation"), record(book, "Bob", "event")
    steps = [
        do(book, "swap", bob, relation),
        do(book, "reject", bob, event),
        do(book, "argument", bob, event, type="goal", start=13, end=16),
        do(book, "add", bob, kind="entity", type="place", start=13, end=16),
        do(book, "whole", bob, state="accepted"),
    ]
    after = unit(book, "Bob")
    for step in reversed(steps):
        do(book, "undo", bob, of=step.id)
    assert [plain(one) for one in unit(book, "Bob")["records"]] == [plain(one) for one in before["records"]]
    for _ in steps:
        do(book, "redo", bob)
    assert [plain(one) for one in unit(book, "Bob")["records"]] == [plain(one) for one in after["records"]]
    assert unit(book, "Bob")["whole"]


def plain(one: dict) -> tuple:
    return one["name"], one["state"], json.dumps(one["value"])


def test_an_earlier_step_is_undone_where_nothing_later_stands_on_it(book: Book) -> None:
    bob = unit(book, "Bob")
    relation, event = record(book, "Bob", "relation"), record(book, "Bob", "event")
    first = do(book, "accept", bob, event)
    again = do(book, "accept", bob, relation)
    do(book, "reject", bob, relation)
    do(book, "undo", bob, of=first.id)
    assert record(book, "Bob", "event")["state"] == "pending"
    refused = apply(book, [Action(op="undo", of=again.id)], "Li").refused
    assert "changed again since" in str(*refused.values())
    assert record(book, "Bob", "relation")["state"] == "rejected"


def test_undo_without_a_name_takes_ones_own_last_step(book: Book) -> None:
    bob = unit(book, "Bob")
    relation, event = record(book, "Bob", "relation"), record(book, "Bob", "event")
    do(book, "accept", bob, event, who="Li")
    do(book, "accept", bob, relation, who="Wang")
    outcome = apply(book, [Action(op="undo")], "Li")
    assert outcome.units == {bob["id"]}
    assert (record(book, "Bob", "event")["state"], record(book, "Bob", "relation")["state"]) == ("pending", "accepted")
    assert "nothing to undo" in str(*apply(book, [Action(op="undo")], "Li").refused.values())


def test_identical_triples_are_decided_in_one_step_and_undone_in_one(tmp_path: Path) -> None:
    book = Book(write_run(tmp_path / "run", [document(str(row), row=row) for row in range(5)]))
    book.refresh_all()
    ada = unit(book, "Ada")
    triple = record(book, "Ada", "relation")
    assert triple["twins"] == (5, 5)
    single = next(one for one in states(book) if one == "3:relation:0")
    apply(book, [Action(op="reject", unit=10, record=single)], "Li")
    step = do(book, "group", ada, triple, state="accepted")
    told = states(book)
    assert [told[f"{row}:relation:0"] for row in range(5)] == ["accepted"] * 3 + ["rejected", "accepted"]
    assert queue.history(book)[0].records == 4
    do(book, "undo", ada, of=step.id)
    assert [states(book)[f"{row}:relation:0"] for row in range(5)] == ["pending"] * 3 + ["rejected", "pending"]


def test_a_step_that_comes_twice_is_taken_once_and_a_bad_one_hinders_no_other(book: Book) -> None:
    bob, event = unit(book, "Bob"), record(book, "Bob", "event")
    good = Action(op="accept", unit=bob["id"], record=event["name"])
    outside = Action(op="span", unit=bob["id"], record=event["name"], part="trigger", start=3, end=900)
    outcome = apply(book, [good, outside, {"op": 7, "id": "x"}, {"op": "fly", "id": "y"}, good], "Li")
    assert outcome.done == [good.id, good.id]
    assert set(outcome.refused) == {outside.id, "x", "y"}
    assert len(queue.history(book)) == 1


def test_two_windows_decide_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    book = Book(write_run(tmp_path / "run", [document(str(row), row=row) for row in range(20)]))
    book.refresh_all()
    names = [name for (name,) in book.read("SELECT name FROM records ORDER BY name")]

    def window(mine: list[str]) -> None:
        for name in mine:
            assert apply(Book(book.folder), [Action(op="accept", record=name)], "Li").done

    threads = [threading.Thread(target=window, args=(names[part::3],)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(states(book).values()) == {"accepted"}
    assert len(book.read("SELECT 1 FROM events")) == len(names) == 140


def test_a_running_batch_adds_sentences_and_never_touches_what_was_decided(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [document()])
    book = Book(folder)
    book.refresh_all(SCHEMA)
    do(book, "accept", unit(book, "Ada"), record(book, "Ada", "relation"))
    changed = replace(document(), relations=(), provenance={"row": 0})
    write_run(folder, [changed, document("b", "Ada was born in London. Bob works in Ulm.", 1)])
    assert book.behind
    book.refresh_all(SCHEMA)
    assert not book.behind
    assert record(book, "Ada", "relation")["state"] == "accepted"
    assert {one["document"] for one in queue.read(book, list(queue.ids(book, Filter(state="all"))))} == {"a", "b"}
    assert book.schema() == SCHEMA
    assert book.tasks() == ("ner", "re", "ee")


def test_a_failed_row_has_nothing_to_review(tmp_path: Path) -> None:
    book = Book(write_run(tmp_path / "run", [replace(document(), error={"problem": "x", "remedy": "y"})]))
    book.refresh_all()
    assert queue.counts(book).units == 0


def test_a_folder_without_a_run_and_a_review_of_a_newer_version_say_so(book: Book, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no extraction run"):
        Book(tmp_path).refresh_all()
    with pytest.raises(UserError, match="There is no review"):
        Book(tmp_path).meta("x")
    book.set_meta(format=99)
    with pytest.raises(UserError, match="newer version"):
        queue.counts(book)


def test_lone_surrogates_and_control_characters_are_decided_like_all_others(tmp_path: Path) -> None:
    text = "\ud800 Ada\x00 was born in London. Bob works in Ulm."
    book = Book(write_run(tmp_path / "run", [document(text=text)]))
    book.refresh_all()
    ada = unit(book, "Ada")
    do(book, "add", ada, kind="entity", type="person", start=0, end=3)
    assert next(one for one in unit(book, "Ada")["records"] if one["added"])["value"]["text"] == "\ud800 A"
