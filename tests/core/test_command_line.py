"""The command line: what is typed, what is printed where, and the exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from core import __main__ as command_line
from core import operation as operations
from core.errors import UserError
from core.operation import Needs, Progress, Request, Result, operation
from tests.conftest import PROJECT


class DoubleRequest(Request):
    """Double a number."""

    number: int = Field(description="What to double", ge=0, le=100)
    words: tuple[str, ...] = Field(default=(), description="Words to carry along")


class DoubleResult(Result):
    doubled: int
    words: tuple[str, ...] = ()

    def summary(self) -> str:
        return f"doubled: {self.doubled}"


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    """The operation `test double`, known for this test only."""
    operations.operations()
    monkeypatch.setattr(operations, "_operations", dict(operations._operations))

    @operation("test", "double", estimate=lambda request: Needs(ram=1 << (10 + request.number)))
    def run(request: DoubleRequest, progress: Progress) -> DoubleResult:
        if request.number == 13:
            raise UserError("{number} is unlucky.", remedy="Choose another.", number=13)
        progress.step(1, 1, "number")
        return DoubleResult(doubled=2 * request.number, words=request.words)


def run_core(*words: str, at: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core", *words],
        cwd=at,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_result_is_printed_for_people_and_whole_for_machines(double, capsys):
    assert command_line.main(["test", "double", "--number", "4"]) == 0
    assert capsys.readouterr().out == "doubled: 8\n"
    assert command_line.main(["test", "double", "--number", "4", "--words", "a", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"doubled": 8, "words": ["a", "b"]}


def test_a_user_error_is_one_line_on_stderr_and_exit_code_1(double, capsys):
    assert command_line.main(["test", "double", "--number", "13"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "error: 13 is unlucky. Choose another."


@pytest.mark.parametrize("words", [["--number", "101"], ["--number", "many"], [], ["--nunber", "3"]])
def test_wrong_usage_is_exit_code_2(double, words):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["test", "double", *words])
    assert stopped.value.code == 2


def test_the_plan_names_needs_and_writes_nothing(double, capsys):
    assert command_line.main(["test", "double", "--number", "3", "--plan"]) == 0
    assert "memory: 8.19 kB" in capsys.readouterr().out


def test_what_does_not_fit_is_refused_before_it_starts(double, capsys):
    assert command_line.main(["test", "double", "--number", "60", "--plan", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["does_not_fit"]
    assert command_line.main(["test", "double", "--number", "60"]) == 1
    assert "of memory" in capsys.readouterr().err


def test_help_and_unknown_words_in_a_real_process(workspace):
    helped = run_core("--help")
    assert helped.returncode == 0
    assert "extract run" in helped.stdout
    unknown = run_core("no", "such")
    assert unknown.returncode == 2
    assert unknown.stdout == ""
    assert run_core("models", "--help").stdout.count("\n  models ") >= 2


def test_listing_operations_imports_nothing_heavy(workspace):
    code = (
        "import sys; from core.operation import operations; operations(); "
        "heavy = {'torch', 'transformers', 'pandas', 'xllamacpp', 'gguf', 'streamlit'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_adding_an_operation_is_adding_a_file(workspace, tmp_path):
    copy = tmp_path / "checkout"
    for name in ("core", "train"):
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", copy)
    (copy / "train" / "added.py").write_text(
        "from core.operation import Progress, Request, Result, operation\n\n\n"
        'class AddedRequest(Request):\n    """Added by a test."""\n\n\n'
        '@operation("added", "file")\ndef run(request: AddedRequest, progress: Progress) -> Result:\n'
        "    return Result()\n"
    )
    assert "added file" in run_core("--help", at=copy).stdout
    assert run_core("added", "file", "--json", at=copy).returncode == 0
