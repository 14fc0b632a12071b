"""The Review page, and what its board is given to draw and makes of what it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import paths
from core.extract.review import queue
from core.extract.review.book import Book
from core.extract.review.decide import Action, apply
from core.extract.review.queue import Filter
from core.jobs import store
from tests.core.review_runs import SCHEMA, document, write_run
from tests.ui.conftest import OpenPage, texts
from ui.parts.review_board import Queue, _store, payload
from ui.parts.review_filters import ranges

WORDS = {
    "en": {"empty": "run an extraction first", "reviewed": "Reviewed: 0 of 6 sentences", "nothing": "Nothing has been"},
    "zh": {"empty": "先做一次抽取", "reviewed": "已审 0 / 6 句", "nothing": "还没有做过"},
}


@pytest.fixture
def a_run(workspace: Path) -> Path:
    return write_run(paths.runs() / "20260101-people", [document(str(row), row=row) for row in range(2)])


def a_queue(run: Path) -> tuple[Book, Queue]:
    book = Book(run)
    book.refresh_all(SCHEMA)
    return book, Queue("q", Filter(), queue.ids(book, Filter()))


def test_without_a_run_the_page_leads_to_an_extraction(open_page: OpenPage, language: str) -> None:
    page = open_page("review")
    assert WORDS[language]["empty"] in texts(page)
    assert page.button(key="review.extract")


def test_a_run_is_ready_for_review_with_its_progress(open_page: OpenPage, a_run: Path, language: str) -> None:
    page = open_page("review")
    assert page.query_params["run"] == a_run.name
    assert Book(a_run).there
    assert WORDS[language]["reviewed"] in page.get("progress")[0].text


def test_every_view_of_the_page_can_be_opened(open_page: OpenPage, a_run: Path, language: str) -> None:
    page = open_page("review", run=a_run.name)
    for view in ("history", "export", "second", "receive"):
        page.segmented_control(key=f"review.{a_run.name}.view").set_value(view).run()
        assert not page.exception, page.exception
        assert view != "history" or WORDS[language]["nothing"] in texts(page)


def test_a_step_is_undone_from_the_history(open_page: OpenPage, a_run: Path) -> None:
    book, _ = a_queue(a_run)
    apply(book, [Action(op="accept", unit=1, record="0:relation:0", why="so it is")], "Li")
    page = open_page("review", run=a_run.name)
    page.segmented_control(key=f"review.{a_run.name}.view").set_value("history").run()
    table = page.dataframe[0]
    assert list(table.value.iloc[0])[1:] == ["Li", "accepted", "Ada → born in → London", 1, "so it is", ""]


def test_the_board_gets_offsets_of_the_sentence_and_the_next_sentences(a_run: Path) -> None:
    book, held = a_queue(a_run)
    data = payload(book, held, 0, {})
    first = data["units"][0]
    relation = next(one for one in first["records"] if one["kind"] == "relation")
    letters = list(first["text"])
    for end in ("head", "tail"):
        span = relation["value"][end]
        assert "".join(letters[span["start"] : span["end"]]) == span["text"]
    assert [unit["place"] for unit in data["units"]] == list(range(6))
    assert [one["name"] for one in data["types"]["event"]] == ["move"]
    assert data["types"]["event"][0]["roles"] == ["who", "goal"]


def test_what_the_board_sends_is_stored_once_and_confirmed(a_run: Path) -> None:
    book, held = a_queue(a_run)
    step = {"id": "s1", "op": "accept", "unit": 1, "record": "0:relation:0", "shape": "ignored"}
    bad = {"id": "s2", "op": "swap", "unit": 1, "record": "0:entity:0"}
    sent = {"steps": [step, bad], "at": 2, "number": 7}
    told = _store(book, held, "Li", sent)
    assert (told["number"], told["done"], list(told["refused"])) == (7, ["s1"], ["s2"])
    assert _store(book, held, "Li", sent)["done"] == ["s1"]
    assert len(queue.history(book)) == 1
    undone = _store(book, held, "Li", {"steps": [{"id": "s3", "op": "undo"}], "at": 4, "number": 8})
    assert undone["goto"] == [8, held.ids.index(1)]


def test_rows_are_asked_for_as_people_count_them() -> None:
    assert ranges("1-20，35, x, 7-") == ((0, 19), (34, 34), (6, 6))
    assert ranges("") == ()


def test_gold_is_written_from_the_page_as_a_job(open_page: OpenPage, a_run: Path) -> None:
    book, _ = a_queue(a_run)
    apply(book, [Action(op="whole", unit=1, state="accepted")], "Li")
    page = open_page("review", run=a_run.name)
    page.segmented_control(key=f"review.{a_run.name}.view").set_value("export").run()
    page.button(key=f"review.{a_run.name}.export.write.gold").click().run()
    assert not page.exception, page.exception
    (job,) = store.all_jobs()
    done = store.wait(job.id, timeout=60)
    assert (done.state, (done.result or {})["sentences"]) == ("done", 1)
    assert (Path((done.result or {})["out"]) / "records.jsonl").is_file()
    assert "gold 2" in texts(page.run())  # the document and its sentence
