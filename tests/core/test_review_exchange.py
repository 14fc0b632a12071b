"""What was reviewed goes out as gold, training rows and packages; what a second person said comes in beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import gold, labelstudio
from core.extract import schema as schemas
from core.extract.review import merge, package, queue, splits
from core.extract.review.book import Book
from core.extract.review.commands import (
    ExportRequest,
    ExportResult,
    MergeRequest,
    MergeResult,
    OpenRequest,
    export,
    run_merge,
    run_open,
)
from core.extract.review.decide import Action, apply
from core.extract.review.queue import Filter
from core.extract.review.rows import part_of
from core.operation import Silent
from core.records import Extraction
from core.store import Store
from tests.conftest import PROJECT
from tests.core.review_runs import SCHEMA, TEXT, document, write_run
from train import talks


@pytest.fixture
def run(workspace: Path) -> Path:
    """Three documents of three sentences, with different texts."""
    texts = [TEXT.replace("here", f"here {row}").replace("Ulm", f"Ulm{row}") for row in range(3)]
    folder = workspace / "runs" / "people"
    rows = [document_in(text, row) for row, text in enumerate(texts)]
    write_run(folder, rows)
    Book(folder).refresh_all(SCHEMA)
    return folder


def document_in(text: str, row: int) -> Extraction:
    """The usual document with that text, in which `here` and `Ulm` have got a number."""
    made = document(str(row), TEXT, row).to_dict()
    moved = json.loads(json.dumps(made))
    behind = len(" 0")

    def place(one: dict) -> None:
        if one["text"] == "Ulm":
            one["text"] = f"Ulm{row}"
            one["end"] += 1
        if one["start"] > TEXT.index("here"):
            one["start"] += behind
            one["end"] += behind

    for entity in moved["entities"]:
        place(entity)
    for relation in moved["relations"]:
        place(relation["head"])
        place(relation["tail"])
    for event in moved["events"]:
        place(event["trigger"])
        for argument in event["arguments"]:
            place(argument)
    return Extraction.from_dict(moved | {"text": text})


def units(run: Path) -> list[dict]:
    book = Book(run)
    return queue.read(book, list(queue.ids(book, Filter(state="all", order="file"))))


def whole(run: Path, *numbers: int, who: str = "Li") -> None:
    """Accept everything in these sentences, counted from 0 through the run."""
    made = units(run)
    steps = [Action(op="whole", unit=made[number]["id"], state="accepted") for number in numbers]
    assert not apply(Book(run), steps, who).refused


def one_step(run: Path, sentence: int, record: int, op: str, who: str = "Li", **more: object) -> None:
    unit = units(run)[sentence]
    told = {"op": op, "unit": unit["id"], "record": unit["records"][record]["name"], **more}
    outcome = apply(Book(run), [told], who)
    assert not outcome.refused, outcome.refused


def written(request: ExportRequest) -> ExportResult:
    return export(request, Silent())


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# Rows


def test_only_whole_sentences_are_gold_with_offsets_of_their_own(run: Path, tmp_path: Path) -> None:
    one_step(run, 0, 0, "reject")
    whole(run, 0, 1)
    one_step(run, 2, 0, "accept")  # decided, and not called whole
    made = written(ExportRequest(run=run, what="gold", out=tmp_path / "gold"))
    assert (made.sentences, made.documents, made.split) == (2, 1, "gold")
    rows = list(gold.read(tmp_path / "gold" / "records.jsonl", "ner"))
    assert [row.text for row in rows] == ["😀 Ada was born in London.", "Nothing here 0."]
    assert [entity.text for entity in rows[0].entities] == ["London"]
    for row in rows:
        for relation in row.relations:
            for span in (relation.head, relation.tail):
                assert row.text[span.start : span.end] == span.text
    assert rows[0].provenance["reviewed_by"] == ["Li"]


def test_a_document_that_is_whole_is_gold_under_its_own_id_and_text(run: Path, tmp_path: Path) -> None:
    whole(run, 0, 1, 2, 3)
    written(ExportRequest(run=run, what="gold", out=tmp_path, by="documents"))
    (row,) = gold.read(tmp_path / "records.jsonl", "re")
    (first, *_) = Store(run).results()
    assert (row.id, row.text, row.entities, row.relations, row.events) == (
        first.id,
        first.text,
        first.entities,
        first.relations,
        first.events,
    )


def test_predictions_are_cut_to_a_sentence_of_gold(run: Path) -> None:
    (first, *_) = Store(run).results()
    unit = units(run)[2]
    piece = part_of(first, unit["start"], unit["start"] + len(unit["text"]))
    assert piece.text == "Bob works in Ulm0."
    assert [one.text for one in piece.entities] == ["Bob", "Ulm0"]
    assert piece.text[piece.events[0].trigger.start : piece.events[0].trigger.end] == "works"


def test_training_rows_are_read_by_train_in_both_forms(run: Path, tmp_path: Path) -> None:
    whole(run, 0, 1)
    written(ExportRequest(run=run, what="training", out=tmp_path))
    rows = lines(tmp_path / "iepile.jsonl")
    assert {row["task"] for row in rows} == {"NER", "RE", "EE"}
    answers = {(row["task"], json.loads(row["instruction"])["input"]): json.loads(row["output"]) for row in rows}
    assert answers["NER", "😀 Ada was born in London."] == {"person": ["Ada"], "place": ["London"]}
    assert answers["RE", "Nothing here 0."] == {"born in": [], "works in": []}  # what is absent is learned, too
    told = list(talks.read(tmp_path / "iepile.jsonl"))
    assert len(told) == 6
    assert not [one for one in told if isinstance(one, talks.Refused)]
    schema = schemas.load(tmp_path / "schema.json")
    told = list(talks.read(tmp_path / "records.jsonl", schema=schema))
    assert len(told) == 6
    assert not [one for one in told if isinstance(one, talks.Refused)]


def test_examples_for_prompts_are_those_that_show_most_types(run: Path, tmp_path: Path) -> None:
    whole(run, 0, 1, 2)
    written(ExportRequest(run=run, what="few-shot", out=tmp_path, limit=1))
    made = schemas.load(tmp_path / "schema.json")
    assert [example.text for example in made.examples] == ["Bob works in Ulm0."]
    assert made.examples[0].relations == {"works in": (("Ulm0", "Bob"),)}
    assert made.examples[0].events == {"move": ({"trigger": "works", "who": "Bob"},)}


# Splits


def test_a_text_belongs_to_one_split_for_ever(workspace: Path) -> None:
    one, other = splits.text_hash("One  text.\n"), splits.text_hash("Another.")
    assert splits.text_hash("One text.") == one
    assert splits.assign([one], "gold") == 1
    assert splits.assign([one], "gold") == 0
    with pytest.raises(UserError, match="already belong to “gold”"):
        splits.assign([other, one], "train")
    assert splits.of(one) == "gold"
    assert splits.of(other) is None
    assert splits.counts() == {"gold": 1}


def test_exports_leave_out_what_belongs_to_another_split(run: Path, tmp_path: Path) -> None:
    whole(run, 0, 1, 2, 3, 4, 5)
    first = written(ExportRequest(run=run, what="gold", out=tmp_path / "gold", limit=1))
    assert first.sentences == 1
    made = written(ExportRequest(run=run, what="training", out=tmp_path / "train"))
    assert made.left_out == 4  # the document of the gold sentence, and the same sentence in another document
    assert [row["provenance"]["document"] for row in lines(tmp_path / "train" / "records.jsonl")] == ["1", "1"]
    with pytest.raises(UserError, match="None of the reviewed sentences"):
        written(ExportRequest(run=run, what="few-shot", out=tmp_path / "shots"))
    assert not (tmp_path / "shots").exists()
    seen = splits.saw(run)
    assert (seen.rows, seen.train, seen.few_shot, seen.any) == (3, ("1",), (), True)


def test_a_share_takes_documents_by_their_hash_and_the_rest_goes_elsewhere(workspace: Path, tmp_path: Path) -> None:
    run = workspace / "runs" / "many"
    write_run(run, [Extraction(str(row), f"Sentence {row}.", provenance={"row": row}) for row in range(60)])
    Book(run).refresh_all(SCHEMA)
    whole(run, *range(60))
    first = written(ExportRequest(run=run, what="gold", out=tmp_path / "gold", share=0.3))
    assert 8 <= first.documents <= 30
    again = written(ExportRequest(run=run, what="gold", out=tmp_path / "again", share=0.3))
    assert again.documents == first.documents
    rest = written(ExportRequest(run=run, what="training", out=tmp_path / "train"))
    assert rest.documents == 60 - first.documents


def test_without_a_whole_sentence_there_is_nothing_to_export(run: Path, tmp_path: Path) -> None:
    one_step(run, 0, 0, "accept")
    with pytest.raises(UserError, match="No sentence is reviewed yet"):
        written(ExportRequest(run=run, what="gold", out=tmp_path / "gold"))


# A second reviewer


@pytest.fixture
def theirs(run: Path, tmp_path: Path) -> Path:
    """The same run, blind, in somebody else's Studio."""
    one_step(run, 0, 0, "reject")
    made = written(ExportRequest(run=run, what="package", out=tmp_path / "p.zip", blind=True, who="Li"))
    assert made.sentences == 9
    opened = tmp_path / "theirs"
    assert run_open(OpenRequest(package=tmp_path / "p.zip", out=opened), Silent()).sentences == 9
    return opened


def back(run: Path, theirs: Path, tmp_path: Path, *, fill: bool = True) -> MergeResult:
    sent = tmp_path / "back.zip"
    written(ExportRequest(run=theirs, what="package", out=sent, who="Wang"))
    return run_merge(MergeRequest(run=run, package=sent, fill=fill), Silent())


def test_a_blind_package_tells_what_the_model_said_and_nothing_else(theirs: Path, run: Path) -> None:
    assert {one["state"] for unit in units(theirs) for one in unit["records"]} == {"pending"}
    assert [unit["text"] for unit in units(theirs)] == [unit["text"] for unit in units(run)]
    assert Book(theirs).schema() == SCHEMA
    assert Book(theirs).tasks() == ("ner", "re", "ee")


def test_an_open_package_tells_the_decisions_so_far(run: Path, tmp_path: Path) -> None:
    one_step(run, 0, 0, "reject", why="no person")
    written(ExportRequest(run=run, what="package", out=tmp_path / "p.zip", who="Li"))
    run_open(OpenRequest(package=tmp_path / "p.zip", out=tmp_path / "theirs"), Silent())
    first = units(tmp_path / "theirs")[0]["records"][0]
    assert (first["state"], first["by"], first["why"]) == ("rejected", "Li", "no person")


def test_what_comes_back_overwrites_nothing_and_differences_wait_to_be_settled(
    run: Path, theirs: Path, tmp_path: Path
) -> None:
    whole(run, 0, 2)
    one_step(theirs, 2, 2, "swap", who="Wang")  # a correction of what Li accepted
    unit = units(theirs)[0]
    found = {"op": "add", "unit": unit["id"], "kind": "entity", "type": "person", "start": 0, "end": 1}
    assert not apply(Book(theirs), [found], "Wang").refused
    whole(theirs, 0, 2, 4, who="Wang")
    before = [(one["name"], one["state"], one["value"]) for unit in units(run)[:3] for one in unit["records"]]
    made = back(run, theirs, tmp_path)
    after = [
        (one["name"], one["state"], one["value"])
        for unit in units(run)[:3]
        for one in unit["records"]
        if one["state"] != "proposed"
    ]
    assert after == before
    assert made.disputes == 3  # Ada rejected by Li, the swap, the new one
    assert made.filled == 0  # the fifth sentence is empty: only that it is whole was taken over
    assert units(run)[4]["whole_by"] == "Wang"
    book = Book(run)
    disputed = list(queue.ids(book, Filter(state="disputed", order="file")))
    assert disputed == [units(run)[0]["id"], units(run)[2]["id"]]
    shown = {one["name"]: one for one in units(run)[2]["records"]}
    assert shown["0:relation:1"]["others"][0]["who"] == "Wang"
    assert shown["0:relation:1"]["others"][0]["value"]["head"]["text"] == "Bob"
    one_step(run, 2, 2, "take", of="Wang")
    one_step(run, 0, 0, "reject")  # once more: Li keeps to it
    new = next(one["name"] for one in units(run)[0]["records"] if one["state"] == "proposed")
    assert not apply(book, [{"op": "accept", "unit": units(run)[0]["id"], "record": new}], "Li").refused
    assert queue.counts(book).disputed == 0
    head = next(one for one in units(run)[2]["records"] if one["kind"] == "relation")["value"]["head"]
    assert head["text"] == "Bob"
    apply(book, [Action(op="undo")], "Li")
    assert queue.counts(book).disputed == 1


def test_decisions_fill_what_the_first_left_open_and_that_is_one_step(run: Path, theirs: Path, tmp_path: Path) -> None:
    whole(theirs, *range(9), who="Wang")
    made = back(run, theirs, tmp_path)
    assert made.filled == 20
    assert made.disputes == 1
    assert queue.counts(Book(run)).reviewed == 9
    (step, *_) = queue.history(Book(run))
    assert (step.op, step.who, step.records) == ("merge", "Wang", 20)
    assert not apply(Book(run), [Action(op="undo", of=step.action)], "Li").refused
    assert queue.counts(Book(run)).decided == 1
    assert queue.counts(Book(run)).reviewed == 0


def test_without_filling_only_opinions_are_taken_in(run: Path, theirs: Path, tmp_path: Path) -> None:
    whole(theirs, *range(9), who="Wang")
    made = back(run, theirs, tmp_path, fill=False)
    assert (made.filled, queue.counts(Book(run)).decided) == (0, 1)
    (told,) = made.agreement
    assert (told.who, told.records, told.same, told.kappa) == ("Wang", 1, 0, 0.0)


def test_two_reviewers_of_one_name_are_told_apart_first(run: Path, theirs: Path, tmp_path: Path) -> None:
    whole(theirs, 0, who="Li")
    written(ExportRequest(run=theirs, what="package", out=tmp_path / "back.zip", who="Li"))
    with pytest.raises(UserError, match="Both reviewers are called Li"):
        run_merge(MergeRequest(run=run, package=tmp_path / "back.zip"), Silent())
    made = run_merge(MergeRequest(run=run, package=tmp_path / "back.zip", who="Li B"), Silent())
    assert made.agreement[0].who == "Li B"


def test_agreement_is_cohens_kappa_and_f1_of_spans(run: Path, theirs: Path, tmp_path: Path) -> None:
    for record in range(3):
        one_step(theirs, 0, record, ("accept", "reject", "accept")[record], who="Wang")
    whole(run, 0)  # Ada rejected, London and the triple accepted
    whole(theirs, 0, who="Wang")
    (told,) = back(run, theirs, tmp_path).agreement
    assert (told.records, told.same) == (3, 1)
    assert told.kappa == pytest.approx((1 / 3 - 5 / 9) / (1 - 5 / 9))
    assert told.span_f1 == pytest.approx(2 * 2 / 6)  # both have the triple's two ends, each one entity more


def test_kappa_by_hand() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert merge.kappa(pairs) == pytest.approx(0.4)
    assert merge.kappa([("yes", "yes")] * 3) is None
    assert merge.kappa([]) is None


def test_a_package_of_another_run_and_files_that_are_none_are_refused(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", [document()])
    Book(other).refresh_all(SCHEMA)
    written(ExportRequest(run=other, what="package", out=tmp_path / "o.zip", who="Wang"))
    with pytest.raises(UserError, match="from another run"):
        run_merge(MergeRequest(run=run, package=tmp_path / "o.zip"), Silent())
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(UserError, match="not a review package"):
        package.about(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "o.zip") as file:
        about, told = file.read(package.ABOUT), file.read(package.UNITS).decode()
    first = json.loads(told.splitlines()[0])
    longer = json.dumps(first | {"end": first["end"] + 1})
    for broken in (longer, told.replace('"kind": "entity"', '"kind": "x"'), "{"):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
            file.writestr(package.ABOUT, about)
            file.writestr(package.UNITS, broken)
            file.writestr("../evil.py", "print()")
        with pytest.raises(UserError, match="Line 1 of"):
            package.open_package(tmp_path / "b.zip", tmp_path / "b")
        assert not Book(tmp_path / "b").there


def test_the_commands_work_from_a_terminal(run: Path, tmp_path: Path) -> None:
    whole(run, 0)
    command = [sys.executable, "-m", "core", "extract", "review", "export", str(run), "--out", str(tmp_path / "g")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 sentences of 1 documents" in done.stdout
    assert lines(tmp_path / "g" / "records.jsonl")[0]["text"] == "😀 Ada was born in London."


# Label Studio


def test_a_run_goes_to_label_studio_and_comes_back_the_same(run: Path, tmp_path: Path) -> None:
    assert written(ExportRequest(run=run, what="labelstudio", out=tmp_path)).sentences == 3
    tasks = json.loads((tmp_path / labelstudio.TASKS).read_text(encoding="utf-8"))
    first = next(one for one in tasks[0]["predictions"][0]["result"] if one["value"]["text"] == "Ada")
    assert (first["value"]["start"], first["value"]["end"]) == (3, 6)  # the emoji counts two
    config = (tmp_path / labelstudio.CONFIG).read_text(encoding="utf-8")
    assert all(f'value="{name}"' in config for name in ("person", "born in", "move", "who", "goal"))
    for task in tasks:
        task["annotations"] = [{"result": task["predictions"][0]["result"], "completed_by": {"email": "w@x"}}]
    (tmp_path / "done.json").write_text(json.dumps(tasks), encoding="utf-8")
    for mine, theirs in zip(Store(run).results(), labelstudio.read(tmp_path / "done.json"), strict=True):
        assert (theirs.id, theirs.text) == (mine.id, mine.text)
        assert set(theirs.entities) == set(mine.entities)
        assert (set(theirs.relations), theirs.events) == (set(mine.relations), mine.events)


def test_annotations_come_into_a_review_as_a_second_reviewers(run: Path, tmp_path: Path) -> None:
    written(ExportRequest(run=run, what="labelstudio", out=tmp_path))
    tasks = json.loads((tmp_path / labelstudio.TASKS).read_text(encoding="utf-8"))[:1]
    result = tasks[0]["predictions"][0]["result"]
    gone = next(one for one in result if one.get("value", {}).get("labels") == ["place"])
    result.remove(gone)
    tasks[0]["annotations"] = [{"result": result, "completed_by": {"email": "w@x"}}]
    (tmp_path / "done.json").write_text(json.dumps(tasks), encoding="utf-8")
    whole(run, 0)
    made = run_merge(MergeRequest(run=run, package=tmp_path / "done.json"), Silent())
    assert (made.sentences, made.agreement[0].who) == (3, "w@x")
    assert made.agreement[0].records == 3
    states = {one["name"]: one["state"] for one in units(run)[0]["records"]}
    assert states["0:entity:1"] == "accepted"  # Li said so, the annotator took it out: a disagreement
    assert made.disputes >= 1
    assert queue.counts(Book(run)).reviewed == 3


def annotated(text: str, *regions: dict, **more: object) -> dict:
    result = [
        {"id": str(k), "type": "labels", "from_name": "label", "to_name": "text", "value": region}
        for k, region in enumerate(regions)
    ]
    return {"id": 9, "data": {"text": text}, "annotations": [{"result": [*result, *more.pop("joins", [])], **more}]}  # type: ignore[misc]


def read(tmp_path: Path, *tasks: dict) -> list[Extraction]:
    (tmp_path / "ls.json").write_text(json.dumps(tasks), encoding="utf-8")
    return list(labelstudio.read(tmp_path / "ls.json"))


def test_offsets_in_javascript_units_and_in_codepoints_are_told_apart_by_the_words(tmp_path: Path) -> None:
    text = "📉📰 in Ulm"
    for start in (8, 6):  # JavaScript's, Python's
        (row,) = read(tmp_path, annotated(text, {"start": start, "end": start + 3, "text": "Ulm", "labels": ["place"]}))
        assert (row.entities[0].text, row.entities[0].start) == ("Ulm", 6)
    (row,) = read(tmp_path, annotated(text, {"start": 8, "end": 11, "labels": ["place"]}))
    assert row.entities[0].text == "Ulm"  # without words: as JavaScript counts


def test_words_that_stand_elsewhere_are_found_or_kept_without_a_place(tmp_path: Path) -> None:
    text = "Ulm and Ulm."
    (row,) = read(
        tmp_path,
        annotated(
            text,
            {"start": 9, "end": 12, "text": "Ulm", "labels": ["place"]},
            {"start": 40, "end": 44, "text": "Rome", "labels": ["place"]},
            {"start": 0, "end": 7, "text": "Ulm  and", "labels": ["place"]},
        ),
    )
    assert [(one.text, one.start) for one in row.entities] == [("Ulm", 8), ("Rome", None), ("Ulm and", 0)]


def test_relations_of_either_direction_and_skipped_tasks(tmp_path: Path) -> None:
    regions = [
        {"start": 0, "end": 3, "text": "Ada", "labels": ["person", "woman"]},
        {"start": 7, "end": 10, "text": "Ulm", "labels": ["place"]},
    ]
    join = {"type": "relation", "from_id": "1", "to_id": "0", "direction": "left", "labels": ["lives in"]}
    rows = read(
        tmp_path,
        annotated("Ada in Ulm", *regions, joins=[join, {**join, "to_id": "7"}]),
        annotated("Ada in Ulm", *regions, was_cancelled=True),
        {"id": 3, "data": {"text": "untouched"}, "annotations": []},
    )
    assert len(rows) == 1
    (relation,) = rows[0].relations
    assert (relation.head.text, relation.relation, relation.tail.text) == ("Ada", "lives in", "Ulm")
    assert [one.type for one in rows[0].entities] == ["person", "woman", "place"]
    with pytest.raises(UserError, match="Task 1 of"):
        read(tmp_path, {"id": 1, "text": "no data"})
