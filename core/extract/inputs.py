"""A person's file or folder as documents: which columns it has, and the texts of one of them, streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract import folders, tables
from core.extract.language import language_of
from core.extract.tables import Layout, Row, TextFile, is_number
from core.records import Document

__all__ = ["ColumnInfo", "TableInfo", "Unreadable", "documents", "inspect", "language_of"]

_SAMPLE = 200
_CELLS = 40_000  # of a wide table's sample
_DOCUMENTS = 5  # of a folder's: each has to be read whole
_PREVIEW = 5000  # characters of a cell
DOUBLE = UserError(
    "The id “{id}” stands in an earlier row, too: this row is called {name}.",
    remedy="Give each row an id of its own, if you join the results by it.",
)


@dataclass(frozen=True)
class ColumnInfo:
    name: str
    looks_like_text: bool
    numeric: bool
    """Every filled cell of the sample is a number."""
    mean_length: float
    """Characters, over the sample's filled cells."""
    sample: str
    doubles: int = 0
    """Cells of the sample that say what an earlier one says."""


@dataclass(frozen=True)
class TableInfo:
    """What a preview shows. `rows_estimate` is exact for small files. `header`: whether the file names its columns."""

    format: str
    encoding: str
    delimiter: str
    header: bool
    columns: list[ColumnInfo]
    rows_estimate: int
    preview: list[dict[str, str]]
    sheets: tuple[str, ...] = ()
    sheet: str = ""
    whole: bool = False
    """Each file is one document."""
    left_out: tuple[str, ...] = ()
    """Files of a folder that are not read: tables beside documents."""
    about: tuple[dict[str, Any], ...] = ()
    """Of each row of the preview what is known beside its cells: a document's file, pages, headings."""

    @property
    def text_column(self) -> str | None:
        """The column that most likely holds the texts: the longest that looks like text."""
        texts = [column for column in self.columns if column.looks_like_text]
        return max(texts, key=lambda column: column.mean_length).name if texts else None


@dataclass(frozen=True, slots=True)
class Unreadable(Document):
    """A row of the file that yields no text, and why. It becomes an error row of the run."""

    error: UserError | None = None


def inspect(path: str | Path, sheet: str | None = None, text_file: TextFile = "auto") -> TableInfo:
    """Look at the first rows of a file. Raises UserError where it can't be read at all."""
    layout = tables.layout_of(Path(path), sheet, text_file=text_file)
    sample = _sample(layout)
    return TableInfo(
        layout.format,
        layout.encoding,
        layout.delimiter,
        layout.header,
        [_column(name, [row.cells.get(name, "") for row in sample]) for name in layout.columns],
        _estimate(layout, sample),
        [{name: cell[:_PREVIEW] for name, cell in row.cells.items()} for row in sample[:20]],
        layout.sheets,
        layout.sheet,
        layout.whole,
        tuple(tables.left_out(layout)),
        tuple(row.about for row in sample[:20]),
    )


def _sample(layout: Layout) -> list[Row]:
    most = _DOCUMENTS if layout.whole else max(20, min(_SAMPLE, _CELLS // max(1, len(layout.columns))))
    return [row for row in islice(tables.rows(layout), most) if row.cells]


def documents(
    path: str | Path,
    text_column: str | None = None,
    id_column: str | None = None,
    *,
    sheet: str | None = None,
    text_file: TextFile = "auto",
) -> Iterator[Document]:
    """The texts of one column, in constant memory; an `Unreadable` for a row that can't be used.

    `text_column` None: the one that looks most like text. Without an id column the id is the row's number, from
    1; of a document, its file's name. Raises UserError before the first row where the file or columns are wrong.
    """
    named = tuple(name for name in (text_column, id_column) if name)
    layout = tables.layout_of(Path(path), sheet, named, text_file)
    column = resolve_column(layout, text_column)
    if id_column and id_column not in layout.columns:
        raise _no_such_column(layout, id_column)
    return _documents(layout, column, id_column)


def resolve_column(layout: Layout, text_column: str | None) -> str:
    """The column's name, checked: it is there and holds something other than numbers. Raises UserError."""
    if layout.whole and text_column in (None, tables.TEXT):
        return tables.TEXT
    sample = _sample(layout)
    if text_column is None:
        infos = [_column(name, [row.cells.get(name, "") for row in sample]) for name in layout.columns]
        texts = [info for info in infos if info.looks_like_text]
        if not texts:
            raise UserError(
                "No column of {path} looks like text.",
                remedy="Name the one to read with --text-column; it has: {columns}.",
                path=layout.path,
                columns=", ".join(layout.columns),
            )
        return max(texts, key=lambda info: info.mean_length).name
    if text_column not in layout.columns:
        raise _no_such_column(layout, text_column)
    if _column(text_column, [row.cells.get(text_column, "") for row in sample]).numeric:
        raise UserError(
            "The column “{column}” holds numbers, not text.",
            remedy="Choose another column: {columns}.",
            column=text_column,
            columns=", ".join(name for name in layout.columns if name != text_column) or "–",
        )
    return text_column


def digest(path: str | Path) -> str:
    """The file's sha256; of a folder, of all that is read of it."""
    if Path(path).is_dir():
        return folders.digest(Path(path), tables.FORMATS)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: Path) -> int:
    """Bytes; of a folder, of all that may be read of it. Raises OSError."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in folders.files(path, tables.FORMATS))


def count(path: Path) -> int | None:
    """Rows, where they are told without reading them: files of a folder of documents, rows of a Parquet file."""
    if path.is_dir() or path.suffix.lower() in (".parquet", ".pq"):
        return tables.count(tables.layout_of(path))
    return None


def reading_lines(info: TableInfo, text_column: str | None) -> list[str]:
    """What a plan says of the input."""
    if info.whole:
        told = "one document" if info.format == "document" else f"{info.rows_estimate} documents"
        some = ", ".join(info.left_out[:5]) + (" …" if len(info.left_out) > 5 else "")
        return [f"read {told}", *([f"leave out {len(info.left_out)} tables beside them: {some}"] if some else [])]
    kind = f"{info.format} ({info.encoding})" if info.encoding else info.format
    return [f"read {kind}, about {info.rows_estimate} rows, column {text_column or info.text_column}"]


def _documents(layout: Layout, column: str, id_column: str | None) -> Iterator[Document]:
    seen: set[bytes] = set()
    for row in tables.rows(layout, {column, *([id_column] if id_column else [])}):
        wanted = (row.cells.get(id_column, "").strip() if id_column else "") or row.name or str(row.number + 1)
        document_id = _distinct(wanted, row.number, seen) if id_column else wanted
        about = row.about
        if document_id != wanted:
            double = UserError(DOUBLE.problem, remedy=DOUBLE.remedy, id=wanted, name=document_id)
            about = {**about, "warnings": [*about.get("warnings", ()), double.to_dict()]}
        text = row.cells.get(column)
        if row.error is None and text is not None:
            yield Document(document_id, text, row.number, about)
        else:
            yield Unreadable(document_id, text or "", row.number, about, row.error or _missing(row, column))


def _distinct(name: str, number: int, seen: set[bytes]) -> str:
    """The id, or `id#row` where an earlier row has the same (once more, if that is taken too). Eight bytes a row."""
    while (mark := hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()) in seen:
        name = f"{name}#{number + 1}"
    seen.add(mark)
    return name


def _missing(row: Row, column: str) -> UserError:
    return UserError(
        "Line {line} has no cell in the column “{column}”.",
        remedy="Fill it, or take the line out; the other rows are not touched by it.",
        line=row.line,
        column=column,
    )


def _no_such_column(layout: Layout, name: str) -> UserError:
    return UserError(
        "{path} has no column “{column}”.",
        remedy="It has: {columns}.",
        path=layout.path,
        column=name,
        columns=", ".join(layout.columns),
    )


def _column(name: str, cells: list[str]) -> ColumnInfo:
    filled = [cell for cell in cells if cell.strip()]
    numeric = bool(filled) and all(map(is_number, filled))
    mean = sum(map(len, filled)) / len(filled) if filled else 0.0
    wordy = sum(" " in cell.strip() or any("\u3040" <= char <= "\uffdc" for char in cell) for cell in filled)
    looks_like_text = bool(filled) and not numeric and mean >= 8 and wordy >= len(filled) / 2
    doubles = len(filled) - len(set(filled))
    return ColumnInfo(name, looks_like_text, numeric, mean, next(iter(filled), "")[:200], doubles)


def _estimate(layout: Layout, sample: list[Row]) -> int:
    if (known := tables.count(layout)) is not None:
        return known
    if len(sample) < min(_SAMPLE, max(20, _CELLS // max(1, len(layout.columns)))):
        return len(sample)
    if layout.format == "xlsx":
        return sum(1 for _ in tables.rows(layout))
    read = sum(len(cell.encode("utf-8", "replace")) + 1 for row in sample for cell in row.cells.values())
    if layout.format == "folder":
        return _estimate_of_folder(layout, read / len(sample))
    return max(len(sample), round(layout.path.stat().st_size * len(sample) / max(read, 1)))


def _estimate_of_folder(layout: Layout, bytes_a_row: float) -> int:
    size = sum(path.stat().st_size for path in folders.files(layout.path, tables.TABLES))
    return round(size / max(1.0, bytes_a_row))
