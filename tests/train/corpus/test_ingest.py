"""Files to rows: every line exactly once whatever the ranges, packed files, damage, lines without end, fields."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
import zstandard

from core.errors import UserError
from core.launchers.corpus import Source
from train.corpus import ingest, sources, streams
from train.corpus.ingest import Read, Row
from train.corpus.template import MissingField, template

LIMIT = 1 << 20


def read(source: Source, *, most: int = 1 << 26, limit: int = LIMIT) -> tuple[list[Row], list[Read]]:
    pieces = [piece for shard in sources.shards((source,), most) for piece in shard.pieces]
    found = [one for piece in pieces for one in ingest.rows(source, piece, limit)]
    return [one for one in found if isinstance(one, Row)], [one for one in found if isinstance(one, Read)]


def texts(source: Source, **how: int) -> list[str]:
    return [row.text for row in read(source, **how)[0]]


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("most", [1, 2, 3, 7, 64, 1000])
def test_lines_on_the_border_of_ranges_are_read_exactly_once(tmp_path: Path, most: int) -> None:
    chance = random.Random(most)
    lines = ["字" * chance.randrange(1, 9) + str(number) * chance.randrange(1, 40) for number in range(80)]
    file = tmp_path / "a.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    rows, told = read(Source(name="a", path=(str(file),)), most=most)
    assert [row.text for row in rows] == lines
    assert sum(row.size for row in rows) == sum(one.bytes for one in told) == file.stat().st_size
    raw = file.read_bytes()
    assert all(raw[row.offset :].startswith(row.text.encode()) for row in rows)


@pytest.mark.parametrize("pack", [gzip.compress, lambda raw: zstandard.ZstdCompressor().compress(raw)])
def test_packed_files_of_several_members_are_read_whole(tmp_path: Path, pack) -> None:
    lines = [f"line {number} " * 50 for number in range(4000)]
    raw = "".join(f"{line}\n" for line in lines).encode()
    name = "a.txt.gz" if pack is gzip.compress else "a.txt.zst"
    (tmp_path / name).write_bytes(pack(raw[:700_000]) + pack(raw[700_000:]))
    rows, (told,) = read(Source(name="a", path=(str(tmp_path / name),)))
    assert [row.text for row in rows] == [line.strip() for line in lines]
    assert told.bytes == len(raw)
    assert told.damage is None


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_cut_off_file_yields_what_stands_before_and_says_so(tmp_path: Path, ending: str) -> None:
    chance = random.Random(1)
    lines = [" ".join(str(chance.random()) for _ in range(20)) for _ in range(20_000)]
    raw = "".join(f"{line}\n" for line in lines).encode()
    packed = gzip.compress(raw) if ending == "gz" else zstandard.ZstdCompressor().compress(raw)
    file = tmp_path / f"a.txt.{ending}"
    file.write_bytes(packed[: len(packed) // 2])
    rows, (told,) = read(Source(name="a", path=(str(file),)))
    whole = [row for row in rows if not row.bad]
    assert 5_000 < len(whole) < 20_000
    assert [row.text for row in whole] == lines[: len(whole)]
    assert [row.bad for row in rows[len(whole) :]] in ([], ["cut_off"]), "half a line is no document"
    assert sum(row.size for row in rows) == told.bytes
    assert told.damage is not None
    assert str(file) in str(told.damage)


def test_a_file_that_is_no_gzip_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(b"not gzip at all")
    (tmp_path / "b.txt").write_text("fine\n")
    rows, told = read(Source(name="a", path=(str(tmp_path),)))
    assert [row.text for row in rows] == ["fine"]
    assert [one.damage is None for one in told] == [False, True]


@pytest.mark.parametrize("most", [1 << 26, 1 << 20])
def test_a_line_without_end_is_counted_and_passed_over(tmp_path: Path, most: int) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"before\n" + b"x" * (5 << 20) + b"\nafter\n")
    rows, told = read(Source(name="a", path=(str(file),)), most=most)
    assert [(row.text, row.bad) for row in rows] == [("before", ""), ("", "too_long"), ("after", "")]
    assert rows[1].size == (5 << 20) + 1
    assert sum(one.bytes for one in told) == file.stat().st_size


@pytest.mark.soak
def test_a_line_of_a_gigabyte_is_never_held(tmp_path: Path) -> None:
    import resource

    file = tmp_path / "a.txt"
    with file.open("wb") as out:
        out.write(b"before\n")
        for _ in range(1024):
            out.write(b"x" * (1 << 20))
        out.write(b"\nafter\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows, _ = read(Source(name="a", path=(str(file),)), limit=16 << 20)
    assert [row.bad for row in rows] == ["", "too_long", ""]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_broken_rows_are_told_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    lines = [b'{"text": "one"}', b"{broken", b'{"other": 1}', b'{"text": "caf\xe9"}', b"", b"[1]", b'{"text": null}']
    file.write_bytes(b"\n".join(lines))
    rows, _ = read(Source(name="a", path=(str(file),)))
    said = [row.bad for row in rows]
    assert said == ["", "not_json", "missing_field", "", "empty", "not_json", "missing_field"]
    assert rows[2].told == "text"
    assert rows[3].text == "caf\ufffd"
    assert rows[3].broken_bytes


def test_fields_become_a_document_by_the_template(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", [{"title": "T", "body": {"text": ["x", "y"]}}, {"body": {"text": "z"}}])
    source = Source(name="a", path=(str(file),), text="{title?}\\n{body.text} {{n}}")
    assert texts(source) == ["T\nx\ny {n}", "z {n}"]
    with pytest.raises(MissingField, match="title"):
        template("{title}").fill({"titel": ""})
    for wrong in ("{", "no field", "{}", "a } b"):
        with pytest.raises(UserError):
            template(wrong)


def test_parquet_is_read_by_its_row_groups(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows = [{"title": f"T{n}", "content": "词" * n, "other": n} for n in range(1, 300)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=50)
    source = Source(name="a", path=(str(file),), text="{title}\n{content}")
    found, told = read(source, most=2000)
    assert len(told) > 1, "several shards"
    assert [row.text for row in found] == [f"{row['title']}\n{row['content']}" for row in rows]
    assert [row.offset for row in found] == list(range(299))
    wanted = sum(len(f"{row['title']}{row['content']}".encode()) for row in rows)
    assert sum(row.size for row in found) == sum(one.bytes for one in told) == wanted
    file.write_bytes(file.read_bytes()[:-20])
    (found, (damaged,)) = read(source)
    assert (found, damaged.damage is not None) == ([], True)


def test_whole_files_as_documents(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"{name}\n\nand more\n")
    source = Source(name="a", path=(str(tmp_path),), documents="file")
    assert texts(source, most=5) == ["a\n\nand more", "b\n\nand more"]


def test_other_encodings_and_marks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeff第一行\r\n第二行\r\n".encode())
    (tmp_path / "b.txt").write_bytes("第一行\n第二行\n".encode("gb18030"))
    assert texts(Source(name="a", path=(str(tmp_path / "a.txt"),))) == ["第一行", "第二行"]
    assert texts(Source(name="a", path=(str(tmp_path / "b.txt"),), encoding="gb18030"), most=3) == ["第一行", "第二行"]
    with pytest.raises(UserError, match="utf-16"):
        read(Source(name="a", path=(str(tmp_path / "a.txt"),), encoding="utf-16"))


def test_a_path_without_files_and_unknown_kinds_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no files"):
        sources.files_of(Source(name="a", path=(str(tmp_path / "*.jsonl"),)))
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a\.docx"):
        sources.files_of(Source(name="a", path=(str(tmp_path / "a.docx"),)))


def test_patterns_find_files_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("x/2.jsonl", "x/1.jsonl.gz", "y/3.jsonl", "y/4.csv"):
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"")
    found = sources.files_of(Source(name="a", path=(f"{tmp_path}/**/*.jsonl*",)))
    assert [path.name for path, _ in found] == ["1.jsonl.gz", "2.jsonl", "3.jsonl"]


def test_a_file_that_was_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n")
    source = Source(name="a", path=(str(file),))
    (shard,) = sources.shards((source,), LIMIT)
    file.write_text("other\n")
    import os

    os.utime(file, ns=(1, 1))
    with pytest.raises(UserError, match="changed"):
        list(ingest.rows(source, shard.pieces[0], LIMIT))


def test_a_bomb_of_zstd_is_unpacked_piece_by_piece(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.zst"
    file.write_bytes(zstandard.ZstdCompressor(level=19).compress(b"\0" * (1 << 28)))
    assert file.stat().st_size < 20_000
    assert max(map(len, streams.blocks(file))) <= 80 << 20
