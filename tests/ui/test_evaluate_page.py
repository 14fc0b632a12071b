"""The Evaluate page: the way to gold, an evaluation with its sentences, and an audit judged to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import paths
from core.extract.audit import Audit, told
from core.extract.audit_run import SampleRequest, sample
from core.extract.evaluate_run import ReportRequest, run
from core.extract.evaluate_store import Wanted
from core.extract.run import RunRequest
from core.jobs import store
from core.operation import Silent
from core.records import Entity, Extraction
from tests.ui.conftest import OpenPage, texts
from ui.parts import runs
from ui.parts.audit_sentence import sentence_row, with_entity
from ui.parts.eval_charts import confusion_spec

WORDS = {
    "en": {
        "title": "Evaluate",
        "gold": "ten minutes",
        "none": "there is no run to judge",
        "errors": "all errors · 2",
        "counts": "3 in gold, 2 found, 1 right",
        "spurious": "not in gold · 1",
        "draw": "Draw 100 sentences",
        "judged": "2 of 2 sentences judged",
    },
    "zh": {
        "title": "评估",
        "gold": "十分钟",
        "none": "还没有可判定的抽取结果",
        "errors": "所有错误 · 2",
        "counts": "标准答案 3 条，抽到 2 条，正确 1 条",
        "spurious": "多抽 · 1",
        "draw": "抽取 100 个句子",
        "judged": "已判定 2 / 2 句",
    },
}
TEXTS = ["Ann met Bo <b>in</b> Rome.", "Nobody came."]
"""Gold: Ann, Bo, Rome. Found: Ann, and that Nobody is a person."""


def predicted(folder: Path) -> Path:
    rows = [
        Extraction("1", TEXTS[0], (Entity("Ann", "person", 0, 3),), provenance={"task": ["ner"], "row": 0}),
        Extraction("2", TEXTS[1], (Entity("Nobody", "person", 0, 6),), provenance={"task": ["ner"], "row": 1}),
    ]
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("".join(json.dumps(row.to_dict()) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def evaluated(workspace: Path) -> str:
    gold = workspace / "gold.csv"
    found = "".join(
        f"1,{TEXTS[0]},{words},{kind}\n" for words, kind in [("Ann", "person"), ("Bo", "person"), ("Rome", "place")]
    )
    gold.write_text(f"id,text,entity,type\n{found}2,{TEXTS[1]},,\n", encoding="utf-8")
    out = workspace / "evaluations" / "first"
    run(
        ReportRequest(gold=gold, pred=(predicted(workspace / "runs" / "one"),), task="ner", out=out, types=""), Silent()
    )
    return out.name


@pytest.fixture
def a_run(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that a job made, as the page finds it; its job never ran, its rows are there."""
    folder = predicted(paths.runs() / "people")
    source = tmp_path / "people.csv"
    source.write_text("id,text\n1,x\n", encoding="utf-8")
    request = RunRequest(input=source, schema_ref="people-and-organisations-en", out=folder, model="starter")
    job = store.Job("1", folder, "extract run", request.model_dump(mode="json"), 0.0, "done")
    monkeypatch.setattr(runs, "all_runs", lambda: [runs.Run(folder, job)])
    return folder


def test_without_anything_the_page_tells_how_gold_is_made(open_page: OpenPage, language: str) -> None:
    page = open_page("evaluate")
    assert page.title[0].value == WORDS[language]["title"]
    assert any(WORDS[language]["gold"] in one.label for one in page.expander)
    assert page.button(key="evaluate.start").disabled
    page.segmented_control(key="evaluate.way").set_value("audit").run()
    assert not page.exception and WORDS[language]["none"] in texts(page)


def test_an_evaluation_shows_two_numbers_first_and_opens_every_number(
    open_page: OpenPage, evaluated: str, language: str
) -> None:
    page = open_page("evaluate", evaluation=evaluated)
    assert [metric.value for metric in page.metric] == ["50.0%", "33.3%", "40.0%"]
    assert WORDS[language]["counts"] in texts(page)
    key = f"evaluate.{evaluated}.0"
    assert page.session_state[f"{key}.wanted"].kinds[0] == "missing"
    page.pills(key=f"{key}.kind").set_value("spurious").run()
    assert not page.exception and WORDS[language]["spurious"] in texts(page).replace("\\", "")
    page.session_state[f"{key}.wanted"] = Wanted(0, gold="place", pred="")
    page.run()
    assert not page.exception
    lines = next(one.value for one in page.dataframe if "kind" in one.value.columns)
    assert lines["gold"].tolist() == ["Rome (place)"]


def test_a_click_in_the_matrix_names_its_cell() -> None:
    spec, places = confusion_spec({"a": {"a": 3, "b": 1}, "": {"b": 2}}, ["a", "b"])
    assert spec["series"][0]["data"] == [[0, 0, 3], [1, 0, 1], [1, 2, 2]]
    assert places == [("a", "a"), ("a", "b"), ("", "b")]


def test_an_evaluation_that_is_gone_is_said(open_page: OpenPage) -> None:
    assert "no longer there" in texts(open_page("evaluate", evaluation="lost"))


def test_a_sample_is_judged_to_its_end(open_page: OpenPage, a_run: Path, language: str) -> None:
    sample(SampleRequest(run=a_run, size=10, who="Li"), Silent())
    page = open_page("evaluate", audit=a_run.name)
    for _ in range(2):
        chip = next(button for button in page.button if ".chip." in str(button.key))
        if "Nobody" in chip.label:
            chip.click().run()
        next(button for button in page.button if str(button.key).endswith(".done")).click().run()
        assert not page.exception, page.exception
    assert WORDS[language]["judged"] in texts(page)
    said = told(a_run)
    assert (said["sentences"], said["precision"], said["recall"]) == (2, 0.5, 1.0)
    assert page.metric[0].value == "50.0%"


def test_a_run_without_a_sample_offers_to_draw_one(open_page: OpenPage, a_run: Path, language: str) -> None:
    page = open_page("evaluate", audit=a_run.name)
    assert WORDS[language]["draw"] in [button.label for button in page.button]


def test_what_is_added_stands_where_it_is_in_the_document(tmp_path: Path) -> None:
    folder = predicted(tmp_path / "run")
    sample(SampleRequest(run=folder, size=10), Silent())
    audit = Audit(folder)
    item = next(one for one in audit.items(audit.newest().sample) if "Ann" in one.sentence)
    from ui.parts.audit_sentence import found

    span = found("Rome", item)
    assert span is not None and found("Paris", item) is None
    added = with_entity(None, item, "place", span)
    row = sentence_row(item, item.pieces(["ner"]), added)
    assert [(one.text, row.text[one.start : one.end]) for one in row.entities] == [("Ann", "Ann"), ("Rome", "Rome")]
