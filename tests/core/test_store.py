"""The store: one row a document, readable while it is written, never another run's."""

from __future__ import annotations

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
        assert [(seq, made.id) for seq, made in Store(tmp_path).finished(after=1)] == [(2, "a")]
        assert Store(tmp_path).counts().rows == 1


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    with Writer(tmp_path, {"model": "one", "task": ["ner"]}):
        pass
    with Writer(tmp_path, {"task": ["ner"], "model": "one"}):
        pass
    with pytest.raises(UserError, match="model: one → two"), Writer(tmp_path, {"model": "two", "task": ["ner"]}):
        pass


def test_a_second_writer_is_refused_and_the_folder_is_free_after_a_refusal(tmp_path: Path) -> None:
    with Writer(tmp_path, {"a": 1}), pytest.raises(UserError, match="Another process"), Writer(tmp_path, {"a": 1}):
        pass
    with pytest.raises(UserError, match="other settings"), Writer(tmp_path, {"a": 2}):
        pass
    with Writer(tmp_path, {"a": 1}):
        pass


def test_no_store_and_a_file_that_is_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no extraction run"):
        Store(tmp_path)
    (tmp_path / "store.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="can't be read"):
        list(Store(tmp_path).results())
    with pytest.raises(UserError, match="can't be read"), Writer(tmp_path, {}):
        pass


def test_parts_wait_for_the_rest(tmp_path: Path) -> None:
    with Writer(tmp_path, {}) as writer:
        writer.put_part("k", 0, FULL)
        assert writer.parts("k") == {0: FULL}
        writer.forget_parts()
        assert writer.parts("k") == {}
