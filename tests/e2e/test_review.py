"""Reviewing in a real browser, by keyboard alone: what is shown at once is stored, and a reload loses nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from core.extract.review import queue
from core.extract.review.book import Book
from core.extract.review.queue import Filter
from tests.core.review_runs import document, write_run
from tests.e2e.conftest import App
from tests.e2e.reviewing import decide, open_review, saved, write

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.e2e


def test_a_person_reviews_by_keyboard_alone(page: Page, app: App) -> None:
    run = write_run(app.workspace / "runs" / "people", [document(str(row), row=row) for row in range(12)])
    board = open_review(page, app.url, run)
    press = page.keyboard.press
    keys = "a r w"  # accept the first, reject the second, a reason for what comes
    for key in keys.split():
        press(key)
    page.keyboard.type("swapped it by mistake")
    press("Enter")
    press("s")
    press("Enter")  # the sentence is whole
    press("n")  # a record that is missing
    page.keyboard.type("works")
    press("Enter")
    press("ArrowRight")  # from the emoji to Ada
    press("Enter")
    for _ in range(3):
        press("ArrowRight")  # from the word behind it to London
    press("Enter")
    press("Shift+Enter")  # the rest is right
    press("Shift+A")  # all records like this one
    for _ in range(8):
        press("Shift+Enter")
    saved(page, board)
    book = Book(run)
    first, second = queue.read(book, list(queue.ids(book, Filter(state="all")))[:2])
    assert [one["state"] for one in first["records"]] == ["accepted", "rejected", "accepted"]
    assert first["records"][2]["value"]["head"]["text"] == "London"
    assert first["records"][2]["why"] == "swapped it by mistake"
    added = second["records"][3]["value"]
    assert (added["head"]["text"], added["relation"], added["tail"]["text"]) == ("Ada", "works in", "London")
    assert queue.counts(book).reviewed == 10
    assert queue.counts(book).decided >= 30
    group = next(step for step in queue.history(book) if step.op == "group")
    assert group.records == 10  # of twelve alike, one was accepted alone and one with its sentence
    press("u")
    press("u")
    page.locator('.board[data-unsaved="0"][data-place="8"]').wait_for(timeout=20_000)
    assert queue.counts(book).reviewed == 8
    press("Shift+U")
    page.reload()  # what was not stored yet is sent after the reload
    board = open_review(page, app.url, run)
    saved(page, board)
    deadline = time.monotonic() + 10
    while queue.counts(book).reviewed != 9 and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert queue.counts(book).reviewed == 9


@pytest.mark.soak
def test_a_thousand_records_are_decided_without_the_mouse(page: Page, app: App) -> None:
    run = app.workspace / "runs" / "many"
    write(run, 1000)
    board = open_review(page, app.url, run)
    decide(page, board, 1000)
    saved(page, board)
    counts = queue.counts(Book(run))
    assert counts.reviewed == counts.units == 334
    assert counts.decided == counts.records == 1002
    assert page.locator(".board .end").is_visible()
