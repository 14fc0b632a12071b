"""The store: one row a document, readable while it is written, never another run's."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import UserError
from core.records import Argument, Entity, Event, Extraction, Relation, Span
from core.store import Store, Writer

FULL = Extraction(
    "a",
    "Li met Bo 👩‍👩‍👧 in 北京 \ud800.",
    entities=(Entity("Li", "person", 0, 2), Entity("X", "person")),
    relations=(Relation(Span("Li", 0, 2), "met", Span("Bo", 7, 9)),),
    events=(Event("meeting", Span("met", 3, 6), (Argument("who", "Li", 0, 2),)),),
    provenance={"tokens": 7, "seconds": 0.5},
)
FAILED = Extraction("b", "y", error=UserError("No {what}.", remedy="Go on.", what="luck").to_dict())


def test_what_was_put_is_read_back_to_the_letter_while_the_writer_is_open(tmp_path: Path) -> None:
    with Writer(tmp_path, {"model": "m"}) as writer:
        writer.put(1, "k1", FULL)
        writer.put(0, "k0", FAILED)
        assert list(Store(tmp_path).results()) == [FAILED, FULL]
        assert [seq for seq, _ in Store(tmp_path).finished()] == [1, 2]
        assert [made.id for _, made in Store(tmp_path).finished(after=1)] == ["b"]
        assert writer.same("k1") == FULL
        assert writer.same("k0") is None, "a failure answers nobody else"
    counts = Store(tmp_path).counts()
    assert (counts.rows, counts.failed, counts.records, counts.tokens) == (2, 1, 4, 7)
    assert list(Store(tmp_path).results(after=0, limit=5)) == [FULL]
    assert list(Store(tmp_path).failures()) == [FAILED]
    assert Store(tmp_path).settings() == {"model": "m"}


def test_a_retried_row_replaces_its_failure_and_is_new_to_followers(tmp_path: Path) -> None:
    with Writer(tmp_path, {}) as writer:
        writer.put(0, "k", FAILED)
        writer.put(0, "k", FULL)
        assert [made.id for _, made in Store(tmp_path).finished(after=1)] == ["a"]
        assert Store(tmp_path).counts().rows == 1


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    with Writer(tmp_path, {"model": "one", "task": ["ner"]}):
        pass
    with Writer(tmp_path, {"task": ["ner"], "model": "one"}):
        pass
    with pytest.raises(UserError, match="model: one → two"), Writer(tmp_path, {"model": "two", "task": ["ner"]}):
        pass


def test_a_second_runner_comes_in_under_the_same_settings_only(tmp_path: Path) -> None:
    with Writer(tmp_path, {"a": 1}) as one, Writer(tmp_path, {"a": 1}) as two:
        assert one.id != two.id
        with pytest.raises(UserError, match="a: 1 → 2"), Writer(tmp_path, {"a": 2}, may_change=["a"]):
            pass
    with pytest.raises(UserError, match="other settings"), Writer(tmp_path, {"a": 2}):
        pass
    with Writer(tmp_path, {"a": 1}):
        pass


def test_a_text_is_one_runners_until_it_is_finished_given_back_or_its_runner_ends(tmp_path: Path) -> None:
    with Writer(tmp_path, {}) as one:
        with Writer(tmp_path, {}) as two:
            assert one.claim({"x": 0, "y": 1}) == {"x", "y"}
            assert two.claim({"y": 1, "z": 2}) == {"z"}
            assert two.claimed_by_others(before=9) == 2
            one.put(1, "y", FULL)
            one.release(["x"])
            assert two.claim({"x": 0, "y": 1}) == {"x", "y"}
            assert two.done_among([0, 1]) == {1}
            assert one.claimed_by_others(before=1) == 1, "x stands before row 1, y and z do not"
        assert one.claimed_by_others(before=9) == 0


def test_a_killed_runners_claims_are_free_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from core.store import Writer\n"
        "with Writer(Path(sys.argv[1]), {}) as writer:\n"
        "    writer.claim({'x': 0}); print('claimed', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other, Writer(tmp_path, {}) as writer:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        assert writer.claim({"x": 0}) == set()
        assert (writer.claimed_by_others(before=9), writer.others()) == (1, 1)
        other.kill()
        other.wait()
        assert (writer.claimed_by_others(before=9), writer.others()) == (0, 0)
        assert writer.claim({"x": 0}) == {"x"}
        assert [file.name for file in (tmp_path / "runners").iterdir()] == [f"{writer.id}.lock"]


def test_what_may_change_takes_the_rows_and_leaves_the_answers(tmp_path: Path) -> None:
    with Writer(tmp_path, {"schema": "a", "model": "m"}) as writer:
        writer.put(0, "k", FULL, [(b"name", FULL)])
    with Writer(tmp_path, {"schema": "b", "model": "m"}, may_change=["schema"]) as writer:
        assert writer.changed == ["schema"]
        assert writer.counts().rows == 0
        assert writer.answers([b"name", b"other"]) == {b"name": FULL}
        assert Store(tmp_path).noted("renewed") == 1
    assert Store(tmp_path).settings()["schema"] == "b"


def test_a_store_of_format_1_is_read_and_gone_on_with(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as database, database:
        database.executescript(
            """
            CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
            CREATE TABLE results (seq INTEGER PRIMARY KEY AUTOINCREMENT, row INTEGER NOT NULL UNIQUE,
                id TEXT NOT NULL, key TEXT NOT NULL, failed INTEGER NOT NULL, json TEXT NOT NULL,
                seconds REAL NOT NULL, tokens INTEGER NOT NULL, records INTEGER NOT NULL, written_at REAL NOT NULL);
            CREATE INDEX results_key ON results (key) WHERE failed = 0;
            CREATE TABLE parts (key TEXT NOT NULL, part INTEGER NOT NULL, json TEXT NOT NULL,
                PRIMARY KEY (key, part)) WITHOUT ROWID;
            INSERT INTO meta VALUES ('format', '1'), ('settings', '{"model": "m"}'), ('created', '1.0');
            INSERT INTO parts VALUES ('k2', 0, '{}');
            """
        )
        database.execute(
            "INSERT INTO results VALUES (3, 0, 'a', 'k', 0, ?, 0.5, 7, 4, 1.0)", (json.dumps(FULL.to_dict()),)
        )
    assert list(Store(tmp_path).results()) == [FULL]
    assert Store(tmp_path).settings() == {"model": "m"}
    with Writer(tmp_path, {"model": "m"}) as writer:
        assert writer.done(0)
        writer.put(1, "k2", FULL)
    assert [seq for seq, _ in Store(tmp_path).finished()] == [3, 4]


def test_no_store_and_a_file_that_is_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no extraction run"):
        Store(tmp_path)
    (tmp_path / "store.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="can't be read"):
        list(Store(tmp_path).results())
    with pytest.raises(UserError, match="can't be read"), Writer(tmp_path, {}):
        pass
