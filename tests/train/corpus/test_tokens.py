"""Tokenizing a corpus: as the model's own tokenizer does, to the token, whatever the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from tests.train.corpus.vocabularies import KINDS, LEARNED_FROM, backend, tokenizer
from train.corpus import parity
from train.corpus.cuts import Cuts
from train.corpus.store_format import Vocabulary
from train.corpus.tokens import Tokenizer, fingerprint, open_tokenizer

TEXTS = [*LEARNED_FROM[:4], *parity.SAMPLES, "", "中国 人民。the end", "a" * 300]
ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from("the fox 中国人民的，。！“” \n\t'.,1290▁é\u0301👍"), st.characters(exclude_categories=["Cs"])
    ),
    max_size=60,
)


def reference(kind: str, text: str) -> list[int]:
    made = backend(kind)
    made.encode_special_tokens = True
    return made.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_way_gives_the_tokens_of_the_reference(kind: str) -> None:
    made = tokenizer(kind)
    assert made.fast, made.why_slow
    texts = [*TEXTS, *parity.texts(), *TEXTS]
    for text, ids in zip(texts, made.encode_batch(texts), strict=True):
        assert ids.tolist() == reference(kind, text), text


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_has_the_tokens_of_the_reference(kind: str) -> None:
    made = tokenizer(kind)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(ANY_TEXT, min_size=1, max_size=4))
    def check(texts: list[str]) -> None:
        for text, ids in zip(texts, made.encode_batch(texts), strict=True):
            assert ids.tolist() == reference(kind, text)

    check()


@pytest.mark.parametrize("kind", ["gpt2", "qwen", "pieces", "metaspace"])
def test_a_place_falls_on_the_same_token_fast_or_not(kind: str) -> None:
    fast, slow = tokenizer(kind), tokenizer(kind, fast=False)
    assert fast.fast and not slow.fast
    for text in [*TEXTS, *parity.texts()[::7]]:
        if not text:
            continue
        places = np.array([at for at in range(len(text) + 1) if at == len(text) or not text[at].isspace()])
        for one, other in zip(fast.cut([text, text], [places] * 2), slow.cut([text] * 2, [places] * 2), strict=True):
            same = one.at == other.at
            # white space before a place may go either way where it has tokens of its own
            assert all(text[:place][-1:].isspace() for place in places[~same]), text
            assert list(one.at) == sorted(one.at) and one.at[-1] == len(one.ids)


@pytest.mark.parametrize("kind", ["gpt2", "qwen", "pieces"])
def test_much_is_cut_inside_chinese(kind: str) -> None:
    """Whole clauses hardly ever repeat; what is remembered must be shorter."""
    text = "北京是中华人民共和国的首都，位于华北平原。山水城市医院学校图书馆" * 3
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    found = Cuts.of(json.loads(backend(kind).to_str()))
    assert found is not None and len(found.before(codes)) > len(text) / 3


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.corpus.pieces.REMEMBERED", 50)
    made = tokenizer("gpt2")
    for text in parity.texts():
        assert made.encode_batch([text])[0].tolist() == reference("gpt2", text)


def test_a_tokenizer_that_nobody_has_proven_tokenizes_texts_whole() -> None:
    from tokenizers import Tokenizer as Backend

    told = json.loads(backend("gpt2").to_str())
    told["normalizer"] = {"type": "Lowercase"}
    made = Tokenizer(Backend.from_str(json.dumps(told)), Vocabulary("", 900))
    assert not made.fast and made.why_slow
    assert made.encode_batch(["The FOX"])[0].tolist() == reference("gpt2", "the fox")


def test_a_difference_on_a_hard_text_turns_the_fast_way_off(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Cuts.before

    def wrong(self: Cuts, codes: np.ndarray) -> np.ndarray:
        return np.union1d(whole(self, codes), np.arange(3, len(codes), 3))

    monkeypatch.setattr(Cuts, "before", wrong)
    made = tokenizer("gpt2")
    assert not made.fast
    assert made.encode_batch(["The quick fox"])[0].tolist() == reference("gpt2", "The quick fox")


def test_an_added_word_that_is_not_special_is_found_in_the_text() -> None:
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

    more = Backend.from_str(backend("gpt2").to_str())
    more.add_tokens([AddedToken("lazy dogs", special=False)])
    made = Tokenizer(more, Vocabulary("", 901))
    more.encode_special_tokens = True
    texts = ["over the lazy dogs; gone", "no such words", "lazy dogs"]
    assert made.fast
    expected = [more.encode(text, add_special_tokens=False).ids for text in texts]
    assert [ids.tolist() for ids in made.encode_batch(texts)] == expected


def test_a_text_that_spells_a_control_token_is_text() -> None:
    for kind in ("gpt2", "pieces"):
        made = tokenizer(kind)
        (ids,) = made.encode_batch(["the </s> end"])
        assert 2 not in ids and made.decode(ids) == "the </s> end"


def test_a_fingerprint_is_the_same_for_what_gives_the_same_tokens() -> None:
    from tokenizers import Tokenizer as Backend

    again = Backend.from_str(backend("gpt2").to_str())
    assert fingerprint(again) == fingerprint(backend("gpt2"))
    assert len({fingerprint(backend(kind)) for kind in ("gpt2", "digits", "qwen", "pieces")}) == 4


def test_a_tokenizer_is_opened_from_its_file_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "model" / "tokenizer.json"
    file.parent.mkdir()
    file.write_text(backend("gpt2").to_str(), encoding="utf-8")
    made = open_tokenizer(file)
    assert made.vocabulary.name == "model" and made.vocabulary.size == backend("gpt2").get_vocab_size()
    assert made.encode_batch(["The fox"])[0].tolist() == reference("gpt2", "The fox")
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="can't be read"):
        open_tokenizer(file)
