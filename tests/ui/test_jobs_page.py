"""The Jobs page: what ran, what became of it, and its buttons."""

from __future__ import annotations

import pytest

from core.jobs import store
from tests.ui.conftest import OpenPage, texts

WORDS = {
    "en": {"title": "Jobs", "empty": "Nothing has run yet", "made": "What was made", "log": "Log"},
    "zh": {"title": "任务", "empty": "还没有", "made": "结果", "log": "日志"},
}


def test_an_empty_workspace_says_what_will_appear_here(open_page: OpenPage, language: str) -> None:
    page = open_page("jobs")
    assert page.title[0].value == WORDS[language]["title"]
    assert WORDS[language]["empty"] in page.info[0].value
    assert not page.dataframe


def test_a_finished_job_shows_its_receipt(open_page: OpenPage, done_job: store.Job, language: str) -> None:
    page = open_page("jobs", job=done_job.id)
    assert WORDS[language]["made"] in texts(page)
    assert len(page.dataframe[0].value) == 1


def test_a_failed_job_shows_why_and_the_remedy(open_page: OpenPage, failed_job: store.Job, language: str) -> None:
    page = open_page("jobs", job=failed_job.id)
    assert failed_job.state == "failed"
    assert "broken" in page.error[0].value
    assert {"en": "another copy", "zh": "重新"}[language] in page.error[0].value


def test_a_failed_job_is_started_again_under_its_own_id(open_page: OpenPage, failed_job: store.Job) -> None:
    page = open_page("jobs", job=failed_job.id)
    page.button(key=f"restart.{failed_job.id}").click().run()
    assert store.wait(failed_job.id, timeout=60).attempt == 2
    assert len(store.all_jobs()) == 1


def test_a_removed_job_leaves_the_list(open_page: OpenPage, done_job: store.Job) -> None:
    page = open_page("jobs", job=done_job.id)
    page.button(key=f"remove.{done_job.id}").click().run()
    assert store.all_jobs() == []
    assert not page.exception


def test_a_job_that_is_gone_is_told_calmly(open_page: OpenPage, done_job: store.Job) -> None:
    page = open_page("jobs", job="20200101-000000-000-000000")
    assert "20200101" in page.error[0].value.replace("\\", "")


@pytest.mark.parametrize("state", ["done", "failed"])
def test_the_table_is_filtered_by_state(
    open_page: OpenPage, done_job: store.Job, failed_job: store.Job, state: str
) -> None:
    page = open_page("jobs")
    page.button_group(key="jobs.states").set_value([state]).run()
    assert len(page.dataframe[0].value) == 1
