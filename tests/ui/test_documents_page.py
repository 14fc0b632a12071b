"""Documents and folders on the page Extract, and how records of long documents are shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.records import Entity, Extraction, Relation, Span
from tests.core import papers
from tests.ui.conftest import OpenPage, texts
from ui.parts.evidence import LONG, payload, record_lines
from ui.parts.source_file import key_of
from ui.parts.source_offer import keep_uploads

WORDS = {
    "en": ("3 pages", "1 of them without text: 2", "2 documents", "one document", "locked with a password"),
    "zh": ("3 页", "其中 1 页没有文字：2", "2 篇文档", "一篇文档", "有密码保护"),
}


def with_file(page: AppTest, path: Path) -> AppTest:
    page.session_state["extract.file"] = str(path)
    page.run()
    assert not page.exception, page.exception
    return page


def test_documents_and_folders_say_what_they_hold(open_page: OpenPage, tmp_path: Path, language: str) -> None:
    pages, empty, folder, _, locked = WORDS[language]
    place = tmp_path / "in"
    place.mkdir()
    pdf = papers.pdf(place / "a.pdf", [["Ada Lovelace wrote notes on the engine."], [], ["She lived in London."]])
    page = with_file(open_page("extract"), pdf)
    assert pages in texts(page) and empty in texts(page)
    assert not [box for box in page.selectbox if box.key == key_of(pdf, "column")]
    (place / "b.txt").write_text("One text.\nAnother text.\n", encoding="utf-8")
    page = with_file(page, place)
    assert folder in texts(page) and "a.pdf" in str(page.dataframe[0].value)
    page = with_file(page, papers.pdf(tmp_path / "locked.pdf", [["Secret."]], password="open sesame"))
    assert locked in texts(page)


def test_a_text_file_is_lines_or_one_document_as_the_person_says(
    open_page: OpenPage, tmp_path: Path, language: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One text stands here.\nAnother text stands there.\n", encoding="utf-8")
    page = with_file(open_page("extract"), path)
    assert WORDS[language][3] not in texts(page)
    page.session_state[key_of(path, "text_file")] = "document"
    page.run()
    assert WORDS[language][3] in texts(page)


class Dropped(io.BytesIO):
    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name = name


def test_files_dropped_together_are_a_folder_and_the_same_one_again(workspace: Path) -> None:
    files = [("a.txt", b"One."), ("sub/a.txt", b"Two."), ("b.txt", b"Three.")]
    place = keep_uploads([Dropped(*one) for one in files])
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        "a.txt": b"One.",
        "a (2).txt": b"Two.",
        "b.txt": b"Three.",
    }
    assert keep_uploads([Dropped(*one) for one in files]) == place
    assert keep_uploads([Dropped("a.txt", b"One.")]).is_file()


def document(count: int) -> Extraction:
    text = "".join(f"Person{number:05} lived here. " for number in range(count))
    width = len(text) // count
    entities = tuple(Entity(f"Person{at:05}", "person", at * width, at * width + 11) for at in range(count))
    first, last = entities[0], entities[-1]
    relation = Relation(Span(first.text, first.start, first.end), "knows", Span(last.text, last.start, last.end))
    return Extraction("d", text, entities, (relation,), provenance={"pages": [0, width, 5 * width]})


def test_of_a_long_document_the_part_around_the_chosen_record_is_drawn() -> None:
    row = document(20_000)
    told = payload(row, "entity:15000")
    assert len(told["text"]) == LONG and told["cut"] == (True, True)
    mark = next(mark for mark in told["marks"] if "entity:15000" in mark["records"])
    assert told["text"][mark["start"] : mark["end"]] == "Person15000"
    assert len(told["marks"]) < 1000 and all(0 <= one["start"] < one["end"] <= LONG for one in told["marks"])
    short = payload(document(3), "entity:1")
    assert short["cut"] == (False, False) and len(short["rows"]) == 1


@pytest.mark.parametrize(("number", "page"), [(0, 1), (4, 2), (7, 3)])
def test_a_record_of_a_document_tells_its_page(number: int, page: int) -> None:
    assert record_lines(document(9))[number]["place"].startswith(f"p. {page}: ")


def test_a_record_that_fits_only_loosely_says_so() -> None:
    row = Extraction("d", "MARIE CURIE lived.", (Entity("MARIE CURIE", "person", 0, 11, 0.93),))
    assert record_lines(row)[0]["place"] == "0-11 (≈ 93%)"
