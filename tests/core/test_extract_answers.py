"""What a second call asks again and what it doesn't, several runners, passes, retries, and what is known beforehand."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core import models
from core.errors import UserError
from core.extract.batch import Batch, Manner
from core.extract.calls import Options
from core.extract.cost import Prices
from core.extract.forecast import forecast
from core.extract.joinback import join_run
from core.extract.retry import Retry
from core.extract.run import RunRequest, plan
from core.extract.schema import from_json
from core.inference.client import Answer
from core.models import Card, Model
from core.operation import Silent
from core.records import Document, Extraction
from core.store import Store
from tests.core import extract_stub
from tests.core.extract_batches import do, records, request, sentences

TYPES: dict[str, Any] = {"entities": ["person", "place", "animal", "food"], "relations": ["lives in", "eats"]}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "asked.log"


@pytest.fixture
def stub(workspace: Path, log: Path) -> Iterator[str]:
    with extract_stub.running(log) as ref:
        yield ref


def schema_file(folder: Path, types: dict[str, Any]) -> str:
    file = folder / "types.json"
    file.write_text(json.dumps(types), encoding="utf-8")
    return str(file)


def asking(tmp_path: Path, stub: str, types: dict[str, Any], **more: Any) -> RunRequest:
    wanted: dict[str, Any] = {"task": ("ner", "re"), "types_per_call": 2, "overlap": 1}
    return request(tmp_path, sentences(5), stub, schema_ref=schema_file(tmp_path, types), **(wanted | more))


def test_a_changed_type_asks_only_for_its_part_and_the_old_schema_for_nothing(
    tmp_path: Path, stub: str, log: Path
) -> None:
    do(asking(tmp_path, stub, TYPES))
    assert len(extract_stub.asked(log)) == 5 * 3
    changed = TYPES | {"entities": ["person", "place", {"name": "animal", "description": "alive"}, "food"]}
    result = do(asking(tmp_path, stub, changed))
    assert (result.rows, result.failed, result.asked) == (5, 0, 5)
    assert len(extract_stub.asked(log)) == 5 * 3 + 5
    assert len(records(tmp_path / "out")) == 5
    assert do(asking(tmp_path, stub, TYPES)).reused == 5
    assert len(extract_stub.asked(log)) == 5 * 3 + 5
    assert Store(tmp_path / "out").noted("renewed") == 2


def test_an_added_type_is_asked_for_alone_wherever_it_stands(tmp_path: Path, stub: str, log: Path) -> None:
    do(asking(tmp_path, stub, TYPES))
    before = len(extract_stub.asked(log))
    do(asking(tmp_path, stub, TYPES | {"entities": ["river", *TYPES["entities"]]}))
    assert len(extract_stub.asked(log)) == before + 5


def test_an_added_task_leaves_the_others_answers(tmp_path: Path, stub: str, log: Path) -> None:
    do(asking(tmp_path, stub, TYPES, task=("re",)))
    do(asking(tmp_path, stub, TYPES))
    assert len(extract_stub.asked(log)) == 5 + 5 * 2


def test_a_schema_can_not_be_changed_under_a_working_runner(tmp_path: Path, stub: str) -> None:
    from core.extract.prepared import prepare
    from core.store import Writer

    made = prepare(asking(tmp_path, stub, TYPES))
    other = prepare(asking(tmp_path, stub, TYPES | {"entities": ["person"]}))
    with Writer(tmp_path / "out", made.settings()), pytest.raises(UserError, match="under other settings: schema"):
        other.batch(other.facts()).run(Silent(), settings=other.settings())


def test_a_failed_chunk_is_asked_again_and_the_documents_other_chunks_are_not(
    tmp_path: Path, stub: str, log: Path
) -> None:
    good = " ".join(f"Person{number} went home and slept until the morning came." for number in range(60))
    text = good + " Here BROKEN ends it all."
    wanted = request(tmp_path, [*sentences(3), text], stub, overlap=0)
    assert do(wanted).failed == 1
    before = len(extract_stub.asked(log))
    assert do(wanted.model_copy(update={"retry_failed": True})).failed == 1
    again = extract_stub.asked(log)[before:]
    assert again
    assert all("BROKEN" in one for one in again)


def test_helpers_share_the_rows_and_each_text_is_asked_once(tmp_path: Path, stub: str, log: Path) -> None:
    texts = [f"{text} SLOW" for text in sentences(60)]
    result = do(request(tmp_path, [*texts, *texts[:30]], stub, runners=2))
    assert (result.rows, result.failed, result.entities) == (90, 0, 90)
    assert sorted(extract_stub.asked(log)) == sorted(texts)
    assert [row["id"] for row in records(tmp_path / "out")] == [f"doc-{number}" for number in range(90)]
    with closing(sqlite3.connect(tmp_path / "out" / "store.sqlite")) as database:
        came = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runners'").fetchone()
        left = database.execute("SELECT count(*) FROM runners").fetchone()
    assert (came, left) == ((2,), (0,))


def test_a_limit_of_requests_a_second_is_for_one_runner(workspace: Path, tmp_path: Path, stub: str) -> None:
    from core import settings

    address, _, name = stub.partition("#")
    slow = settings.Endpoint(name="slow", url=address, model=name, per_second=5)
    settings.write(settings.Settings(endpoints=(slow,)))
    with pytest.raises(UserError, match="limit of requests a second"):
        do(request(tmp_path, sentences(3), stub, runners=2))


class Wavering:
    """Says one thing greedily, another when it draws; unreadable for UNCLEAR unless drawn."""

    parallel, context = 2, 4096

    def __init__(self) -> None:
        self.model = Model("http://127.0.0.1:1/v1", "remote", Card(title="wavering"))
        self.can: dict[str, Any] = {}
        self.decodings: list[Any] = []

    def chat(self, messages: list[dict[str, str]], decoding: Any, **_: Any) -> Answer:
        self.decodings.append(decoding)
        drawn = decoding.temperature > 0
        if "UNCLEAR" in messages[-1]["content"].rsplit("\nText: ", 1)[-1] and not drawn:
            return Answer("I am a language model.", "stop", 7, 3, 0.01)
        return Answer("person: Ada" + (" || Bo" if decoding.seed == 1 else ""), "stop", 7, 3, 0.01)

    def complete(self, prompt: str, decoding: Any, **_: Any) -> Answer:
        return Answer("", "stop", 1, 1, 0.01)


def made_by(client: Wavering, texts: list[str], out: Path, manner: Manner) -> list[Extraction]:
    documents = [Document(str(number), text, number) for number, text in enumerate(texts)]
    schema = from_json({"entities": ["person", "place"]}, "test")
    batch = Batch(
        client.model, schema, ["ner"], Options(), lambda: documents, out, connect=lambda ref: client, manner=manner
    )
    batch.run(Silent(), settings={})
    return list(Store(out).results())


def test_passes_are_voted_and_more_of_them_ask_only_for_the_further_ones(tmp_path: Path) -> None:
    client = Wavering()
    text = "Ada met Bo at the river."
    (row,) = made_by(client, [text], tmp_path, Manner(passes=3))
    assert [(one.text, one.confidence) for one in row.entities] == [("Ada", 1.0)]
    assert row.confidence == pytest.approx((1 + 2 / 3) / 2, abs=1e-3)
    assert (row.provenance["passes"], row.provenance["calls"], row.provenance["tokens"]) == (3, 3, 9)
    assert [(one.temperature, one.seed) for one in client.decodings] == [(0.0, None), (0.7, 1), (0.7, 2)]
    (row,) = made_by(client, [text], tmp_path, Manner(passes=5, votes=1))
    assert len(client.decodings) == 5
    assert {one.text: one.confidence for one in row.entities} == {"Ada": 1.0, "Bo": 0.2}


def test_an_answer_nobody_can_read_is_drawn_anew_as_often_as_asked(tmp_path: Path) -> None:
    client = Wavering()
    text = "Ada is UNCLEAR here."
    (row,) = made_by(client, [text], tmp_path / "never", Manner())
    assert row.error is not None
    (row,) = made_by(client, [text], tmp_path / "once", Manner(retry=Retry(times=1, on=("unreadable",))))
    assert row.error is None
    assert [one.text for one in row.entities] == ["Ada"]
    assert row.provenance["tokens"] == 6, "both answers were paid for"
    (row,) = made_by(client, [text], tmp_path / "server", Manner(retry=Retry(times=3, on=("server",))))
    assert row.error is not None


def test_a_servers_error_is_asked_again_as_often_as_told(tmp_path: Path, stub: str, log: Path) -> None:
    do(request(tmp_path, ["Here BROKEN ends it.", *sentences(2)], stub, retries=1))
    assert extract_stub.asked(log).count("Here BROKEN ends it.") == 2


def test_the_plan_counts_what_is_left_and_says_how_it_knows(tmp_path: Path, stub: str) -> None:
    wanted = request(tmp_path, sentences(40), stub, price_prompt=1.0, price_answer=2.0)
    before = forecast(wanted)
    assert (before.rows, before.done, before.calls, before.tokens_from, before.time_from) == (
        40,
        0,
        40,
        "guessed",
        "unknown",
    )
    assert before.cost is not None
    assert before.cost > 0
    do(wanted.model_copy(update={"limit": 10}))
    after = forecast(wanted)
    assert (after.rows, after.done, after.calls) == (40, 10, 30)
    assert (after.tokens_from, after.time_from) == ("measured", "here")
    assert (after.prompt_tokens, after.tokens) == (pytest.approx(30 * 9, rel=0.02), 30 * 4)
    assert after.cost == pytest.approx(Prices(1.0, 2.0).of(270, 120), rel=0.02)
    assert after.seconds
    elsewhere = forecast(wanted.model_copy(update={"out": tmp_path / "other"}))
    assert elsewhere.time_from == "earlier"
    told = "\n".join(plan(wanted))
    assert "40 rows, 10 of them done; about 30 calls to make" in told
    assert "at the rate of this run's last rows" in told
    assert "at the given prices" in told


def test_the_plan_of_a_changed_schema_counts_only_the_changed_part(tmp_path: Path, stub: str) -> None:
    do(asking(tmp_path, stub, TYPES))
    assert forecast(asking(tmp_path, stub, TYPES)).calls == 0
    changed = asking(tmp_path, stub, TYPES | {"relations": ["lives in", "eats", "fears"]})
    assert forecast(changed).calls == 5
    assert any("changed since: schema" in line for line in plan(changed))


def test_the_cost_of_a_run_is_told(tmp_path: Path, stub: str) -> None:
    result = do(request(tmp_path, sentences(10), stub, price_prompt=100.0, price_answer=1000.0))
    assert (result.prompt_tokens, result.tokens) == (90, 40)
    assert result.cost == pytest.approx(0.009 + 0.04)
    assert "cost 0.0490" in result.summary()


def test_results_stand_beside_the_rows_of_the_file_they_came_from(tmp_path: Path, stub: str) -> None:
    source = tmp_path / "mine.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [
                ["text", "entities", "sum"],
                ["Anna lives here.", "mine", "=1+1"],
                ["This is BROKEN.", "", "-5"],
                ["Carl 住在这里。", "", "@x"],
                ["Dora sleeps.", "", ""],
            ]
        )
    wanted = request(tmp_path, [], stub, input=source, id_column=None, limit=3)
    do(wanted)
    raw = (wanted.out / "joined.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines(keepends=True)))
    assert list(rows[0])[:5] == ["text", "entities", "sum", "entities_2", "relations"]
    assert [row["sum"] for row in rows] == ["'=1+1", "-5", "'@x", ""]
    assert [row["state"] for row in rows] == ["done", "failed", "done", "open"]
    assert rows[0]["entities"] == "mine"
    assert rows[0]["entities_2"] == "Anna [person]"
    assert json.loads(rows[0]["entities_json"])[0] == {"text": "Anna", "type": "person", "start": 0, "end": 4}
    assert "told to fail" in rows[1]["problem"]
    assert rows[2]["entities_2"].startswith("Carl")
    plain = join_run(wanted.out, source, spreadsheet=False, out=tmp_path / "plain.csv")
    assert plain is not None
    assert "=1+1" in plain.read_text(encoding="utf-8")
    assert "'=1+1" not in plain.read_text(encoding="utf-8")


def test_a_models_name_or_weights_are_in_the_name_of_its_answers(tmp_path: Path) -> None:
    from core.extract import calls, keys

    schema = from_json({"entities": ["person", "place"]}, "test")
    one, other = (models.Model(ref, "remote", Card(), url=ref) for ref in ("http://a/v1", "http://b/v1"))
    part = calls.parts(schema, ["ner"], Options(), one)[0]
    names = {
        keys.part_name(part, one, Options()),
        keys.part_name(part, other, Options()),
        keys.part_name(part, one, Options(overlap=2)),
        keys.part_name(part, one, Options(chunk_characters=99)),
    }
    assert len(names) == 4
    assert keys.part_name(part, one, Options(types_per_call=9)) in names, "the types themselves tell it"
    first, second = (
        keys.call_name(b"p", calls.key(text), calls.calls(text, part, Options())[0]) for text in ("Ada.", "Bo.")
    )
    assert first != second
