"""`python -m core jobs …`, as a person and as a machine read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.jobs import store
from tests.core.job_operations import CountRequest, MisbehaveRequest
from tests.core.test_jobs import ended, job_workspace, submit_running  # noqa: F401


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["jobs", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_jobs_are_listed_newest_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "list") == (0, "No jobs yet.\n", "")
    jobs = [ended(store.submit(CountRequest(to=3, out=tmp_path / str(number)))) for number in range(3)]
    lines = run(capsys, "list", "--limit", "2")[1].splitlines()
    assert [line.split()[0] for line in lines] == [jobs[2].id, jobs[1].id]
    assert "test count" in lines[0] and "done" in lines[0] and "3 of 3 numbers" in lines[0]
    listed = json.loads(run(capsys, "list", "--json")[1])["jobs"]
    assert len(listed) == 3 and listed[0]["state"] == "done" and listed[0]["metrics"] == {"square": 4.0}


def test_a_dead_job_shows_what_it_died_of(capsys: pytest.CaptureFixture[str]) -> None:
    job = ended(store.submit(MisbehaveRequest(how="leave")))
    code, out, _ = run(capsys, "show", job.id[:-3])
    assert code == 0 and "died" in out and "exit code 7" in out and out.splitlines()[-1] == "printed"
    shown = json.loads(run(capsys, "show", job.id, "--json")[1])
    assert shown["error"]["values"]["code"] == "7" and shown["request"] == {"how": "leave"}
    assert any("about to leave" in line for line in shown["log"])


def test_a_running_job_is_cancelled_and_started_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=30, out=tmp_path / "out", pause=0.05), "counted 3")
    assert "running" in run(capsys, "show", job.id)[1]
    code, out, _ = run(capsys, "restart", job.id)
    assert code == 1 and out == ""
    code, out, _ = run(capsys, "cancel", job.id)
    assert code == 0 and "cancelled" in out
    assert run(capsys, "cancel", job.id)[0] == 0
    code, out, _ = run(capsys, "restart", job.id)
    assert code == 0 and "attempt 2" in out
    assert ended(job).state == "done" and "Counted" in run(capsys, "show", job.id)[1]


def test_an_unknown_id_is_an_error_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", "2031")
    assert code == 1 and out == "" and "There is no job “2031”" in err and "jobs list" in err
    assert run(capsys, "cancel", "x")[0] == 1
