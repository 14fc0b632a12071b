"""A batch that is killed again and again, by one runner and by two at once: every row exactly once."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.extract.run import RunRequest
from core.store import Store
from tests.core import extract_stub
from tests.core.extract_batches import command, committed, records, request, sentences

IN_HAND = 32
"""Calls that a runner may have under way: they may reach the log behind the count, and are asked again after a kill."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "asked.log"


@pytest.fixture
def stub(workspace: Path, log: Path) -> Iterator[str]:
    with extract_stub.running(log) as ref:
        yield ref


def started(wanted: RunRequest) -> subprocess.Popen:
    with (wanted.input.parent / "errors.log").open("ab") as errors:
        return subprocess.Popen(
            command(wanted),
            cwd=extract_stub.PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def kill_repeatedly(wanted: RunRequest, log: Path, *, kills: int, runners: int) -> None:
    """Kill one of the runners, ever another, as soon as some more rows are done; then let them come to their end."""
    texts = wanted.input.read_text(encoding="utf-8").splitlines()[1:]
    chance = random.Random(7)
    seen: list[tuple[int, set[str]]] = []
    running = [started(wanted) for _ in range(runners)]
    most = max(1, len(texts) // (2 * kills))
    try:
        for _ in range(kills):
            goal = len(committed(wanted.out)) + chance.randint(1, most)
            until = time.monotonic() + 120
            while len(committed(wanted.out)) < goal and time.monotonic() < until:
                time.sleep(0.02)
            victim = chance.randrange(runners)
            assert running[victim].poll() is None, (wanted.input.parent / "errors.log").read_text(encoding="utf-8")
            running[victim].send_signal(signal.SIGKILL)
            running[victim].wait()
            # From here on no committed row may be asked again; what is in the air may still reach the log.
            seen.append((len(extract_stub.asked(log)), committed(wanted.out)))
            running[victim] = started(wanted)
        for process in running:
            assert process.wait(timeout=600) == 0
    finally:
        for process in running:
            process.kill()
            process.wait()
    asked = extract_stub.asked(log)
    for position, done in seen:
        assert not done & set(asked[position + runners * IN_HAND :]), "a finished row was asked again"
    assert len(asked) <= len(texts) + kills * IN_HAND, "at most what was in hand at a kill is asked again"


def check_rows(wanted: RunRequest, texts: list[str]) -> None:
    rows = records(wanted.out)
    assert [row["text"] for row in rows] == texts
    assert all(row["error"] is None and len(row["entities"]) == 1 for row in rows)
    assert Store(wanted.out).counts().rows == Store(wanted.out).last(), "no row was written twice"


def killed(tmp_path: Path, stub: str, log: Path, *, rows: int, kills: int, runners: int) -> None:
    texts = [f"{text} SLOW" if number % 10 == 0 else text for number, text in enumerate(sentences(rows))]
    wanted = request(tmp_path, texts, stub)
    kill_repeatedly(wanted, log, kills=kills, runners=runners)
    check_rows(wanted, texts)


@pytest.mark.alone
def test_a_killed_run_goes_on_with_every_row_exactly_once(tmp_path: Path, stub: str, log: Path) -> None:
    killed(tmp_path, stub, log, rows=120, kills=2, runners=1)


@pytest.mark.alone
def test_two_runners_of_which_one_is_killed_make_every_row_exactly_once(tmp_path: Path, stub: str, log: Path) -> None:
    killed(tmp_path, stub, log, rows=240, kills=2, runners=2)


@pytest.mark.soak
@pytest.mark.parametrize("runners", [1, 2])
def test_a_hundred_kills_over_eight_thousand_rows(tmp_path: Path, stub: str, log: Path, runners: int) -> None:
    killed(tmp_path, stub, log, rows=8000, kills=100, runners=runners)


def test_a_runner_waits_for_what_another_has_in_hand_and_takes_it_over_when_that_one_dies(
    tmp_path: Path, stub: str, log: Path
) -> None:
    texts = [f"{text} SLOW" for text in sentences(24)]
    wanted = request(tmp_path, texts, stub)
    first = started(wanted)
    try:
        until = time.monotonic() + 60
        while not committed(wanted.out) and time.monotonic() < until:
            time.sleep(0.02)
        second = started(wanted)  # all rows are the first one's: it has nothing to do but wait
        time.sleep(0.3)
        first.kill()
        assert second.wait(timeout=60) == 0
    finally:
        first.kill()
        first.wait()
    check_rows(wanted, texts)
    assert len(extract_stub.asked(log)) <= len(texts) + IN_HAND
