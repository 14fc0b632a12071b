"""Folders, Parquet files, wide tables and single documents as input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import inputs, tables
from core.extract.inputs import Unreadable, documents, inspect
from tests.core import papers

TEXT = "Marie Curie was born in Warsaw."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    (place / "2024").mkdir(parents=True)
    (place / "b.txt").write_text(TEXT + "\n" + TEXT, encoding="utf-8")
    papers.pdf(place / "2024" / "a.pdf", [["First page."], ["Second page."]])
    (place / "2024" / "broken.pdf").write_bytes(b"%PDF nothing")
    (place / "~$lock.docx").write_bytes(b"x")
    (place / ".hidden.txt").write_text("no", encoding="utf-8")
    (place / "rows.csv").write_text("id,text\n1,a b c d e f g\n", encoding="utf-8")
    return place


def test_a_folder_is_one_document_a_file_called_by_its_name(folder: Path) -> None:
    made = list(documents(folder))
    assert [one.id for one in made] == ["b.txt", "2024/a.pdf", "2024/broken.pdf"]
    assert [one.row for one in made] == [0, 1, 2]
    assert made[0].text == TEXT + "\n" + TEXT
    assert made[1].about == {"file": "2024/a.pdf", "pages": [0, 12]}
    assert isinstance(made[2], Unreadable) and "damaged" in str(made[2].error)
    info = inspect(folder)
    assert (info.format, info.whole, info.rows_estimate, info.left_out) == ("folder", True, 3, ("rows.csv",))


def test_a_folders_digest_tells_any_change(folder: Path) -> None:
    before = inputs.digest(folder)
    (folder / "~$lock.docx").unlink()
    assert inputs.digest(folder) == before
    (folder / "b.txt").rename(folder / "c.txt")
    assert inputs.digest(folder) != before


def test_a_folder_of_tables_is_all_their_rows(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"part-{number}.jsonl").write_text(
            "".join(json.dumps({"text": f"Words of {number} and {line} here."}) + "\n" for line in range(2)),
            encoding="utf-8",
        )
    made = list(documents(tmp_path, "text"))
    assert [one.row for one in made] == list(range(6))
    assert (made[3].id, made[3].about["file"]) == ("part-1.jsonl#2", "part-1.jsonl")


def test_a_folder_of_nothing_readable_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="holds no file that can be read"):
        inspect(tmp_path)


def test_a_document_is_one_row_and_a_text_file_whichever_it_looks_like(tmp_path: Path) -> None:
    papers.docx(tmp_path / "a.docx", papers.paragraph("Some words."))
    assert [(one.id, one.text) for one in documents(tmp_path / "a.docx")] == [("a.docx", "Some words.")]
    listed, prose = tmp_path / "lines.txt", tmp_path / "prose.txt"
    listed.write_text("One text.\nAnother.\nA third.\n", encoding="utf-8")
    prose.write_text("A paragraph\nof two lines.\n\nAnother one.\n", encoding="utf-8")
    assert [len(list(documents(path))) for path in (listed, prose)] == [3, 1]
    assert [len(list(documents(listed, text_file=way))) for way in ("lines", "document")] == [3, 1]
    assert len(list(documents(prose, text_file="lines"))) == 3


def test_parquet_is_streamed_by_row_groups_and_only_the_wanted_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"key": number, "text": f"Words of row {number}.", "more": {"a": [1]}, "none": None} for number in range(2500)
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=400)
    info = inspect(path)
    assert (info.text_column, info.rows_estimate, info.preview[0]["more"]) == ("text", 2500, '{"a": [1]}')
    made = list(documents(path, "text", "key"))
    assert [(one.id, one.text) for one in made] == [(str(row["key"]), row["text"]) for row in rows]
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match="not a Parquet file"):
        inspect(path)


def test_two_thousand_columns_are_no_burden(tmp_path: Path) -> None:
    names = ["text", *(f"column {number}" for number in range(1999))]
    rows = [",".join(["Some words stand here.", *("1" for _ in range(1999))]) for _ in range(300)]
    path = tmp_path / "wide.csv"
    path.write_text("\n".join([",".join(names), *rows]), encoding="utf-8")
    layout = tables.layout_of(path)
    assert len(set(layout.columns)) == 2000
    info = inspect(path)
    assert (len(info.columns), info.text_column) == (2000, "text")
    assert sum(len(row.cells) for row in tables.rows(layout, {"text"})) == 300
    assert len(list(documents(path, "text"))) == 300
    assert len(set(tables.column_names(["same"] * 2000, True))) == 2000


def test_ids_that_stand_twice_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\na,Some words.\na,More words.\nb,Other words.\n", encoding="utf-8")
    assert [column.doubles for column in inspect(path).columns] == [1, 0]
    first, second, _ = documents(path, "text", "id")
    assert first.about == {}
    assert "stands in an earlier row" in str(UserError.from_dict(second.about["warnings"][0]))
