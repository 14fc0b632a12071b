"""Token stores: what was written comes back; what is damaged, cut short, newer or another tokenizer's is refused."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from train.corpus import store_format
from train.corpus.store import Corpus, Piece, Store, Vocabulary, Writer

SMALL = Vocabulary("small", 1000, "tiny", 1, 2)
LARGE = Vocabulary("large", 150_000, "huge", None, 3)


def written(path: Path, vocabulary: Vocabulary = SMALL, source: str = "web", length: int = 16) -> Path:
    """Three documents: one in two rows, one with context, one alone."""
    with Writer(path, vocabulary, source=source, length=length, language="en", mode="even") as writer:
        writer.row([Piece(np.arange(10, 20), 0), Piece(np.arange(30, 36), 1)])
        writer.row([Piece(np.arange(33, 40), 1, 3, 3), Piece(np.array([vocabulary.size - 1]), 2)])
        writer.row([Piece(np.arange(20, 25), 0, 0, 10)])
    return path


@pytest.mark.parametrize("vocabulary", [SMALL, LARGE])
def test_rows_come_back_as_they_were_written(tmp_path: Path, vocabulary: Vocabulary) -> None:
    made = Store(written(tmp_path / "a.tokens", vocabulary))
    assert made.head.dtype == ("uint16" if vocabulary is SMALL else "uint32")
    assert (len(made), made.head.samples, made.head.documents, made.head.tokens) == (3, 5, 3, 29)
    row = made.row(1)
    assert row.ids.tolist() == [*range(33, 40), vocabulary.size - 1]
    assert row.positions.tolist() == [*range(7), 0]
    assert row.learned.tolist() == [False] * 3 + [True] * 4 + [False]
    assert made.row(0).learned.tolist() == [False] + [True] * 9 + [False] + [True] * 5
    assert made.sample(4).tolist() == [20, 21, 22, 23, 24]
    assert [ids.tolist() for ids in made.documents()] == [
        list(range(10, 25)),
        list(range(30, 40)),
        [vocabulary.size - 1],
    ]
    assert made.row_lengths.tolist() == [16, 8, 5]
    made.check_sums()


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a.tokens"), written(tmp_path / "b.tokens")
    assert one.read_bytes() == other.read_bytes()


def test_a_store_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    with pytest.raises(RuntimeError), Writer(path, SMALL, source="web", length=16) as writer:
        writer.row([Piece(np.arange(3), 0)])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for ids, why in ((np.arange(17), "longer than the length"), (np.array([1000]), "not one of the vocabulary's")):
        with (
            pytest.raises(UserError, match=why),
            Writer(tmp_path / "a.tokens", SMALL, source="web", length=16) as writer,
        ):
            writer.row([Piece(ids, 0)])


def test_a_vocabulary_of_65_536_needs_no_more_than_two_bytes(tmp_path: Path) -> None:
    for size, dtype in ((65_536, "uint16"), (65_537, "uint32")):
        path = tmp_path / f"{size}.tokens"
        with Writer(path, Vocabulary("x", size), source="web", length=16) as writer:
            writer.row([Piece(np.array([0, size - 1]), 0)])
        assert Store(path).head.dtype == dtype and Store(path).row(0).ids.tolist() == [0, size - 1]


def test_an_empty_store_can_be_read(tmp_path: Path) -> None:
    with Writer(tmp_path / "a.tokens", SMALL, source="web", length=16):
        pass
    made = Store(tmp_path / "a.tokens")
    assert len(made) == 0 and list(made.documents()) == []


def test_a_store_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.tokens").read_bytes()
    cut = tmp_path / "cut.tokens"
    for size in (0, 3, 19, 4000, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"no token store|damaged|cut short"):
            Store(cut)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tokens")
    whole = bytearray(path.read_bytes())
    whole[40] ^= 1  # in the header: seen at once
    path.write_bytes(whole)
    with pytest.raises(UserError, match="header"):
        Store(path)
    whole[40] ^= 1
    whole[store_format.HEAD + 5] ^= 1  # in the tokens: seen when all is read
    path.write_bytes(whole)
    with pytest.raises(UserError, match="its tokens have changed"):
        Store(path).check_sums()


def test_a_store_of_a_later_version_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tokens")
    whole = bytearray(path.read_bytes())
    struct.pack_into("<I", whole, 8, 2)
    path.write_bytes(whole)
    with pytest.raises(UserError, match="later version"):
        Store(path)


def test_another_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tokens")
    Store(path, fingerprint="small")
    with pytest.raises(UserError, match=r"another tokenizer \(tiny\)"):
        Store(path, fingerprint="large")


def test_a_missing_file_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        Store(tmp_path / "none.tokens")
    (tmp_path / "text.tokens").write_text("no store" * 2000)
    with pytest.raises(UserError, match="no token store"):
        Store(tmp_path / "text.tokens")


def test_a_corpus_counts_a_sources_rows_through_its_files(tmp_path: Path) -> None:
    for name, source in (("a", "web"), ("b", "books"), ("c", "web")):
        written(tmp_path / "deep" / f"{name}.tokens", source=source)
    made = Corpus(tmp_path, fingerprint="small")
    assert made.rows() == {"books": 3, "web": 6} and made.length == 16
    assert made.sources["web"].row(4).ids.tolist() == made.sources["web"].row(1).ids.tolist()
    assert made.sources["web"].place(3)[0].path.name == "c.tokens"


def test_a_corpus_of_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no token store"):
        Corpus(tmp_path)
    written(tmp_path / "a.tokens")
    written(tmp_path / "b.tokens", LARGE)
    with pytest.raises(UserError, match="another tokenizer"):
        Corpus(tmp_path)
    written(tmp_path / "b.tokens", length=32)
    with pytest.raises(UserError, match="packed for 32 tokens, others for 16"):
        Corpus(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="files there have no holes")
def test_opening_takes_no_longer_for_a_billion_rows(tmp_path: Path) -> None:
    """A file with holes: as large as the real one would be, read where rows are looked up only."""
    rows = 1_000_000_000
    sections, at = {}, store_format.HEAD
    counts = {"tokens": rows, "sample_starts": rows + 1, "row_samples": rows + 1}
    for name in ("tokens", *store_format.SECTIONS):
        dtype = store_format.SECTIONS.get(name, np.dtype("<u2"))
        sections[name] = store_format.Section(at, counts.get(name, rows) * dtype.itemsize, 0)
        at = store_format.aligned(at + sections[name].bytes)
    head = store_format.Head(SMALL, "uint16", "web", "en", 16, "filled", rows, rows, rows, rows, sections)
    path = tmp_path / "a.tokens"
    with path.open("wb") as file:
        file.write(head.to_bytes())
        file.truncate(head.size)
        for name in ("sample_starts", "row_samples"):
            file.seek(sections[name].offset + 8 * 987_654_321)
            file.write(np.array([987_654_321, 987_654_322], "<u8").tobytes())
    made = Store(path)
    assert len(made) == rows and len(made.row(987_654_321).ids) == 1


def test_a_headers_checksum_covers_what_it_says() -> None:
    raw = store_format.Head(SMALL, "uint16", "web", "en", 16, "filled", 0, 0, 0, 0, {}).to_bytes()
    _, version, length, crc = struct.unpack_from("<8sIII", raw)
    assert version == store_format.VERSION and zlib.crc32(raw[20 : 20 + length]) == crc
    assert len(raw) == store_format.HEAD
