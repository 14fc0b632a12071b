"""Small batches for tests: the file, the request, the command, and what a folder holds afterwards."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from core.extract.run import RunRequest, RunResult, run
from core.operation import Silent


def table(path: Path, texts: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows((f"doc-{number}", text) for number, text in enumerate(texts))
    return path


def sentences(count: int) -> list[str]:
    return [f"Person{number} lives in the town of Place{number} with a dog." for number in range(count)]


def request(tmp_path: Path, texts: list[str], model: str, **more: object) -> RunRequest:
    fields: dict = {
        "input": table(tmp_path / "in.csv", texts),
        "text_column": "text",
        "id_column": "id",
        "schema_ref": "people-and-organisations-en",
        "out": tmp_path / "out",
        "model": model,
    }
    return RunRequest(**{**fields, **more})


def do(request: RunRequest) -> RunResult:
    return run(request, Silent())


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]


def command(wanted: RunRequest) -> list[str]:
    return [
        *(sys.executable, "-m", "core", "extract", "run", "--json"),
        *("--input", str(wanted.input), "--text-column", "text", "--id-column", "id", "--task", "ner"),
        *("--schema", wanted.schema_ref, "--out", str(wanted.out), "--model", wanted.model),
    ]


def committed(folder: Path) -> set[str]:
    if not (folder / "store.sqlite").exists():
        return set()
    with closing(sqlite3.connect(folder / "store.sqlite", timeout=10)) as database:
        try:
            rows = database.execute("SELECT json FROM results").fetchall()
        except sqlite3.OperationalError:  # killed before its tables were there
            return set()
    return {json.loads(text)["text"] for (text,) in rows}
