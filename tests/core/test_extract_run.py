"""`extract run` as a person meets it: the real command, a real server process, real kills."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from core.errors import UserError
from core.extract import batch, schema
from core.extract.batch import Batch, Outcome
from core.extract.calls import Options
from core.extract.export import export_run
from core.extract.run import run
from core.inference import client
from core.inference.client import Answer, HostGone
from core.models import Card, Model
from core.operation import Silent
from core.records import Document, Entity, Extraction
from core.store import Store, Writer
from tests.core import extract_stub
from tests.core.extract_batches import command, committed, do, records, request, sentences

PROJECT = extract_stub.PROJECT


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "asked.log"


@pytest.fixture
def stub(workspace: Path, log: Path) -> Iterator[str]:
    with extract_stub.running(log) as ref:
        yield ref


def test_a_run_writes_a_row_a_document_as_the_issue_describes_it(tmp_path: Path, stub: str) -> None:
    result = do(request(tmp_path, sentences(12), stub))
    rows = records(tmp_path / "out")
    assert (result.rows, result.failed, result.entities) == (12, 0, 12)
    assert [row["id"] for row in rows] == [f"doc-{number}" for number in range(12)]
    assert list(rows[3]) == [
        *("id", "text", "entities", "relations", "events", "confidence", "provenance", "error"),
    ]
    assert rows[3]["entities"] == [{"text": "Person3", "type": "person", "start": 0, "end": 7}]
    assert rows[3]["confidence"] is None
    provenance = rows[3]["provenance"]
    assert (provenance["dialect"], provenance["dialect_version"], provenance["model"]) == ("studio", 1, stub)
    with (tmp_path / "out" / "entities.csv").open(encoding="utf-8-sig", newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["row"], first["id"], first["text"], first["start"], first["end"]) == (
        "1",
        "doc-0",
        "Person0",
        "0",
        "7",
    )


def test_a_try_of_ten_rows_is_continued_by_the_whole_run_and_a_third_call_asks_nothing(
    tmp_path: Path, stub: str, log: Path
) -> None:
    assert do(request(tmp_path, sentences(25), stub, limit=10)).rows == 10
    assert do(request(tmp_path, sentences(25), stub)).asked == 15
    assert do(request(tmp_path, sentences(25), stub)).asked == 0
    assert sorted(extract_stub.asked(log)) == sorted(sentences(25))


def test_the_same_text_is_asked_once(tmp_path: Path, stub: str, log: Path) -> None:
    result = do(request(tmp_path, sentences(5) * 8, stub))
    assert (result.rows, result.asked, result.reused, result.entities) == (40, 5, 35, 40)
    assert len(extract_stub.asked(log)) == 5
    assert records(tmp_path / "out")[39]["provenance"]["same_text_as"].startswith("doc-")


def test_failed_rows_are_kept_as_such_and_asked_again_only_on_demand(tmp_path: Path, stub: str, log: Path) -> None:
    texts = [*sentences(6), "This row is BROKEN for good.", "PROSE is what this one gets.", *sentences(9)[6:]]
    result = do(request(tmp_path, texts, stub))
    rows = records(tmp_path / "out")
    assert (result.rows, result.failed) == (11, 2)
    assert "the stub was told to fail" in rows[6]["error"]["values"]["why"]
    assert rows[7]["error"]["problem"] == "The model's answer could not be understood."
    assert len(list(csv.DictReader((tmp_path / "out" / "errors.csv").open(encoding="utf-8-sig")))) == 2
    before = len(extract_stub.asked(log))
    assert do(request(tmp_path, texts, stub)).failed == 2
    assert len(extract_stub.asked(log)) == before
    do(request(tmp_path, texts, stub, retry_failed=True))
    assert len(extract_stub.asked(log)) == before + 2


class Counted(Silent):
    """Keeps the last progress and metrics."""

    def step(self, done: float, total: float | None = None, unit: str = "") -> None:
        self.at = (done, total)

    def metric(self, **values: float) -> None:
        self.values = values


def test_a_failing_row_is_counted_once_also_when_it_is_the_last_of_several_tasks(tmp_path: Path, stub: str) -> None:
    texts = [*sentences(4), "Here BROKEN ends it all.", "Here BROKEN ends it all."]
    seen = Counted()
    result = run(request(tmp_path, texts, stub, task=("ner", "re")), seen)
    assert (result.rows, result.failed) == (6, 2)
    assert seen.values["failures"] == 2
    assert seen.at == (6, 6)


def test_bad_rows_become_error_rows_and_the_batch_goes_on(tmp_path: Path, stub: str) -> None:
    source = tmp_path / "in.jsonl"
    lines = [
        '{"text": "Anna lives here."}',
        '{"text": "broken',
        '{"other": "no text"}',
        json.dumps({"text": "x" * 5_000_001}),
        '{"text": "Lone \\ud800 surrogate of Berta\\u0000."}',
        '{"text": ""}',
        '{"text": "Carl lives here."}',
    ]
    source.write_text("\n".join(lines), encoding="utf-8")
    result = do(request(tmp_path, [], stub, input=source, id_column=None))
    rows = records(tmp_path / "out")
    assert result.rows == 7
    assert [row["error"] is not None for row in rows] == [False, True, True, True, False, False, False]
    assert rows[1]["error"]["values"]["line"] == "2"
    assert "5,000,001" in rows[3]["error"]["values"]["found"]
    assert rows[4]["text"][5] == "\ud800"
    assert rows[5]["entities"] == []
    assert rows[6]["entities"][0]["text"] == "Carl"


def test_a_long_document_is_cut_and_its_records_have_the_documents_offsets(tmp_path: Path, stub: str) -> None:
    text = " ".join(f"Person{number} went home and slept until the morning came." for number in range(400))
    do(request(tmp_path, [text], stub))
    row = records(tmp_path / "out")[0]
    assert row["provenance"]["calls"] > 20
    assert len(row["entities"]) == row["provenance"]["calls"]
    assert all(text[one["start"] : one["end"]] == one["text"] for one in row["entities"])


def test_several_tasks_and_parts_make_one_row_a_document(tmp_path: Path, stub: str, log: Path) -> None:
    wanted = request(tmp_path, sentences(6), stub, task=("ner", "re"), types_per_call=3)
    assert do(wanted).rows == 6
    asked = extract_stub.asked(log)
    assert len(asked) == 6 * (2 + 3)
    assert set(asked[:6]) == set(sentences(6)), "schema-major: all rows for one part, then the next"
    assert do(wanted).asked == 0
    assert len(extract_stub.asked(log)) == len(asked)


def test_with_several_tasks_the_first_rows_are_done_long_before_the_last_are_begun(
    tmp_path: Path, stub: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "WINDOW", 10)
    texts = sentences(30)
    wanted = request(tmp_path, texts, stub, task=("ner", "re"))
    do(wanted)
    heard = extract_stub.asked(log)
    assert len(heard) == 60
    assert sorted(heard[:20]) == sorted(2 * texts[:10])
    assert Store(wanted.out).counts().rows == 30


def test_other_settings_are_refused_by_name(tmp_path: Path, stub: str) -> None:
    do(request(tmp_path, sentences(3), stub))
    with pytest.raises(UserError, match="overlap"):
        do(request(tmp_path, sentences(3), stub, overlap=2))
    with pytest.raises(UserError, match="input"):
        do(request(tmp_path, sentences(4), stub))


def test_a_newer_store_is_refused(tmp_path: Path, stub: str) -> None:
    do(request(tmp_path, sentences(3), stub))
    with closing(sqlite3.connect(tmp_path / "out" / "store.sqlite")) as database, database:
        database.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    with pytest.raises(UserError, match="newer version"):
        do(request(tmp_path, sentences(3), stub))


def test_a_server_that_only_fails_stops_the_run_and_loses_no_row(tmp_path: Path, stub: str) -> None:
    texts = [f"BROKEN row {number}" for number in range(60)]
    with pytest.raises(UserError, match="all failed"):
        do(request(tmp_path, texts, stub))
    assert Store(tmp_path / "out").counts().rows == 0


def test_a_column_in_a_language_the_model_does_not_read_is_refused_or_marked(
    tmp_path: Path, stub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import models

    known = models.resolve
    english = models.Card(title="Reads English", languages=("en",))

    def resolve(ref: str) -> models.Model:
        found = known(ref)
        return models.Model(found.ref, found.format, english, url=found.url, model_id=found.model_id)

    monkeypatch.setattr(models, "resolve", resolve)
    texts = ["屠呦呦出生于浙江宁波。", "华罗庚曾在清华大学任教。"]
    with pytest.raises(UserError, match="run anyway"):
        do(request(tmp_path, texts, stub))
    do(request(tmp_path, texts, stub, run_anyway=True))
    for row in records(tmp_path / "out"):
        assert row["provenance"]["warnings"][0]["problem"] == "This model does not read this language."
        assert row["provenance"]["reads_language"] is False
        assert row["provenance"]["language"] == "zh"


# A disk that fills up


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, stub: str) -> None:
    wanted = request(tmp_path, sentences(400), stub)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    ended = subprocess.run(
        command(wanted), cwd=PROJECT, capture_output=True, text=True, timeout=120, preexec_fn=small_files, check=False
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    error = json.loads(ended.stderr.splitlines()[-1])["error"]
    assert "no room" in error["problem"]
    kept = len(committed(wanted.out))
    assert 0 < kept < 400
    result = do(wanted)
    assert (result.rows, result.failed) == (400, 0)
    assert result.asked == 400 - kept


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small disk needs root")
def test_a_small_disk_that_fills_up_is_told_and_nothing_is_lost(tmp_path: Path, stub: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("tmpfs can't be mounted here")
    try:
        wanted = request(tmp_path, sentences(600), stub, out=disk / "out")
        with pytest.raises(UserError, match="no room"):
            do(wanted)
        kept = len(committed(wanted.out))
        assert 0 < kept < 600
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert do(wanted).asked == 600 - kept
        assert len(records(wanted.out)) == 600
    finally:
        subprocess.run(["umount", str(disk)], check=False)


# A host that dies: a client that stands for it, since a real one can't be made to die at a chosen row


class Mortal:
    """Answers like a model; dies for good when it reads a text with POISON, once for one with SHAKY."""

    parallel, context = 3, 4096
    can: ClassVar[dict] = {"grammar": True}
    deaths: ClassVar[list[str]] = []
    asked: ClassVar[list[str]] = []
    alive = True

    def __init__(self, model: Model) -> None:
        self.model = model

    def chat(self, messages: list[dict], decoding: object, **_: object) -> Answer:
        text = messages[-1]["content"].rsplit("\nText: ", 1)[-1].split("\nAnswer:")[0]
        if "POISON" in text or ("SHAKY" in text and text not in self.deaths):
            self.deaths.append(text)
            self.alive = False
        if not self.alive:
            raise HostGone("The model's process was killed.", remedy="Load it again.")
        self.asked.append(text)
        return Answer(f"person: {text.split()[0]}", "stop", 5, 5, 0.01)

    def complete(self, prompt: str, decoding: object, **_: object) -> Answer:
        return Answer("", "stop", 1, 1, 0.01)


def batch_with(connect: Callable, texts: list[str], out: Path) -> Outcome:
    model = Model("http://127.0.0.1:1/v1", "remote", Card(title="mortal"))
    documents = [Document(str(number), text, number) for number, text in enumerate(texts)]
    known = schema.load("people-and-organisations-en")
    return Batch(model, known, ["ner"], Options(), lambda: documents, out, connect=connect).run(Silent(), settings={})


def test_a_row_that_ends_the_host_twice_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    Mortal.deaths, Mortal.asked = [], []
    texts = sentences(20)
    texts[4], texts[11] = "Peter POISON row", "Sarah SHAKY row"
    outcome = batch_with(lambda ref: Mortal(Model(ref, "remote", Card())), texts, tmp_path / "out")
    rows = list(Store(tmp_path / "out").results())
    assert [row.id for row in rows if row.error] == ["4"]
    assert "ended twice" in rows[4].error["problem"]  # type: ignore[index]
    assert rows[11].entities[0].text == "Sarah"
    assert (outcome.failed, outcome.asked) == (1, 19)
    assert Mortal.deaths.count("Peter POISON row") == 2
    assert sorted(Mortal.asked) == sorted(text for text in texts if "POISON" not in text), "each is answered once"


def test_a_host_that_can_not_be_brought_back_stops_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    Mortal.deaths, Mortal.asked = [], []
    lives = iter([True])

    def connect(ref: str) -> Mortal:
        if not next(lives, False):
            raise UserError("There is no memory for the model.", remedy="Close something.")
        return Mortal(Model(ref, "remote", Card()))

    texts = sentences(20)
    texts[8] = "Sarah SHAKY row"
    with pytest.raises(UserError, match="no memory for the model"):
        batch_with(connect, texts, tmp_path / "out")
    assert Store(tmp_path / "out").counts().failed == 0
    assert {row.text for row in Store(tmp_path / "out").results()} <= set(Mortal.asked)
    batch_with(lambda ref: Mortal(Model(ref, "remote", Card())), texts, tmp_path / "out")
    assert sorted(Mortal.asked) == sorted(texts), "each is answered once"


def test_another_model_in_the_hosts_place_stops_the_run_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Mortal.deaths, Mortal.asked = [], []
    other = client.HostStatus("ready", model="other", title="Other model")
    monkeypatch.setattr(client, "status", lambda: other)
    texts = sentences(9)
    texts[5] = "Sarah SHAKY row"
    model = Model("starter", "gguf", Card(title="Mine"), tmp_path / "x.gguf")
    documents = [Document(str(number), text, number) for number, text in enumerate(texts)]
    known = schema.load("people-and-organisations-en")
    made = Batch(
        model, known, ["ner"], Options(), lambda: documents, tmp_path / "out", connect=lambda ref: Mortal(model)
    )
    with pytest.raises(UserError, match="Other model was loaded while Mine was working"):
        made.run(Silent(), settings={})
    assert Store(tmp_path / "out").counts().failed == 0


def test_cells_that_excel_would_run_are_disarmed_and_chinese_survives(tmp_path: Path) -> None:
    texts = ["=cmd|' /C calc'!A0 Bo", "@sum Bo", "-3.5", "屠呦呦，“宁波”\n第二行"]
    entities = [Entity(text, "person", 0, len(text)) for text in texts]
    with Writer(tmp_path, {}) as writer:
        for number, (text, entity) in enumerate(zip(texts, entities, strict=True)):
            writer.put(number, str(number), Extraction(f"={number}", text, entities=(entity,)))
    counted = export_run(tmp_path)
    assert (counted.rows, counted.entities, counted.not_located) == (4, 4, 0)
    raw = (tmp_path / "entities.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines(keepends=True)))
    assert [row["text"] for row in rows] == ["'" + texts[0], "'" + texts[1], "-3.5", texts[3]]
    assert rows[0]["id"] == "'=0"
    assert not (tmp_path / "errors.csv").exists()
    assert records(tmp_path)[0]["text"] == texts[0], "records.jsonl keeps it to the letter"
