"""`graph build` as it is called, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from core.graph import files, source
from core.graph.run import BuildRequest, estimate, run
from core.operation import Silent
from core.paths import ASSETS
from core.records import Entity, Extraction
from tests.conftest import PROJECT

SAMPLE = ASSETS / "samples" / "sample_run"
MADE = {
    *("nodes.csv", "edges.csv", "graph.jsonl", "graph.html", "graph.graphml", "graph.json"),
    *("evidence.sqlite", "audit.json"),
}


def test_the_command_makes_every_file_and_says_what(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "core", "graph", "build", "--run", str(SAMPLE), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (tmp_path / "out").iterdir()} == MADE
    assert "50 nodes, 54 edges, 12 components, from 15 rows" in done.stdout
    assert "nodes.csv" in done.stdout


def test_what_is_read_back_is_what_was_built(tmp_path: Path) -> None:
    run(BuildRequest(run=SAMPLE, out=tmp_path), Silent())
    graph, positions, origin = files.read_graph(tmp_path)
    assert set(positions) == set(graph)
    assert origin == source.fingerprint(SAMPLE)
    edge = graph.edges[("marie curie", "Person"), ("warsaw", "Location"), ("born in", "relation")]
    assert edge["evidence"][0].sentence.startswith("Marie Curie was born in Warsaw")
    row = files.read_row(tmp_path, edge["evidence"][0].doc)
    assert row == next(source.extractions(SAMPLE))
    assert files.read_row(tmp_path, "nobody") is None


def test_every_span_of_the_sample_is_where_it_says() -> None:
    for row in source.extractions(SAMPLE):
        spans = [*row.entities, *(end for relation in row.relations for end in (relation.head, relation.tail))]
        spans += [span for event in row.events for span in (event.trigger, *event.arguments)]
        assert spans
        assert all(row.text[span.start : span.end] == span.text for span in spans)


def test_building_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    (tmp_path / f".graph.json.{killed.pid}.part").touch()
    (tmp_path / f".evidence.sqlite.{killed.pid}.part-journal").touch()
    for _ in range(2):
        run(BuildRequest(run=SAMPLE, out=tmp_path), Silent())
    assert {file.name for file in tmp_path.iterdir()} == MADE


def test_writing_the_same_rows_anew_is_no_change(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "run")
    before = source.fingerprint(tmp_path / "run")
    (tmp_path / "run" / "records.jsonl").touch()
    assert source.fingerprint(tmp_path / "run") == before
    with (tmp_path / "run" / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(Extraction("new", "x").to_dict()) + "\n")
    assert source.fingerprint(tmp_path / "run") != before


def test_a_graph_keeps_its_rows_when_its_run_is_gone(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "run")
    run(BuildRequest(run=tmp_path / "run", out=tmp_path / "graph"), Silent())
    shutil.rmtree(tmp_path / "run")
    row = files.read_row(tmp_path / "graph", "sample-1")
    assert row is not None and row.entities


def test_a_lone_surrogate_and_a_nul_come_through(tmp_path: Path) -> None:
    row = Extraction("\ud800\x00", "a\ud800b\x00", (Entity("\ud800", "\x00", 1, 2),))
    (tmp_path / "records.jsonl").write_text(json.dumps(row.to_dict()) + "\n", encoding="utf-8")
    run(BuildRequest(run=tmp_path, out=tmp_path / "graph"), Silent())
    assert files.read_row(tmp_path / "graph", "\ud800\x00") == row
    assert len(files.read_graph(tmp_path / "graph")[0]) == 1


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no extraction run"):
        run(BuildRequest(run=tmp_path, out=tmp_path / "out"), Silent())
    assert estimate(BuildRequest(run=tmp_path, out=tmp_path)).ram is None


def test_an_empty_run(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="no rows yet"):
        run(BuildRequest(run=tmp_path, out=tmp_path / "out"), Silent())
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"id": 1, "text": "x"}',
        b'{"text": "x"}',
        b'{"id": "a", "text": "x", "entities": [{"name": "x"}]}',
        b'{"id": "a", "text": "x", "entities": [{"text": 1, "type": "T"}]}',
        b'{"id": "a", "text": "x", "entities": [{"text": "x", "type": "T", "start": "0", "end": 1}]}',
        b'{"id": "a", "text": "x", "relations": 7}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes) -> None:
    good = json.dumps(Extraction("a", "x").to_dict()).encode()
    (tmp_path / "records.jsonl").write_bytes(good + b"\n" + line + b"\n")
    with pytest.raises(UserError, match=r"Line 2 of .*records\.jsonl is not a record"):
        run(BuildRequest(run=tmp_path, out=tmp_path / "out"), Silent())
    assert not (tmp_path / "out" / "graph.json").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be made"):
        run(BuildRequest(run=SAMPLE, out=tmp_path / "file" / "out"), Silent())


def test_a_broken_graph_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no graph"):
        files.read_graph(tmp_path)
    (tmp_path / "graph.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"graph\.json can't be read"):
        files.read_graph(tmp_path)


def test_a_run_that_is_still_going_on_is_read_from_its_store(tmp_path: Path) -> None:
    from core.store import Writer

    row = next(source.extractions(SAMPLE))
    with Writer(tmp_path, {}) as writer:
        writer.put(0, "key", row)
        made = run(BuildRequest(run=tmp_path, out=tmp_path / "graph"), Silent())
    assert made.rows == 1
    assert made.nodes == 6


def test_rows_of_a_stopped_second_call_are_not_hidden_by_the_first_ones_files(tmp_path: Path) -> None:
    from core.extract.export import export_run
    from core.store import Writer

    with Writer(tmp_path, {}) as writer:
        writer.put(0, "a", Extraction("a", "Li", (Entity("Li", "person", 0, 2),)))
    export_run(tmp_path)
    before = source.fingerprint(tmp_path)
    with Writer(tmp_path, {}) as writer:  # killed before it came to write its files
        writer.put(1, "b", Extraction("b", "Bo", (Entity("Bo", "person", 0, 2),)))
    assert source.fingerprint(tmp_path) != before
    assert run(BuildRequest(run=tmp_path, out=tmp_path / "graph"), Silent()).rows == 2


def test_a_row_asked_again_makes_the_graph_outdated(tmp_path: Path) -> None:
    from core.store import Writer

    with Writer(tmp_path, {}) as writer:
        writer.put(0, "a", Extraction("a", "Li", error=UserError("No.", remedy="None.").to_dict()))
        before = source.fingerprint(tmp_path)
        writer.put(0, "a", Extraction("a", "Li", (Entity("L", "person", 0, 1),)))
        assert source.fingerprint(tmp_path) != before
