"""From documents to a store: texts come back to the letter, rows are full, no token is learned twice."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from tests.train.corpus.vocabularies import LEARNED_FROM, opened
from train.corpus import parity, pieces, sentences, shard
from train.corpus.document import Document
from train.corpus.shard import Packing
from train.corpus.store import Store

LONG = "没有句号的一段很长的话，里面只有逗号，" * 60 + "最后结束。" + "word " * 400 + "\n" + "x" * 500
PLAIN = [text for text in parity.SAMPLES if "▁" not in text]
TEXTS = [text * count for count in (1, 3, 40) for text in LEARNED_FROM[:4]] + PLAIN + ["", LONG, "。" * 300]


def write(path: Path, packing: Packing, kind: str = "gpt2", texts: list[str] = TEXTS) -> tuple[shard.Made, Store]:
    documents = (Document(text, "web", str(number)) for number, text in enumerate(texts))
    made = shard.write(documents, path, opened(kind), packing, source="web", language="zh", notes={"more": 1})
    return made, Store(path)


@pytest.mark.parametrize(
    ("kind", "packing"),
    [(kind, Packing(64)) for kind in ("gpt2", "digits", "llama3", "pieces", "metaspace")]
    + [("gpt2", Packing(64, "even")), ("pieces", Packing(64, "even", 16))],
    ids=str,
)
def test_every_document_comes_back_to_the_letter(tmp_path: Path, kind: str, packing: Packing) -> None:
    # the newer form of pieces doesn't tell a text's own first space from the one that is put in front
    texts = [text for text in TEXTS if kind != "metaspace" or not text.startswith(" ")]
    made, store = write(tmp_path / "a.tokens", packing, kind, texts)
    own = opened(kind)
    bos, eos = own.vocabulary.bos, own.vocabulary.eos
    documents = list(store.documents())
    assert all(ids[0] == bos and ids[-1] == eos for ids in documents)
    assert [own.decode(ids[1:-1]) for ids in documents] == [text for text in texts if text]
    assert made.documents == len(texts) and made.bytes == sum(len(text.encode()) for text in texts)
    assert made.tokens == sum(len(ids) for ids in documents) + made.repeated
    assert store.head.notes["more"] == 1 and store.head.notes["bytes"] == made.bytes


@pytest.mark.parametrize("packing", [Packing(64), Packing(64, "even"), Packing(64, "even", 16)], ids=str)
def test_no_token_is_learned_twice_and_none_left_out(tmp_path: Path, packing: Packing) -> None:
    made, store = write(tmp_path / "a.tokens", packing)
    learned = sum(int(store.row(number).learned.sum()) for number in range(len(store)))
    # the first token of a sample without context has nothing to be predicted from
    first = int((store.sample_context == 0).sum())
    assert learned + first == made.tokens - made.repeated
    assert (made.repeated > 0) == bool(packing.overlap)


def test_samples_are_whole_sentences(tmp_path: Path) -> None:
    texts = [LEARNED_FROM[0] * 30, LEARNED_FROM[1] * 20]
    _, store = write(tmp_path / "a.tokens", Packing(128), texts=texts)
    own = opened("gpt2")
    for document, text in enumerate(texts):
        begins = sorted(store.sample_offset[store.sample_document == document].tolist())
        ids = next(ids for number, ids in enumerate(store.documents()) if number == document)
        places = {0, *sentences.starts(text).tolist()}
        for begin in begins:
            before = own.decode(ids[1:begin]) if begin else ""
            assert len(before) in places or len(before) + 1 in places


def test_sentences_that_are_too_long_are_cut_at_signs_and_never_inside_a_character(tmp_path: Path) -> None:
    _, store = write(tmp_path / "a.tokens", Packing(48, "even"), texts=[LONG])
    own = opened("gpt2")
    samples = [own.decode([one for one in store.sample(number) if one > 2]) for number in range(store.head.samples)]
    assert not any("\ufffd" in text for text in samples)
    order = np.argsort(store.sample_offset)
    texts = [samples[number] for number in order]
    cut = [one for one, _ in pairwise(texts) if "，" in one]
    assert cut and all(one.endswith(("，", "。")) for one in cut)


def test_knowlm_mode_is_knowlms(tmp_path: Path) -> None:
    made, store = write(tmp_path / "a.tokens", Packing(64, "knowlm"), texts=[LEARNED_FROM[1] * 40, "短。", "一" * 9])
    assert made.rows == made.samples and made.repeated > 0
    assert made.dropped == sum(len(ids) + 2 for ids in opened("gpt2").encode_batch(["短。", "一" * 9]))
    assert store.head.documents == 1
    again = int(np.flatnonzero(store.sample_context)[0])
    row = store.row(again)
    assert row.learned.sum() == len(row.ids) - 1, "it learns again what it repeats"


def test_the_same_documents_make_the_same_file_whatever_was_remembered_before(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tokens", Packing(64))
    own = opened("gpt2")
    own.encode_batch(LEARNED_FROM)
    documents = (Document(text, "web", "") for text in TEXTS)
    shard.write(documents, tmp_path / "c.tokens", own, Packing(64), source="web", language="zh", notes={"more": 1})
    assert len({(tmp_path / f"{name}.tokens").read_bytes() for name in "abc"}) == 1


def test_batches_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.tokens", Packing(64))
    monkeypatch.setattr(shard, "BATCH", 500)
    monkeypatch.setattr(pieces, "REMEMBERED", 100)
    write(tmp_path / "b.tokens", Packing(64))
    assert (tmp_path / "a.tokens").read_bytes() == (tmp_path / "b.tokens").read_bytes()


def test_half_a_character_is_told_with_its_document(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The text of 1 holds half of a character"):
        write(tmp_path / "a.tokens", Packing(64), texts=["fine", "bad \ud800 one"])
    assert list(tmp_path.iterdir()) == []


def test_settings_that_make_no_sense_are_refused() -> None:
    for settings in ({"length": 4}, {"length": 64, "mode": "even", "overlap": 33}, {"length": 64, "overlap": 8}):
        with pytest.raises(UserError):
            Packing(**settings)  # type: ignore[arg-type]
