"""Jobs: real processes, really killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core import operation
from core.errors import UserError
from core.jobs import files, processes, store
from core.jobs.store import Job
from core.operation import Request
from tests.core.job_operations import OPERATIONS, CountRequest, MisbehaveRequest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent")


@pytest.fixture(autouse=True)
def job_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace whose jobs know the test operations; whatever a test leaves running is killed."""
    monkeypatch.setattr(operation, "_operations", {**operation.operations(), **OPERATIONS})
    monkeypatch.setattr(store, "WORKER", "tests.core.job_operations")
    yield workspace
    for job in store.all_jobs():
        processes.kill(processes.members(job.folder))


def until(happened: Callable[[], object], patience: float = 20) -> None:
    end = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def submit_running(request: Request, line: str) -> Job:
    """A job that has logged this line."""
    job = store.submit(request)
    until(lambda: any(line in logged for logged in store.log_lines(job.id)))
    return store.read(job.id)


def ended(job: Job) -> Job:
    job = store.wait(job.id, timeout=25)
    assert job.over, store.log_lines(job.id)
    return job


def worker(job: Job) -> psutil.Process:
    """The process that stands over the attempt."""
    return next(
        p for p in processes.members(job.folder) if "--attempt" not in p.cmdline() and p.pid == os.getsid(p.pid)
    )


def attempt(job: Job) -> psutil.Process:
    """The process that runs the operation."""
    return next(p for p in processes.members(job.folder) if "--attempt" in p.cmdline())


def logged_child(job: Job) -> int:
    until(lambda: any(" child " in line for line in store.log_lines(job.id)))
    return int(next(line for line in store.log_lines(job.id) if " child " in line).split()[-1])


def counted(path: Path) -> list[str]:
    return path.read_text().split()


def test_a_job_runs_and_hands_back_its_result(tmp_path: Path) -> None:
    job = store.submit(CountRequest(to=5, out=tmp_path / "out"))
    assert job.state in ("starting", "running")
    job = ended(job)
    assert (job.state, job.result, job.summary) == ("done", {"counted": 5}, "Counted 5.")
    assert (job.done, job.total, job.unit, job.metrics) == (5, 5, "numbers", {"square": 16})
    assert job.operation == "test count" and job.request["to"] == 5
    assert job.created <= job.started <= job.ended  # type: ignore[operator]
    assert any("counted 4" in line for line in store.log_lines(job.id))
    assert store.metric_series(job.id)["square"][-1] == (5.0, 16.0)


def test_a_running_job_shows_progress_rate_and_time_left(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=1000, out=tmp_path / "out", pause=0.05), "counted 20")
    until(lambda: store.read(job.id).rate)
    job = store.read(job.id)
    assert job.state == "running" and 20 <= job.done < 1000
    assert 5 < job.rate < 21 and job.eta > 30  # type: ignore[operator]


def test_relative_paths_count_from_where_the_person_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "core").mkdir()  # and a folder of the same name as ours does no harm there
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit('the wrong core')")
    monkeypatch.chdir(tmp_path)
    assert ended(store.submit(CountRequest(to=2, out=Path("here")))).state == "done"
    assert counted(tmp_path / "here") == ["0", "1"]


def test_what_does_not_fit_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of memory"):
        store.submit(CountRequest(to=1, out=tmp_path / "out", memory=10**15))
    assert store.all_jobs() == []


def test_a_user_error_is_the_jobs_error() -> None:
    job = ended(store.submit(MisbehaveRequest(how="refuse")))
    assert job.state == "failed"
    assert str(job.error) == "The file x.csv is empty. Choose another."


def test_an_unexpected_error_names_the_log_with_its_traceback() -> None:
    job = ended(store.submit(MisbehaveRequest(how="stumble")))
    assert job.state == "failed" and "seven is not eight" in str(job.error) and str(job.log) in str(job.error)
    assert any("Traceback" in line for line in store.log_lines(job.id))


def test_an_exit_in_the_middle_is_a_failure() -> None:
    assert ended(store.submit(MisbehaveRequest(how="exit_quietly"))).state == "failed"


def test_an_exit_code_without_a_result_is_a_death() -> None:
    job = ended(store.submit(MisbehaveRequest(how="leave")))
    assert job.state == "died" and "exit code 7" in str(job.error) and "about to leave" in str(job.error)


def test_a_crash_is_named_by_its_signal() -> None:
    job = ended(store.submit(MisbehaveRequest(how="crash")))
    assert job.state == "died" and "SIGSEGV" in str(job.error)


def test_a_killed_operation_has_died(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=1000, out=tmp_path / "out", pause=0.05), "counted 3")
    attempt(job).kill()
    job = ended(job)
    assert job.state == "died" and "SIGKILL" in str(job.error) and "counted" in str(job.error)
    assert job.done > 0 and job.ended


def test_a_killed_group_has_died(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=1000, out=tmp_path / "out", pause=0.05), "counted 3")
    os.killpg(worker(job).pid, signal.SIGKILL)
    job = ended(job)
    assert job.state == "died" and "killed from outside" in str(job.error)


def test_an_operation_whose_worker_is_killed_goes_on_and_finishes(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=40, out=tmp_path / "out", pause=0.05), "counted 3")
    worker(job).kill()
    assert store.read(job.id).state == "running"
    job = ended(job)
    assert job.state == "done" and len(counted(tmp_path / "out")) == 40


def test_an_operation_whose_worker_is_killed_can_be_cancelled(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=1000, out=tmp_path / "out", pause=0.05), "counted 3")
    worker(job).kill()
    until(lambda: not files.is_held(job.folder, files.WORKER_LOCK))
    store.cancel(job.id)
    assert ended(job).state == "cancelled"


def test_a_job_ended_from_outside_by_term_has_died_and_was_not_cancelled(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=1000, out=tmp_path / "out", pause=0.05), "counted 3")
    worker(job).terminate()
    job = ended(job)
    assert job.state == "died" and "SIGTERM" in str(job.error)


def test_cancel_returns_at_once_and_the_job_ends_cancelled(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=1000, out=tmp_path / "out", pause=0.05), "counted 3")
    before = time.monotonic()
    store.cancel(job.id)
    assert time.monotonic() - before < 1
    job = ended(job)
    assert job.state == "cancelled" and job.error is None
    assert time.monotonic() - before < 5
    store.cancel(job.id)  # once more: it is over, which is what was wanted
    assert store.read(job.id).state == "cancelled"


def test_cancel_gets_through_to_code_that_swallows_exceptions() -> None:
    job = submit_running(MisbehaveRequest(how="eat_errors"), "about to")
    store.cancel(job.id)
    assert ended(job).state == "cancelled"


def test_a_job_that_ignores_term_is_killed_with_its_children() -> None:
    job = submit_running(MisbehaveRequest(how="ignore_term"), "deaf")
    child = logged_child(job)
    before = time.monotonic()
    store.cancel(job.id)
    job = store.read(job.id)
    assert job.state == "running" and job.cancelling
    job = ended(job)
    assert job.state == "cancelled" and time.monotonic() - before > processes.GRACE - 1
    until(lambda: not psutil.pid_exists(child))


def test_a_cancelled_job_takes_children_in_other_sessions_with_it() -> None:
    job = submit_running(MisbehaveRequest(how="leave_children"), " child ")
    child = logged_child(job)
    store.cancel(job.id)
    assert ended(job).state == "cancelled"
    until(lambda: not psutil.pid_exists(child))


def test_children_of_a_killed_operation_do_not_stay_behind() -> None:
    job = submit_running(MisbehaveRequest(how="leave_children"), " child ")
    child = logged_child(job)
    attempt(job).kill()
    assert ended(job).state == "died"
    until(lambda: not psutil.pid_exists(child))


def test_a_job_cancelled_before_it_began_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = processes.start_worker
    monkeypatch.setattr(processes, "start_worker", lambda *_: None)
    job = store.submit(CountRequest(to=3, out=tmp_path / "out"))
    assert job.state == "starting"
    store.cancel(job.id)
    assert store.read(job.id).state == "cancelled"
    start(job.folder, tmp_path, store.WORKER)
    until(lambda: (job.folder / files.WORKER_LOCK).exists() and not files.is_running(job.folder))
    assert not (tmp_path / "out").exists()


def test_a_worker_that_never_came_has_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "start_worker", lambda *_: None)
    monkeypatch.setattr(store, "START_TIME", 0.0)
    job = store.submit(CountRequest(to=3, out=tmp_path / "out"))
    assert job.state == "died" and "did not start" in str(job.error)


def test_a_finished_operation_whose_process_stays_is_done_and_then_ended() -> None:
    job = ended(store.submit(MisbehaveRequest(how="stay_after_the_end")))
    assert job.state == "done"
    until(lambda: not processes.members(job.folder), patience=20)


def test_restart_goes_on_where_the_killed_attempt_stopped(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=60, out=tmp_path / "out", pause=0.05), "counted 9")
    attempt(job).kill()
    kept = len(counted(tmp_path / "out")) if ended(job).state == "died" else 0
    again = store.restart(job.id)
    assert again.id == job.id and again.attempt == 2 and not again.over and again.error is None
    again = ended(again)
    assert again.state == "done" and again.result == {"counted": 60 - kept}
    assert counted(tmp_path / "out") == [str(number) for number in range(60)]
    lines = store.log_lines(job.id)
    assert [line.split(",")[0] for line in lines if line.startswith("---")] == ["--- attempt 1", "--- attempt 2"]
    assert len(store.metric_series(job.id)["square"]) > 2


def test_a_job_killed_again_and_again_does_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = submit_running(CountRequest(to=50, out=out, pause=0.02), "counted 2")
    for kill in (lambda: attempt(job).kill(), lambda: os.killpg(worker(job).pid, signal.SIGKILL)) * 2:
        before = len(counted(out))
        kill()
        assert ended(job).state == "died"
        store.restart(job.id)
        until(lambda before=before: len(counted(out)) > before + 2)  # type: ignore[misc]
    assert ended(job).state == "done"
    assert counted(out) == [str(number) for number in range(50)]


def test_a_running_job_is_neither_restarted_nor_removed(tmp_path: Path) -> None:
    job = submit_running(CountRequest(to=1000, out=tmp_path / "out", pause=0.05), "counted 3")
    for refused in (store.restart, store.remove):
        with pytest.raises(UserError, match="still running"):
            refused(job.id)


def test_two_restarts_at_once_run_one_attempt(tmp_path: Path) -> None:
    job = ended(store.submit(CountRequest(to=3, out=tmp_path / "out")))
    (tmp_path / "out").unlink()
    together(lambda: pytest_ignores(UserError, lambda: store.restart(job.id)), times=4)
    assert ended(job).state == "done"
    until(lambda: not processes.members(job.folder))
    assert sum(line.startswith("--- attempt") for line in store.log_lines(job.id)) == 2


def test_a_restart_whose_operation_is_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ended(store.submit(CountRequest(to=1, out=tmp_path / "out")))
    request = json.loads((job.folder / files.REQUEST).read_text())
    files.write(job.folder / files.REQUEST, {**request, "request": {"to": 1, "until": 3}})
    with pytest.raises(UserError, match="no longer fits “test count”: out: Field required"):
        store.restart(job.id)
    monkeypatch.delitem(operation._operations, "test count")
    with pytest.raises(UserError, match="no operation “test count”"):
        store.restart(job.id)
    assert store.read(job.id).state == "done"


def test_removing_a_job_leaves_its_output(tmp_path: Path) -> None:
    job = ended(store.submit(CountRequest(to=1, out=tmp_path / "out")))
    until(lambda: not files.is_running(job.folder))
    store.remove(job.id)
    assert store.all_jobs() == [] and not job.folder.exists() and (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no job"):
        store.read(job.id)


def test_jobs_submitted_at_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    together(lambda: store.submit(CountRequest(to=1, out=tmp_path / "out")), times=6)
    jobs = store.all_jobs()
    assert len({job.id for job in jobs}) == 6
    assert all(ended(job).state == "done" for job in jobs)
    assert [job.id for job in jobs] == sorted((job.id for job in jobs), reverse=True)


def test_looking_at_a_job_never_stops_it_from_starting(tmp_path: Path) -> None:
    looking = threading.Event()
    states: set[str] = set()

    def look() -> None:
        while not looking.is_set():
            states.update(job.state for job in store.all_jobs())
            time.sleep(0.001)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    [looker.start() for looker in lookers]
    for number in range(4):
        job = ended(store.submit(CountRequest(to=3, out=tmp_path / f"{number}")))
        assert job.state == "done", (job.error, store.log_lines(job.id))
    looking.set()
    [looker.join() for looker in lookers]
    assert states <= {"starting", "running", "done"}


def test_a_flood_of_progress_stays_small_and_its_end_is_seen() -> None:
    job = ended(store.submit(MisbehaveRequest(how="flood")))
    assert job.state == "done" and job.done == 200_000 and job.metrics["level"] == 199_999
    assert (job.folder / files.EVENTS).stat().st_size < 100_000
    assert len(store.log_lines(job.id, last=1)[0]) <= 4000


def together(act: Callable[[], object], times: int) -> None:
    failures: list[BaseException] = []

    def once() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=once) for _ in range(times)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures


def pytest_ignores(kind: type[Exception], act: Callable[[], object]) -> None:
    try:
        act()
    except kind:
        return
