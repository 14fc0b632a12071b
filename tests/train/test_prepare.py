"""From files to what is trained on and what is kept: no sentence on both sides, nothing lost without a word."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.launchers.finetune import FinetuneRequest
from tests.train.conftest import rows, written
from train import prepare
from train.samples import Sample

Make = Callable[..., FinetuneRequest]


def made(request: FinetuneRequest, tokenizer: Any, form: Any = "chat") -> Any:
    return prepare.stores(request, tokenizer, form, request.out / "data")


def prompts(store: Any) -> set[tuple[int, ...]]:
    return {tuple(store.tokens(number)[: store.mask(number).argmax()]) for number in range(len(store))}


def test_a_share_is_kept_for_validation_and_no_prompt_stands_on_both_sides(
    request_for: Make, tokenizer: Any, tmp_path: Path
) -> None:
    data = rows(200)
    data += [{**row, "output": "another"} for row in data[:100]]  # the same prompts, answered otherwise
    request = request_for(data=(written(tmp_path / "r.jsonl", data),), validation_share=0.3)
    store, validation, account = made(request, tokenizer)
    assert account.rows == 300 == len(store) + len(validation) == account.trained + account.validated
    assert 50 < len(validation) < 130
    assert not prompts(store) & prompts(validation)
    assert account.tokens == store.lengths.sum() and account.learned == store.learned.sum()


def test_doubles_are_counted_and_leaks_left_out(request_for: Make, tokenizer: Any, tmp_path: Path) -> None:
    data, other = rows(30), rows(10, start=100)
    train = written(tmp_path / "t.jsonl", [*data, *data[:4]])
    held = written(tmp_path / "v.jsonl", [*other, {**data[0], "output": "seen"}])
    store, validation, account = made(request_for(data=(train,), validation=(held,)), tokenizer)
    assert (account.doubles, account.leaks, len(store), len(validation)) == (4, 1, 34, 10)


def test_shares_of_the_rows_lie_within_each_other_and_keep_the_validation_part(
    request_for: Make, tokenizer: Any, tmp_path: Path
) -> None:
    data = written(tmp_path / "r.jsonl", rows(300))
    found = {}
    for share in (0.25, 0.5, 1.0):
        request = request_for(data=(data,), share=share, validation_share=0.1, out=tmp_path / str(share))
        found[share] = made(request, tokenizer)
    small, half, whole = (prompts(found[share][0]) for share in (0.25, 0.5, 1.0))
    assert small < half < whole
    assert 0.4 < len(half) / len(whole) < 0.6
    assert prompts(found[0.25][1]) == prompts(found[1.0][1])
    assert found[0.5][2].spared == len(whole) - len(half)


def test_what_was_refused_is_told_with_its_lines(request_for: Make, tokenizer: Any, tmp_path: Path) -> None:
    data = written(tmp_path / "r.jsonl", [*rows(10), {**rows(1)[0], "output": ""}, {**rows(1)[0], "input": "x " * 999}])
    account = made(request_for(data=(data,)), tokenizer)[2]
    assert account.refused == 2
    assert [reason["where"] for reason in account.reasons] == ["r.jsonl:11", "r.jsonl:12"]
    assert [line.split()[0] for line in prepare.told(account)] == ["r.jsonl:11:", "r.jsonl:12:"]


def test_when_nothing_is_left_the_reason_is_said(request_for: Make, tokenizer: Any, tmp_path: Path) -> None:
    data = written(tmp_path / "r.jsonl", [{**row, "output": ""} for row in rows(40)])
    with pytest.raises(UserError, match=r"No row is left to train on: r.jsonl:1: .*output is empty"):
        made(request_for(data=(data,)), tokenizer)


def test_stores_are_kept_as_long_as_they_are_what_would_be_made(
    request_for: Make, tokenizer: Any, tmp_path: Path
) -> None:
    data = written(tmp_path / "r.jsonl", rows(20))
    request = request_for(data=(data,))
    account = made(request, tokenizer)[2]
    before = (request.out / "data" / "train" / "ids.bin").stat().st_mtime_ns
    assert made(request, tokenizer)[2] == account
    assert (request.out / "data" / "train" / "ids.bin").stat().st_mtime_ns == before
    assert made(request.model_copy(update={"train_on_prompt": True}), tokenizer)[2].learned > account.learned
    written(data, rows(25))
    assert made(request, tokenizer)[2].rows == 25


def test_a_store_that_a_kill_left_unfinished_is_made_again(request_for: Make, tokenizer: Any) -> None:
    request = request_for()
    account = made(request, tokenizer)[2]
    (request.out / "data" / "account.json").unlink()
    (request.out / "data" / "train" / "ids.bin").write_bytes(b"torn")
    store, _, again = made(request, tokenizer)
    assert again == account and len(store.ids) == account.tokens


def test_the_form_is_that_of_the_card_the_data_and_the_choice(
    request_for: Make, tokenizer: Any, tmp_path: Path
) -> None:
    request = request_for()
    assert prepare.form_of(request, "raw", tokenizer) == "raw"
    assert prepare.form_of(request, "chat", tokenizer) == "chat"
    assert prepare.form_of(request.model_copy(update={"prompt_form": "alpaca"}), "raw", tokenizer) == "alpaca"
    bare = written(tmp_path / "p.jsonl", [{"prompt": "1 + 1 =", "completion": " 2"}])
    assert prepare.form_of(request_for(data=(bare,)), "chat", tokenizer) == "raw"


def test_many_rows_take_little_memory(
    request_for: Make, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held a row is a few numbers, of those kept for validation too. (test_talks: reading holds none.)"""

    def most(count: int) -> int:
        read = (Sample(f"f:{at}", [at, *range(30)], [False] * 30 + [True]) for at in range(count))
        monkeypatch.setattr(prepare, "read", lambda *_: read)
        request = request_for(validation_share=0.5, out=tmp_path / f"out{count}")
        tracemalloc.start()
        made(request, tokenizer)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert most(15_000) - most(5_000) < 10_000 * 80


def test_the_tasks_of_one_record_stay_on_one_side(request_for: Make, tokenizer: Any, tmp_path: Path) -> None:
    schema = tmp_path / "s.json"
    schema.write_text('{"entities": ["person"], "relations": ["knows"]}')
    records = [
        {"id": str(number), "text": f"Bob{number} met Ann{number}.", "entities": [], "relations": [], "events": []}
        for number in range(120)
    ]
    request = request_for(
        data=(written(tmp_path / "records.jsonl", records),), schema_file=schema, validation_share=0.3, max_length=512
    )
    store, validation, _ = made(request, tokenizer)
    sides = [set(side.where()) for side in (store, validation)]
    assert len(store) + len(validation) == 240
    assert sides[0] and sides[1] and not sides[0] & sides[1]
