"""Home: the first-run card, what the machine has, and the three next things."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core import settings
from core.jobs import store
from core.settings import Endpoint
from tests.ui.conftest import OpenPage, texts
from ui.parts.next_steps import next_steps


def test_the_first_run_offers_the_starter_model(open_page: OpenPage, language: str) -> None:
    page = open_page("home")
    said = texts(page)
    assert "92.9 MB" in page.button(key="starter.get").label
    assert "Apache-2.0" in said
    assert "sha256" in said
    assert {"en": "runs on any machine", "zh": "任何电脑都能运行"}[language] in said


def test_an_offline_machine_downloads_nothing(open_page: OpenPage) -> None:
    settings.write(settings.Settings(language="en", offline=True))
    page = open_page("home")
    assert page.button(key="starter.get").disabled


def test_a_failed_fetch_says_why_and_offers_it_again(open_page: OpenPage, failed_job: store.Job) -> None:
    page = open_page("home")
    assert "broken" in page.error[0].value
    assert not page.button(key="starter.get").disabled


def test_the_card_is_gone_once_something_can_answer(open_page: OpenPage, language: str) -> None:
    server = Endpoint(name="lab", url="http://127.0.0.1:9/v1", model="m")
    settings.write(settings.read().model_copy(update={"endpoints": (server,)}))
    page = open_page("home")
    assert not [button for button in page.button if button.key == "starter.get"]
    assert {"en": "This machine", "zh": "本机"}[language] in texts(page)


def test_recent_jobs_are_listed(open_page: OpenPage, done_job: store.Job, language: str) -> None:
    said = texts(open_page("home"))
    assert {"en": "Recent jobs", "zh": "最近的任务"}[language] in said


def test_next_steps_follow_the_real_state(workspace: Path) -> None:
    def pages(*jobs: store.Job, models: int = 1, loaded: str = "") -> list[str]:
        return [step.page for step in next_steps(jobs, models=models, loaded=loaded)]

    run = store.Job("1", workspace, "extract run", {"out": str(workspace / "a")}, 0, "done")
    graph = store.Job("2", workspace, "graph build", {"run": str(workspace / "a")}, 0, "done")
    broken = replace(run, state="died")
    assert pages(models=0) == ["extract", "models", "graph"]
    assert pages() == ["extract", "models", "models"]
    assert pages(loaded="m")[:2] == ["extract", "chat"]
    assert pages(run)[0] == "graph"
    assert pages(graph, run)[0] != "graph"
    assert pages(broken)[0] == "jobs"
    assert pages(replace(run, state="running"))[0] == "jobs"
    assert all(len(pages(job, models=count)) == 3 for job in (run, broken) for count in (0, 1))


def test_the_next_step_carries_what_it_is_about(workspace: Path) -> None:
    run = store.Job("1", workspace, "extract run", {"out": "/somewhere/run-1"}, 0, "done")
    step = next_steps([run], models=1, loaded="")[0]
    assert step.query == {"run": "/somewhere/run-1"}
