"""Evaluation against gold: each error by its name, what must add up, the report as files, and gold that was seen."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from core import paths
from core.errors import UserError
from core.extract import evaluate_seen, gold, schema
from core.extract.evaluate_curves import Point, precision_recall, variants
from core.extract.evaluate_errors import Finding, findings
from core.extract.evaluate_pieces import Rules, pieces
from core.extract.evaluate_run import ReportRequest, read_report, run
from core.extract.evaluate_store import Findings, Wanted
from core.extract.review import splits
from core.extract.schema import Task
from core.extract.score import compare, score
from core.operation import Silent
from core.records import Entity, Extraction, Relation
from tests.core.test_extract_score import TEXT, argument, counts, entity, files, meeting, ner, rules, span, tasks


def found(gold: Extraction, pred: Extraction, task: Task = "ner", rules: Rules = "strict") -> list[Finding]:
    return findings(pieces(gold, task, rules), pieces(pred, task, rules), rules)


def kinds(made: Iterable[Finding]) -> Counter[str]:
    return Counter(one.kind for one in made)


# Errors


def test_each_error_has_its_name() -> None:
    gold = ner(entity("person", "Ann Lee"), entity("person", "Bo"), entity("place", "Rome"), entity("place", "Rome", 1))
    pred = ner(
        entity("person", "Ann"),
        entity("place", "Bo"),
        entity("place", "Rome"),
        entity("person", "met"),
        Entity("Paris", "place"),
    )
    told = {(one.kind, one.gold and one.gold.words, one.pred and one.pred.words) for one in found(gold, pred)}
    assert told == {
        ("wrong_boundary", "Ann Lee", "Ann"),
        ("wrong_type", "Bo", "Bo"),
        ("right", "Rome", "Rome"),
        ("missing", "Rome", None),
        ("spurious", None, "met"),
        ("unlocated", None, "Paris"),
    }


def test_a_relation_turned_round_is_swapped_and_nothing_else() -> None:
    gold = Extraction("1", TEXT, relations=(Relation(span("Ann Lee"), "met", span("Bo")),))
    for head, kind, tail, told in [
        (span("Bo"), "met", span("Ann Lee"), "swapped"),
        (span("Ann Lee"), "left", span("Bo"), "wrong_type"),
        (span("Ann"), "met", span("Bo"), "wrong_boundary"),
    ]:
        pred = Extraction("1", TEXT, relations=(Relation(head, kind, tail),))
        assert kinds(found(gold, pred, "re")) == kinds(found(gold, pred, "re", "iepile")) == {told: 1}


def test_an_argument_under_another_role_is_a_wrong_type() -> None:
    gold = meeting(span("met"), argument("who", "Bo"), argument("where", "Rome"))
    pred = meeting(span("met"), argument("whom", "Bo"), argument("where", "Rome"))
    wrong = next(one for one in found(gold, pred, "ee") if one.kind == "wrong_type")
    assert wrong.gold and wrong.pred and (wrong.gold.label, wrong.pred.label, wrong.type) == ("who", "whom", "meeting")
    assert (wrong.gold.record, wrong.gold.part) == ("event:0", 0)


def test_of_overlapping_ones_the_closest_belong_together() -> None:
    text = "New York City Hall"
    wanted = Extraction("1", text, (Entity("New York City", "place", 0, 13),))
    said = Extraction("1", text, (Entity("New", "place", 0, 3), Entity("York City", "place", 4, 13)))
    told = {(one.kind, one.pred.words) for one in found(wanted, said) if one.pred}
    assert told == {("wrong_boundary", "York City"), ("spurious", "New")}


@settings(deadline=None, max_examples=60)
@given(files, tasks, rules)
def test_findings_add_up_to_the_score(pairs, task: Task, rules: Rules) -> None:
    gold, pred = ([pair[side] for pair in pairs] for side in (0, 1))
    made = [one for one, other in pairs for one in found(one, other, task, rules)]
    total = score(gold, pred, task, rules)
    of = kinds(made)
    sides = [
        sum(side is not None for side in sides) for sides in zip(*((one.gold, one.pred) for one in made), strict=True)
    ]
    assert counts(total) == (*(sides or [0, 0]), of["right"])
    for name, figure in total.types.items():
        right = sum(one.kind == "right" for one in made if one.type == name)
        assert (figure.gold, figure.correct) == (
            sum(one.gold is not None and one.gold.item.type == name for one in made),
            right,
        )


# Curves


def test_precision_and_recall_go_from_the_surest_down() -> None:
    said = [(0.9, True), (0.8, False), (0.8, True), (0.5, True)]
    assert precision_recall(said, 4) == [
        Point(0.9, 1.0, 0.25),
        Point(0.8, 2 / 3, 0.5),
        Point(0.5, 0.75, 0.75),
    ]
    assert precision_recall([(0.5, True), (0.5, False)], 2) == []


def test_the_best_of_many_equal_runs_flatters_and_choosing_tells_the_truth() -> None:
    """Twenty runs that are all right by chance half of the time."""
    import random

    draw = random.Random(3)
    documents: Counter[tuple[int, ...]] = Counter()
    for _ in range(60):
        documents[1, *(number for _ in range(20) for number in (1, draw.randint(0, 1)))] += 1
    made = variants(documents)
    assert made.best > 0.6 and made.lowest < 0.4
    assert made.mean == pytest.approx(0.5, abs=0.05) and made.mean_interval[0] < 0.5 < made.mean_interval[1]
    assert abs(made.chosen - 0.5) < made.best - 0.5


# The report


TEXTS = ["Ann met Bo <b>here</b>.", "Rome slept.", "Bo left Rome & Ann."]
GOLD = [
    {"id": "a", "text": TEXTS[0], "entity": [{"entity": "Ann", "entity_type": "person"}]},
    {"id": "b", "text": TEXTS[1], "entity": [{"entity": "Rome", "entity_type": "place"}]},
    {"id": "c", "text": TEXTS[2], "entity": [{"entity": "Bo", "entity_type": "person"},
                                             {"entity": "Rome", "entity_type": "place"}]},
]  # fmt: skip


def lines(path: Path, rows: Iterable[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def at(text: str, words: str, kind: str, confidence: float | None = None) -> Entity:
    return Entity(words, kind, text.index(words), text.index(words) + len(words), confidence=confidence)


def predicted(path: Path, *right: bool, **provenance: object) -> Path:
    """Each gold entity found where told so, else an entity of the wrong type in its place."""
    told, rows = list(right), []
    for row in GOLD:
        made = []
        for one in row["entity"]:
            good = told.pop(0)
            kind = one["entity_type"] if good else {"person": "place", "place": "person"}[one["entity_type"]]
            made.append(at(str(row["text"]), one["entity"], kind, 0.9 if good else 0.3))
        rows.append(Extraction(str(row["id"]), str(row["text"]), tuple(made), provenance=provenance).to_dict())
    return lines(path, rows)


def request(folder: Path, *preds: Path, **more: object) -> ReportRequest:
    fields = {"gold": lines(folder / "gold.jsonl", GOLD), "pred": preds, "task": "ner", "out": folder / "report"}
    return ReportRequest(**{**fields, **more})  # type: ignore[arg-type]


def test_a_report_holds_every_number_and_its_sentences(tmp_path: Path, workspace: Path) -> None:
    first = predicted(tmp_path / "one" / "records.jsonl", True, True, False, True)
    second = predicted(tmp_path / "two" / "records.jsonl", True, False, False, False)
    made = run(request(tmp_path, first, second), Silent())
    assert (made.names, made.rows, made.f1) == (("one", "two"), 3, (0.75, 0.25))
    assert "wrong_type 1" in made.summary() and "mean F1 of the runs 0.500" in made.summary()

    report, evaluation = read_report(made.out)
    one = evaluation.runs[0]
    assert one.errors == {"right": 3, "wrong_type": 1, **dict.fromkeys(one.errors.keys() - {"right", "wrong_type"}, 0)}
    assert one.by_type == {"person": {"right": 1, "wrong_type": 1}, "place": {"right": 2}}
    assert one.confusion == {"entity": {"person": {"person": 1, "place": 1}, "place": {"place": 2}}}
    assert one.curve[0] == Point(0.9, 1.0, 0.75)
    assert [(each.before, each.after) for each in evaluation.versus] == [(0, 1)]
    assert evaluation.variants and evaluation.variants.best_run == 0
    assert report["gold"]["sha256"] and report["seen"] == {"one": [], "two": []}
    assert evaluation.versus[0].comparison == compare(
        *(list(gold.read(path, "ner")) for path in (tmp_path / "gold.jsonl", first, second)), "ner"
    )

    held = Findings(made.out)
    (line,) = held.lines(Wanted(0, ("wrong_type",)))
    assert (line.id, line.gold_label, line.pred_label, line.gold_words) == ("c", "person", "place", "Bo")
    assert held.lines(Wanted(0, gold="person", pred="place")) == [line]
    assert held.count(Wanted(0, gold="person", pred="")) == 0
    assert held.documents(1)[0][1:] == ("c", TEXTS[2], 2, 2, 0)
    assert [row.text for row in held.pair(0, line.doc)] == [TEXTS[2]] * 2
    errors = [json.loads(told) for told in (made.out / "errors.jsonl").read_text(encoding="utf-8").splitlines()]
    assert Counter(told["run"] for told in errors) == {"one": 1, "two": 3}


def test_the_html_is_one_file_that_runs_nothing_and_escapes_everything(tmp_path: Path, workspace: Path) -> None:
    made = run(request(tmp_path, predicted(tmp_path / "<i>.jsonl", False, True, True, True)), Silent())
    page = (made.out / "report.html").read_text(encoding="utf-8")
    assert "<b>here</b>" not in page and "&lt;b&gt;here&lt;/b&gt;" in page and "<i>" not in page
    assert "<script" not in page and not re.search(r"(src|href)=[\"']?(https?:|//)", page)
    for link in re.findall(r'href="#([^"]+)"', page):
        if link == "e0-wrong_type":
            assert f'id="{link}"' in page
    assert "default-src 'none'" in page


def test_rules_and_names_that_do_not_fit_are_said(tmp_path: Path, workspace: Path) -> None:
    good = predicted(tmp_path / "p.jsonl", True, True, True, True)
    with pytest.raises(UserError, match="There are 1 names for 2 runs"):
        run(request(tmp_path, good, good, names=("a",)), Silent())
    with pytest.raises(UserError, match="Neither gold nor predictions have the types planet"):
        run(request(tmp_path, good, types="planet"), Silent())
    twice = lines(tmp_path / "twice.jsonl", [json.loads(row) for row in good.read_text().splitlines()[:1] * 2])
    with pytest.raises(UserError, match="The id a occurs twice"):
        run(request(tmp_path, twice), Silent())
    assert not (tmp_path / "report" / "report.json").exists(), "what came to no end is no report"


def test_the_published_rules_and_only_some_types_give_the_scores_of_the_score_command(
    tmp_path: Path, workspace: Path
) -> None:
    path = predicted(tmp_path / "p.jsonl", True, False, True, False)
    for by in ("strict", "iepile"):
        made = run(request(tmp_path, path, rules=by, types="place", out=tmp_path / by), Silent())
        right = list(gold.read(tmp_path / "gold.jsonl", "ner", located=by == "strict"))
        told = read_report(made.out)[1].runs[0]
        assert told.scores == score(right, gold.read(path, "ner"), "ner", by, types={"place"})
        assert told.errors["right"] == told.scores.total.correct


# Gold that was seen


def test_gold_that_a_training_file_holds_is_refused_or_left_out(tmp_path: Path, workspace: Path) -> None:
    talks = lines(tmp_path / "train.jsonl", [{"instruction": "Find!", "input": f"text:\n{TEXTS[2]}", "output": "x"}])
    training = paths.workspace() / "trainings" / "mine" / "request.json"
    lines(training, [{"data": [str(talks)], "base": "starter"}])
    path = predicted(tmp_path / "p" / "records.jsonl", True, True, True, True, model="mine/hf")
    with pytest.raises(UserError, match=r"p saw 1 of the 3 gold texts before, among them “Bo left Rome.* \(in train"):
        run(request(tmp_path, path), Silent())
    made = run(request(tmp_path, path, leave_out_seen=True), Silent())
    assert (made.rows, made.left_out) == (2, 1)
    assert any("1 gold rows were left out" in note for note in made.notes)


def test_gold_in_a_schema_that_showed_its_examples_is_seen(workspace: Path) -> None:
    ready = schema.load("people-and-organisations-en")
    told = {"schema_hash": ready.hash, "examples": len(ready.examples)}
    text = ready.examples[0].text
    assert list(evaluate_seen.seen([text, "Quite another text of its own."], told).texts) == [text]
    assert not evaluate_seen.seen([text], told | {"examples": 0}).texts


def test_gold_that_review_gave_to_training_is_seen(workspace: Path) -> None:
    splits.assign([splits.text_hash(TEXTS[0])], "train")
    splits.assign([splits.text_hash(TEXTS[1])], "gold")
    assert list(evaluate_seen.seen(TEXTS, {}).texts) == [TEXTS[0]]


def test_a_text_is_known_by_its_letters_whatever_the_prompt_made_of_it(workspace: Path, tmp_path: Path) -> None:
    text = "他出生于北京市海淀区，后来在清华大学任教。"
    file = lines(tmp_path / "t.jsonl", [{"prompt": json.dumps({"input": text[:8] + " \n" + text[8:]})}])
    assert list(evaluate_seen.seen([text, text[:5], "Bo"], {}, [file]).texts) == [text]


# Gold as tables and as IEPile's test rows


@pytest.mark.parametrize(
    ("task", "table", "wanted"),
    [
        ("ner", "id,text,entity,type\n1,Ann met Bo.,Ann,person\n1,Ann met Bo.,Bo,person\n2,Nobody.,,\n", [2, 0]),
        ("ner", "文本,实体,类型,起始,结束\n王明见王明。,王明,人物,3,5\n", [1]),
        ("re", "text,head,relation,tail\nAnn is in Rome.,Ann,lives in,Rome\n", [1]),
        ("ee", "text,event_type,trigger,role,argument\nA wed B.,wedding,wed,who,A\nA wed B.,wedding,wed,who,B\n", [1]),
        ("ner", 'text,entity\nAnn.,"[{""entity"": ""Ann"", ""entity_type"": ""person""}]"\nNobody.,[]\n', [1, 0]),
    ],
)  # fmt: skip
def test_a_spreadsheet_with_a_row_a_record_is_gold(task: Task, table: str, wanted: list[int], tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text(table, encoding="utf-8")
    made = list(gold.read(path, task))
    assert [len(row.entities) + len(row.relations) + len(row.events) for row in made] == wanted
    if "起始" in table:
        assert made[0].entities == (Entity("王明", "人物", 3, 5),)
    if task == "ee":
        assert [one.text for one in made[0].events[0].arguments] == ["A", "B"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("text,entity,type\nAnn.,Ann,\n", "Line 2 of .* is only part of a record"),
        ("text,name\nAnn.,Ann\n", "has not the columns of gold for the task ner; it has text, name"),
        ("id,text,entity,type\n1,Ann.,Ann,person\n1,Bo.,Bo,person\n", "another text than the rows before it"),
        ("text,entity,type,start,end\nAnn.,Ann,person,x,3\n", "are not two numbers"),
    ],
)  # fmt: skip
def test_a_table_that_is_no_gold_is_refused(table: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        list(gold.read(path, "ner"))


def test_offsets_of_a_table_that_do_not_fit_are_refused_by_the_score(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text("text,entity,type,start,end\nAnn met Bo.,Bo,person,0,2\n", encoding="utf-8")
    rows = list(gold.read(path, "ner"))
    with pytest.raises(UserError, match="offsets 0 to 2 of “Bo” don't fit"):
        score(rows, rows, "ner")


def test_iepile_test_rows_are_gold_by_their_label_and_predictions_by_their_output(tmp_path: Path) -> None:
    asked = json.dumps({"instruction": "…", "schema": ["person", "place"], "input": "Ann is in Rome."})
    label = json.dumps([{"entity": "Ann", "entity_type": "person"}, {"entity": "Rome", "entity_type": "place"}])
    row = {"id": "7", "source": "news", "instruction": asked, "label": label}
    path = lines(tmp_path / "test.jsonl", [row | {"output": '{"person": ["Ann"], "place": []}'}])
    right, said = list(gold.read(path, "ner")), list(gold.read(path, "ner", predicted=True))
    assert counts(score(right, said, "ner", "iepile")) == (2, 1, 1)
    broken = lines(tmp_path / "broken.jsonl", [row | {"output": "I am sorry."}])
    (unread,) = gold.read(broken, "ner", predicted=True)
    assert unread.error and not unread.entities, "an answer that can't be read is not one that found nothing"


def test_a_runs_folder_is_read_as_the_run(tmp_path: Path) -> None:
    row = Extraction("1", "Bo.", (Entity("Bo", "person", 0, 2),))
    lines(tmp_path / "run" / "records.jsonl", [row.to_dict()])
    assert list(gold.read(tmp_path / "run", "ner")) == [row]
    with pytest.raises(UserError, match="no extraction run"):
        gold.read(tmp_path, "ner")


def test_rows_without_confidence_have_no_curve(tmp_path: Path, workspace: Path) -> None:
    path = predicted(tmp_path / "p.jsonl", True, True, True, True)
    rows = [replace(row, entities=tuple(replace(one, confidence=None) for one in row.entities))
            for row in gold.read(path, "ner")]  # fmt: skip
    lines(path, [row.to_dict() for row in rows])
    assert read_report(run(request(tmp_path, path), Silent()).out)[1].runs[0].curve == []


def test_an_export_of_label_studio_is_gold(tmp_path: Path) -> None:
    region = {"id": "r1", "type": "labels", "from_name": "entity", "to_name": "text",
              "value": {"start": 3, "end": 6, "text": "Ann", "labels": ["person"]}}  # fmt: skip
    task = {"id": 1, "data": {"text": "😀 Ann.", "id": "x"}, "annotations": [{"result": [region]}]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task], indent=2), encoding="utf-8")
    (row,) = gold.read(path, "ner")
    assert (row.id, row.entities) == ("x", (Entity("Ann", "person", 2, 5),)), "it counts UTF-16, we count codepoints"
