"""A file of cases through a model whose answers are known (a stub on loopback): compared, resumed, refused in words."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import paths
from core.errors import UserError
from core.inference import cases
from core.inference.cases import CasesRequest
from core.inference.decoding import Decoding
from core.inference.likeness import compare
from core.inference.prompting import alpaca
from core.operation import Silent
from tests.core import serve_stub


@pytest.fixture
def stub(workspace: Path) -> Iterator[serve_stub.Server]:
    with serve_stub.running() as server:
        yield server


def lines(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def run(stub: serve_stub.Server, file: Path, out: Path, **options: Any) -> cases.CasesResult:
    return cases.run(CasesRequest(file=file, out=out, model=stub.ref, **options), Silent())


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_csv(path: Path) -> list[dict]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_answers_stand_beside_what_was_expected(stub: serve_stub.Server, tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    text = "prompt,input,expected,temperature,seed,note\n"
    text += 'hello,,You said: hello,0.7,5,kept\n"你好 😀",,世界,,,\n"two\nlines","more, text",two lines,,,"=1+1"\n'
    file.write_text(text, encoding="utf-8-sig")
    result = run(stub, file, tmp_path / "out.csv", decoding=Decoding(max_tokens=99))
    assert (result.rows, result.failed, result.compared, result.exact, result.contains) == (3, 0, 3, 1, 2)
    assert result.similarity is not None
    assert "exact 1, contained 2 of 3" in result.summary()
    rows = read_csv(tmp_path / "out.csv")
    assert [row["answer"] for row in rows][:2] == ["You said: hello ", "You said: 你好 😀 "]
    assert rows[0]["exact"] == "true" and rows[0]["similarity"] == "1.0" and rows[0]["note"] == "kept"
    assert rows[2]["note"] == "'=1+1"  # Excel would compute it
    assert rows[2]["prompt"] == "two\nlines"
    first, second, third = stub.asked
    assert (first["temperature"], first["seed"], first["max_tokens"]) == (0.7, 5, 99)
    assert (second["temperature"], second.get("seed"), second["max_tokens"]) == (0.0, None, 99)
    assert third["messages"] == [{"role": "user", "content": "two\nlines\n\nmore, text"}]


def test_a_row_is_asked_in_the_form_that_is_wished(stub: serve_stub.Server, tmp_path: Path) -> None:
    file = lines(tmp_path / "cases.jsonl", {"prompt": "Extract.", "input": "Ada wrote."}, {"prompt": "Sing."})
    run(stub, file, tmp_path / "alpaca.jsonl", form="alpaca")
    run(stub, file, tmp_path / "raw.jsonl", form="raw")
    assert [body["prompt"] for body in stub.asked] == [
        alpaca("Extract.", "Ada wrote."),
        alpaca("Sing."),
        "Extract.\n\nAda wrote.",
        "Sing.",
    ]
    file = lines(tmp_path / "system.jsonl", {"prompt": "x", "system": "Be kind."})
    run(stub, file, tmp_path / "chat.jsonl")
    assert stub.asked[-1]["messages"][0] == {"role": "system", "content": "Be kind."}
    with pytest.raises(UserError, match="system prompt"):
        run(stub, file, tmp_path / "raw2.jsonl", form="raw")


def test_a_second_call_asks_only_what_is_missing(stub: serve_stub.Server, tmp_path: Path) -> None:
    one, two, three = ({"prompt": word, "expected": word} for word in ("one", "two", "three"))
    for out in (tmp_path / "out.jsonl", tmp_path / "out.csv"):
        stub.asked.clear()
        file = lines(tmp_path / "cases.jsonl", one, two, one)
        assert run(stub, file, out).asked == 3
        again = run(stub, file, out)
        assert (again.asked, again.rows, again.contains, len(stub.asked)) == (0, 3, 3, 3)
        lines(file, three, one, two)
        more = run(stub, file, out)
        assert (more.asked, more.rows) == (1, 3)
        read = read_csv if out.suffix == ".csv" else read_lines
        assert [row["prompt"] for row in read(out)] == ["three", "one", "two"]
        with pytest.raises(UserError, match="other settings"):
            run(stub, file, out, decoding=Decoding(temperature=1))
        assert len(read(out)) == 3


@pytest.mark.parametrize("suffix", [pytest.param(".csv", marks=pytest.mark.soak), ".jsonl"])
def test_a_killed_run_goes_on_where_it_stopped(stub: serve_stub.Server, tmp_path: Path, suffix: str) -> None:
    file = lines(tmp_path / "cases.jsonl", *({"prompt": f"{n} says “hi,\n好”"} for n in range(400)))
    out = tmp_path / f"out{suffix}"
    words = ["--file", str(file), "--out", str(out), "--model", stub.ref]
    with subprocess.Popen(
        [sys.executable, "-m", "core", "chat", "cases", *words], cwd=paths.PROJECT, stderr=subprocess.DEVNULL
    ) as process:
        until = time.monotonic() + 60
        while len(stub.asked) < 10:
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = len(stub.asked)
    assert before < 400
    os.truncate(out, out.stat().st_size - 7)  # a last line cut short
    result = run(stub, file, out)
    assert (result.rows, result.failed) == (400, 0)
    assert result.asked >= 400 - before
    assert len(stub.asked) <= 402
    rows = read_csv(out) if suffix == ".csv" else read_lines(out)
    assert [row["answer"] for row in rows] == [f"You said: {n} says “hi, 好” " for n in range(400)]


def test_a_row_that_fails_says_why_and_is_asked_again(stub: serve_stub.Server, tmp_path: Path) -> None:
    file = lines(tmp_path / "cases.jsonl", {"prompt": "one"}, {"prompt": "BROKEN"}, {"prompt": "two"})
    out = tmp_path / "out.csv"
    assert run(stub, file, out).failed == 1
    assert "told to fail" in read_csv(out)[1]["error"]
    again = run(stub, file, out)
    assert (again.failed, again.asked, len(stub.asked)) == (1, 1, 4)


def test_it_does_not_go_on_failing_for_ever(stub: serve_stub.Server, tmp_path: Path) -> None:
    file = lines(tmp_path / "cases.jsonl", *({"prompt": f"BROKEN {n}"} for n in range(50)))
    with pytest.raises(UserError, match="told to fail"):
        run(stub, file, tmp_path / "out.jsonl")
    assert len(stub.asked) == cases.FAILURES_IN_A_ROW
    assert len(read_lines(tmp_path / "out.jsonl")) == cases.FAILURES_IN_A_ROW


def test_the_plan_tells_without_asking(stub: serve_stub.Server, tmp_path: Path) -> None:
    file = lines(tmp_path / "cases.jsonl", {"prompt": "one", "expected": "1"}, {"prompt": "two"})
    request = CasesRequest(file=file, out=tmp_path / "out.csv", model=stub.ref)
    assert cases.plan(request)[0] == "ask 2 of 2 rows in the form chat"
    assert not stub.asked
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"question,expected\nx,y\n", "no column"),
        ("a.csv", b"", "no column"),
        ("a.csv", b"prompt,temperature\nx,hot\n", "In row 1"),
        ("a.csv", b"prompt,temperature\nx,0.5\ny,99\n", "In row 2"),
        ("a.csv", b"prompt,answer\nx,y\n", "named like one of the results"),
        ("a.csv", b"prompt,expected\nx,y,z\n", "more cells"),
        ("a.csv", b"prompt,expected\n,y\n", "Row 1"),
        ("a.csv", "prompt\n你好\n".encode("gb18030"), "UTF-8"),
        ("a.jsonl", b'{"prompt": "x"}\n{"prompt": \n', "Line 2"),
        ("a.jsonl", b'{"prompt": 5}\n', "not a text"),
        ("a.jsonl", b"[1]\n", "Line 1"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_asked(
    stub: serve_stub.Server, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError, match=says):
        run(stub, file, tmp_path / "out.csv")
    assert not stub.asked


def test_files_of_other_programs_are_read(stub: serve_stub.Server, tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    for content in ("prompt;expected\r\nhi;hi\r\n".encode("utf-8-sig"), "prompt\texpected\nhi\thi\n".encode("utf-16")):
        file.write_bytes(content)
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        assert run(stub, file, tmp_path / "out.jsonl").contains == 1
    file.with_suffix(".jsonl").write_bytes(b'{"prompt": "half \\ud800 pair"}\n')
    assert run(stub, file.with_suffix(".jsonl"), tmp_path / "half.jsonl").failed == 0


def test_nothing_of_somebody_elses_is_overwritten(stub: serve_stub.Server, tmp_path: Path) -> None:
    file = lines(tmp_path / "cases.jsonl", {"prompt": "x"})
    other = tmp_path / "notes.csv"
    other.write_text("day,what\n1,rain\n")
    with pytest.raises(UserError, match="holds no results"):
        run(stub, file, other)
    with pytest.raises(UserError, match="would replace"):
        run(stub, file, file)
    with pytest.raises(UserError, match="csv"):
        run(stub, file, tmp_path / "out.txt")
    assert other.read_text() == "day,what\n1,rain\n"


def test_likeness() -> None:
    same = compare(" cafe\u0301\n", "café")
    assert (same.exact, same.contains, same.similarity) == (True, True, 1.0)
    part = compare("It is Paris.", "Paris")
    assert (part.exact, part.contains) == (False, True)
    assert 0 < part.similarity < 1
    assert compare("", "x").similarity == 0
    assert compare("word " * 2000, "word " * 2000 + "more").similarity > 0.99
