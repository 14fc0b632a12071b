"""Jobs as folders: listing, broken folders, events read from their end, causes of death. No processes here."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from core.errors import UserError
from core.jobs import death, events, files, store
from core.jobs.events import Recorder, Seen, SeriesReader


def make_job(number: int, result: bool = True) -> Path:
    """A finished job's folder, as its worker leaves it."""
    folder = store.paths.jobs() / f"20261124-080{number // 100:03d}-{number % 1000:03d}-abcdef"
    folder.mkdir()
    request = {"operation": "extract run", "request": {"input": "x.csv"}, "created": 1e9 + number, "cwd": "/"}
    events_of = {"attempt": 1, "time": 1e9, "kind": "progress", "done": number, "total": 1000, "unit": "rows"}
    (folder / files.REQUEST).write_text(json.dumps(request))
    (folder / files.ATTEMPT).write_text(json.dumps({"attempt": 1, "time": 1e9}))
    (folder / files.STARTED).write_text(json.dumps({"attempt": 1, "time": 1e9, "oom_kills": 0}))
    (folder / files.EVENTS).write_text((json.dumps(events_of | {"rate": 2.0, "metrics": {"f1": 0.5}}) + "\n") * 300)
    (folder / files.WORKER_LOCK).touch()
    (folder / files.RUN_LOCK).touch()
    if result:
        (folder / files.RESULT).write_text(json.dumps({"attempt": 1, "state": "done", "time": 2e9, "result": {}}))
    return folder


def test_a_thousand_jobs_are_listed_in_half_a_second(workspace: Path) -> None:
    for number in range(1000):
        make_job(number, result=number % 10 > 0)
    times = []
    for _ in range(3):
        store._known.clear()  # as a new process sees them
        before = time.process_time()  # it waits for nothing, and other tests may have the processors
        jobs = store.all_jobs()
        times.append(time.process_time() - before)
    assert len(jobs) == 1000 and jobs[0].created > jobs[-1].created
    assert {job.state for job in jobs} == {"done", "died"}
    assert min(times) < 0.5, times
    assert len(store.all_jobs(limit=7)) == 7


def test_folders_that_are_no_jobs_never_break_the_list(workspace: Path) -> None:
    whole = make_job(1)
    jobs = store.paths.jobs()
    (jobs / "notes").mkdir()
    (jobs / ".DS_Store").write_bytes(b"\0")
    (jobs / "20261124-080000-001-00000a").mkdir()
    (jobs / "20261124-080000-002-00000b").write_text("a file")
    for number, content in enumerate((b"", b"\xff\xfe", b"[]", b"{", b'{"operation": "x"}', b"null")):
        broken = jobs / f"20261124-080001-{number:03d}-00000c"
        broken.mkdir()
        for name in (files.REQUEST, files.ATTEMPT, files.RESULT, files.EVENTS, files.LOG):
            (broken / name).write_bytes(content)
    assert [job.id for job in store.all_jobs()] == [whole.name]


def test_half_written_and_foreign_events_are_passed_over(workspace: Path) -> None:
    folder = make_job(5)
    with (folder / files.EVENTS).open("ab") as file:
        file.write(b'\n[1]\n7\n{"kind": "progress", "attempt": 1, "do')
    assert store.read(folder.name).done == 5
    (folder / files.RESULT).write_bytes(b'{"attempt": 1, "sta')
    assert store.read(folder.name).state == "died"


def test_a_result_of_an_earlier_attempt_does_not_count(workspace: Path) -> None:
    folder = make_job(5)
    files.write(folder / files.ATTEMPT, {"attempt": 2, "time": time.time()})
    job = store.read(folder.name)
    assert (job.state, job.done, job.metrics, job.result) == ("starting", 0, {}, None)


@pytest.mark.parametrize("id", ["", "..", "../../etc", "20261124-080000-001-00000a/..", "no such"])
def test_an_id_never_leads_out_of_the_jobs_folder(workspace: Path, id: str) -> None:
    with pytest.raises(UserError, match="There is no job"):
        store.read(id)
    with pytest.raises(UserError, match="There is no job"):
        store.remove(id)
    assert store.log_lines(id) == [] and store.metric_series(id) == {}


def test_an_id_may_be_cut_short_while_it_is_clear(workspace: Path) -> None:
    first, second = make_job(1), make_job(201)
    assert store.find(first.name[:17]).id != store.find(second.name).id
    with pytest.raises(UserError, match="start of 2 job ids"):
        store.find("2026")
    with pytest.raises(UserError, match="There is no job “1999”"):
        store.find("1999")


def test_a_recorder_writes_little_and_its_last_words_always(tmp_path: Path) -> None:
    path = tmp_path / files.EVENTS
    with Recorder(path, 1) as recorder:
        for number in range(50_000):
            recorder.step(number, 50_000, "rows")
            recorder.metric(loss=1 / (number + 1))
    assert path.stat().st_size < 20_000
    seen = events.last_seen(path, 1)
    assert (seen.done, seen.total, seen.unit) == (49_999, 50_000, "rows")
    assert seen.metrics == {"loss": 1 / 50_000}
    assert events.last_seen(path, 2) == Seen()


def test_what_came_too_soon_is_brought_out_by_the_next_beat(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / files.EVENTS, 1)
    recorder.step(1, 10, "files")
    recorder.step(2, 10, "files")
    assert events.last_seen(tmp_path / files.EVENTS, 1).done == 1
    time.sleep(events.FASTEST)
    recorder.beat()
    seen = events.last_seen(tmp_path / files.EVENTS, 1)
    assert seen.done == 2 and 0 < seen.memory_free <= 1  # type: ignore[operator]


def test_the_rate_after_a_restart_counts_only_what_this_attempt_did(tmp_path: Path) -> None:
    with Recorder(tmp_path / files.EVENTS, 2) as recorder:
        recorder.step(1000, 1010, "rows")
        time.sleep(0.5)
        recorder.step(1010, 1010, "rows")
    rate = events.last_seen(tmp_path / files.EVENTS, 2).rate
    assert 10 < rate <= 20  # type: ignore[operator]


def test_series_are_read_on_from_where_the_last_look_stopped(tmp_path: Path) -> None:
    path = tmp_path / files.EVENTS
    line = '{"attempt": 1, "time": 1, "kind": "metric", "at": %d, "values": {"loss": %d}}\n'
    path.write_text(line % (1, 9) + (line % (2, 8))[:30])
    reader = SeriesReader(path)
    assert reader.read() == {"loss": [(1.0, 9.0)]}
    with path.open("a") as file:
        file.write((line % (2, 8))[30:])
    assert reader.read() == {"loss": [(1.0, 9.0), (2.0, 8.0)]}
    many = {"loss": [(float(n), 0.0) for n in range(10_001)]}
    assert len(events.thinned(many, 100)["loss"]) <= 101 and events.thinned(many, 100)["loss"][-1] == (10_000.0, 0.0)


def test_the_end_of_a_huge_log_is_read_at_once(tmp_path: Path) -> None:
    log = tmp_path / files.LOG
    with log.open("wb") as file:
        file.truncate(3_000_000_000)  # sparse
        file.seek(0, 2)
        file.write(b"\nfirst\n 1%\r 50%\r100% done\r\n\xff last\n")
    before = time.perf_counter()
    assert events.log_tail(log, 3) == ["first", "100% done", "\\xff last"]
    assert time.perf_counter() - before < 0.1
    assert events.log_tail(tmp_path / "none", 3) == []


@pytest.mark.parametrize(
    ("code", "kills", "free", "said"),
    [
        (-9, 1, 0.5, "killed this job because memory ran out"),
        (-9, 0, 0.02, "2% of the memory was free"),
        (-9, 0, 0.5, "ended from outside (SIGKILL)"),
        (-9, None, None, "ended from outside (SIGKILL)"),
        (-15, 0, 0.5, "ended from outside (SIGTERM)"),
        (-4, 1, 0.5, "crashed (SIGILL)"),
        (3, 0, 0.5, "exit code 3"),
        (-99, 0, 0.5, "crashed (99)"),
    ],
)
def test_the_cause_of_death(tmp_path: Path, code: int, kills: int | None, free: float | None, said: str) -> None:
    (tmp_path / files.LOG).write_text("--- attempt 1\nloading the model\nlast words {curly}\n")
    started = {"time": time.time(), "oom_kills": None if kills is None else 0}
    error = death.cause(tmp_path, started, {"code": code, "oom_kills": kills}, Seen(memory_free=free))
    assert said in str(error) and "last words {curly}" in str(error) and "attempt 1" not in str(error)


def test_a_death_that_nobody_saw(tmp_path: Path) -> None:
    now = {"time": time.time(), "oom_kills": None}
    assert "killed from outside" in str(death.cause(tmp_path, now, None, Seen()))
    assert "computer was restarted" in str(death.cause(tmp_path, {**now, "time": 1.0}, None, Seen()))
    assert "did not start" in str(death.cause(tmp_path, None, None, Seen()))


def test_the_kernels_kills_are_counted_where_the_kernel_tells() -> None:
    assert death.oom_kills() is None or death.oom_kills() >= 0  # type: ignore[operator]


def test_a_full_disk_is_said_when_a_job_is_submitted(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.jobs.commands import ListRequest

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(UserError, match="could not be started"):
        store.submit(ListRequest())
    assert store.all_jobs() == []
