"""KnowLM's files, there and back; and looking into a corpus: through the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.operation import Silent
from tests.train.corpus.vocabularies import LEARNED_FROM, backend, tokenizer
from train.corpus import convert, inspect, knowlm, shard
from train.corpus.convert import ConvertRequest
from train.corpus.document import Document
from train.corpus.inspect import InspectRequest
from train.corpus.shard import Packing
from train.corpus.store import Corpus, Piece, Vocabulary, Writer

SAMPLES = [[1, 300, 301, 302], [303, 304, 2], [1, 310, 2], [1, 320, 321], [321, 322, 2]]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    file = tmp_path / "tiny" / "tokenizer.json"
    file.parent.mkdir()
    file.write_text(backend("gpt2").to_str(), encoding="utf-8")
    return file


def knowlms(folder: Path, counts: list[int] | None = None, samples: list[list[int]] = SAMPLES) -> Path:
    """Files as KnowLM's preprocessing writes them."""
    folder.mkdir(exist_ok=True)
    lengths = np.array([len(one) for one in samples], np.uint16)
    (folder / "data.bin").write_bytes(np.array([token for one in samples for token in one], np.uint16).tobytes())
    starts = np.cumsum(lengths, dtype=np.uint64) - lengths
    (folder / "data.idx").write_bytes(starts.astype(np.uint64).tobytes() + lengths.tobytes())
    torch.save([3, 2] if counts is None else counts, folder / "data.dis")
    return folder / "data"


def from_knowlm(prefix: Path, out: Path, vocabulary: Path, **more: object) -> convert.ConvertResult:
    request = ConvertRequest(from_="knowlm", source=prefix, out=out, tokenizer=str(vocabulary), **more)  # type: ignore[arg-type]
    return convert.run(request, Silent())


def test_knowlms_files_become_stores_and_back_the_same_bytes(tmp_path: Path, vocabulary: Path) -> None:
    prefix = knowlms(tmp_path / "theirs")
    made = from_knowlm(prefix, tmp_path / "ours", vocabulary, names=("wiki", "news"))
    assert made.sources == {"wiki": 3, "news": 2} and "5 samples, 16 tokens" in made.summary()
    corpus = Corpus(tmp_path / "ours")
    assert [corpus.sources["wiki"].row(number).ids.tolist() for number in range(3)] == SAMPLES[:3]
    back = ConvertRequest(from_="studio", source=tmp_path / "ours", out=tmp_path / "back" / "data")
    (tmp_path / "ours" / "wiki.tokens").rename(tmp_path / "ours" / "a.tokens")
    assert convert.run(back, Silent()).samples == 5
    # sources stand in the order of their names
    again = knowlm.read(tmp_path / "back" / "data")
    assert again.counts == (2, 3)
    assert [again.sample(number).tolist() for number in range(5)] == SAMPLES[3:] + SAMPLES[:3]
    from_knowlm(prefix, tmp_path / "more", vocabulary, names=("a", "b"))
    convert.run(ConvertRequest(from_="studio", source=tmp_path / "more", out=tmp_path / "same" / "data"), Silent())
    for end in ("bin", "idx"):
        assert (tmp_path / "same" / f"data.{end}").read_bytes() == prefix.with_name(f"data.{end}").read_bytes()
    assert torch.load(tmp_path / "same" / "data.dis", weights_only=True) == [3, 2]


def test_knowlms_documents_are_told_by_their_bos_and_eos(tmp_path: Path) -> None:
    samples = knowlm.read(knowlms(tmp_path / "theirs"))
    (tmp_path / "ours").mkdir()
    list(knowlm.to_stores(samples, tmp_path / "ours", Vocabulary("x", 900, "", 1, 2), ("a", "b"), 16))
    corpus = Corpus(tmp_path / "ours")
    assert [ids.tolist() for ids in corpus.sources["a"].stores[0].documents()] == [SAMPLES[0] + SAMPLES[1], SAMPLES[2]]
    assert [ids.tolist() for ids in corpus.sources["b"].stores[0].documents()] == [SAMPLES[3] + SAMPLES[4]]


def test_context_is_not_given_to_knowlm_which_would_learn_it(tmp_path: Path) -> None:
    documents = (Document(text * 6, "web", "") for text in LEARNED_FROM[:2])
    made = shard.write(documents, tmp_path / "o" / "a.tokens", tokenizer("gpt2"), Packing(64, "even", 20), source="web")
    assert made.repeated
    convert.run(ConvertRequest(from_="studio", source=tmp_path / "o", out=tmp_path / "data"), Silent())
    assert int(knowlm.read(tmp_path / "data").lengths.sum()) == made.tokens - made.repeated


def test_damaged_files_of_knowlm_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    prefix = knowlms(tmp_path / "theirs")
    whole = {end: prefix.with_name(f"data.{end}").read_bytes() for end in ("bin", "idx", "dis")}
    for end, bytes_, why in (
        ("bin", whole["bin"][:-1], "cut short"),
        ("bin", whole["bin"][:-4], "its index reaches to 16"),
        ("idx", whole["idx"][:-3], "cut short"),
        ("idx", b"", "cut short or empty"),
        ("dis", b"no pickle", "no list of counts"),
    ):
        prefix.with_name(f"data.{end}").write_bytes(bytes_)
        with pytest.raises(UserError, match=why):
            knowlm.read(prefix)
        prefix.with_name(f"data.{end}").write_bytes(whole[end])
    torch.save([3, 3], prefix.with_name("data.dis"))
    with pytest.raises(UserError, match="counts 6 samples; the index has 5"):
        knowlm.read(prefix)
    prefix.with_name("data.dis").unlink()
    assert knowlm.read(prefix.with_suffix(".bin")).counts == (5,)
    prefix.with_name("data.idx").unlink()
    with pytest.raises(UserError, match="is missing"):
        knowlm.read(prefix)


def test_what_can_not_be_converted_says_why(tmp_path: Path, vocabulary: Path) -> None:
    prefix = knowlms(tmp_path / "theirs")
    with pytest.raises(UserError, match="don't say which tokenizer"):
        convert.run(ConvertRequest(from_="knowlm", source=prefix, out=tmp_path / "ours"), Silent())
    with pytest.raises(UserError, match="2 kinds of sources, and 1 different names"):
        from_knowlm(prefix, tmp_path / "ours", vocabulary, names=("one",))
    foreign = knowlms(tmp_path / "foreign", [1], [[1, 40_000, 2]])
    with pytest.raises(UserError, match="The token 40000 is not one of the vocabulary's"):
        from_knowlm(foreign, tmp_path / "ours", vocabulary)
    from_knowlm(prefix, tmp_path / "ours", vocabulary)
    with pytest.raises(UserError, match="holds token stores already"):
        from_knowlm(prefix, tmp_path / "ours", vocabulary)
    with Writer(tmp_path / "big" / "a.tokens", Vocabulary("x", 65_537), source="web", length=16) as writer:
        writer.row([Piece(np.array([65_536]), 0)])
    with pytest.raises(UserError, match="up to 65,535; this vocabulary has 65537"):
        convert.run(ConvertRequest(from_="studio", source=tmp_path / "big", out=tmp_path / "data"), Silent())
    assert not list(tmp_path.glob("*data*"))


def test_a_corpus_is_shown_with_its_mix_its_lengths_and_its_texts(tmp_path: Path, vocabulary: Path) -> None:
    from train.corpus.tokens import open_tokenizer

    opened = open_tokenizer(vocabulary)
    for name, text, count in (("zh", LEARNED_FROM[1], 30), ("en", LEARNED_FROM[0], 10)):
        documents = (Document(text, name, "") for _ in range(count))
        shard.write(documents, tmp_path / "out" / f"{name}.tokens", opened, Packing(256), source=name, language=name)
    request = InspectRequest(folder=tmp_path / "out", tokenizer=str(vocabulary), samples=2, verify=True)
    made = inspect.run(request, Silent())
    assert [part.name for part in made.sources] == ["en", "zh"]
    assert sum(part.share for part in made.sources) == pytest.approx(1)
    for part in made.sources:
        assert sum(part.lengths) == part.samples and part.documents == (30 if part.name == "zh" else 10)
        assert len(part.shown) == 2
    assert "quick brown fox" in made.sources[0].shown[0].text and "首都" in made.sources[1].shown[0].text
    assert inspect.run(request, Silent()) == made, "the same seed shows the same samples"
    assert "of the tokens; 10 documents" in made.summary() and "█" in made.summary()
    bare = inspect.run(InspectRequest(folder=tmp_path / "out" / "zh.tokens", samples=1), Silent())
    assert bare.sources[0].shown[0].text.split()[0].isdigit()


def test_a_corpus_of_another_tokenizer_is_not_decoded(tmp_path: Path, vocabulary: Path) -> None:
    documents = [Document(LEARNED_FROM[0], "web", "")]
    shard.write(documents, tmp_path / "out" / "a.tokens", tokenizer("pieces"), Packing(64), source="web")
    with pytest.raises(UserError, match="another tokenizer"):
        inspect.run(InspectRequest(folder=tmp_path / "out", tokenizer=str(vocabulary)), Silent())


def test_the_commands_are_written_as_the_guide_has_them(
    tmp_path: Path, vocabulary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.__main__ import main

    prefix, out = str(knowlms(tmp_path / "theirs")), str(tmp_path / "ours")
    words = ["corpus", "convert", "--from", "knowlm", "--source", prefix, "--out", out, "--tokenizer", str(vocabulary)]
    assert main(words) == 0
    assert main(["corpus", "inspect", out, "--tokenizer", str(vocabulary), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sources"][0]["name"] == "source-1"
