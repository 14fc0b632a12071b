"""The rows of a file, streamed: CSV, TSV, JSON lines, JSON lists, plain text and Excel sheets, as they come.

Each `rows_*` yields `Row`s; a row that can't be read carries its error and the next one follows.
"""

from __future__ import annotations

import csv
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.extract.encodings import encoding_of

Format = Literal["csv", "jsonl", "json", "txt", "xlsx"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".txt": "txt",
    ".md": "txt",
    ".text": "txt",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}
TEXT = "text"  # the column of formats that have no names
_CELL_LIMIT = 8 << 20  # characters; a quote that is never closed would otherwise swallow the rest of the file
_BLOCK = 1 << 16
# what openpyxl lets through of a workbook's parts: SyntaxError is the XML parser's
_BROKEN_WORKBOOK = (
    zipfile.BadZipFile,
    zlib.error,
    SyntaxError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Row:
    """`line` counts from 1 as an editor shows it; `cells` maps column to value."""

    number: int
    line: int
    cells: dict[str, str] = field(default_factory=dict)
    error: UserError | None = None


@dataclass(frozen=True)
class Layout:
    """How a file is to be read, found out once and then used for preview and run alike."""

    path: Path
    format: Format
    encoding: str = ""
    delimiter: str = ""
    header: bool = True
    columns: tuple[str, ...] = ()
    sheet: str = ""
    sheets: tuple[str, ...] = ()


def layout_of(path: Path, sheet: str | None = None, named: tuple[str, ...] = ()) -> Layout:
    """Find a file's format, encoding, delimiter, header and columns. Raises UserError.

    `named`: columns that the person named; a first row that holds one of them is the header whatever it looks like.
    """
    made = FORMATS.get(path.suffix.lower())
    if not path.is_file():
        raise UserError("There is no file {path}.", remedy="Check the name and the folder.", path=path)
    if path.stat().st_size == 0:
        raise UserError("{path} is empty.", remedy="Choose a file with at least one text in it.", path=path)
    if made is None:
        raise UserError(
            "{path} is of a kind that can't be read.",
            remedy="Save it as one of: {kinds}.",
            path=path,
            kinds=", ".join(FORMATS),
        )
    if made == "xlsx":
        return _xlsx_layout(path, sheet, named)
    encoding = encoding_of(path)
    if made in ("json", "jsonl"):
        return _json_layout(path, encoding)
    if made == "txt":
        return Layout(path, "txt", encoding, columns=(TEXT,))
    return _csv_layout(path, encoding, named)


def rows(layout: Layout) -> Iterator[Row]:
    reader = {"csv": _csv_rows, "jsonl": _jsonl_rows, "json": _json_rows, "txt": _txt_rows, "xlsx": _xlsx_rows}
    return reader[layout.format](layout)


def _open(layout: Layout):
    return layout.path.open(encoding=layout.encoding, errors="replace", newline="")


# CSV and TSV


def _csv_layout(path: Path, encoding: str, named: tuple[str, ...]) -> Layout:
    delimiter = _delimiter(path, encoding)
    first = next(_records(Layout(path, "csv", encoding, delimiter)), None)
    cells = first[1] if first and isinstance(first[1], list) else None
    if cells is None:
        raise UserError(
            "The first line of {path} can't be read as a table.",
            remedy="Save it as CSV with UTF-8 encoding, or as .xlsx.",
            path=path,
        )
    header = looks_like_header(cells, named)
    return Layout(path, "csv", encoding, delimiter, header, column_names(cells, header))


def _delimiter(path: Path, encoding: str) -> str:
    """The one that cuts the first records into the most even number of cells."""
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        sample = list(islice(iter(lambda: file.readline(_BLOCK), ""), 60))

    def evenness(delimiter: str) -> tuple[float, int]:
        csv.field_size_limit(_CELL_LIMIT)
        try:
            widths = [len(record) for record in csv.reader(sample, delimiter=delimiter) if record]
        except csv.Error:
            return (0.0, 0)
        width = max(set(widths), key=widths.count, default=0)
        return (widths.count(width) / len(widths), width) if width > 1 else (0.0, 0)

    candidates = "\t," if path.suffix.lower() in (".tsv", ".tab") else ",\t;|"
    best = max(candidates, key=lambda sign: (round(evenness(sign)[0], 1), evenness(sign)[1]))
    return best if evenness(best)[1] else candidates[0]


def _records(layout: Layout) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """(line on which the record starts, its cells or its error); blank records are passed over."""
    csv.field_size_limit(_CELL_LIMIT)
    with _open(layout) as file:
        reader = csv.reader(file, delimiter=layout.delimiter or ",")
        while True:
            line = reader.line_num + 1
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, error
                continue
            if any(cell.strip() for cell in record):
                yield line, record


def _csv_rows(layout: Layout) -> Iterator[Row]:
    records = _records(layout)
    if layout.header:
        next(records, None)
    for number, (line, record) in enumerate(records):
        if isinstance(record, csv.Error):
            yield Row(number, line, error=_broken(line, str(record)))
        else:
            yield _aligned(number, line, record, layout.columns)


def _aligned(number: int, line: int, cells: list[str], columns: tuple[str, ...]) -> Row:
    """A record by column names. One with more filled cells than columns is an error: text would be lost."""
    if any(cell.strip() for cell in cells[len(columns) :]):
        error = UserError(
            "Line {line} has {found} cells where the first line has {wanted}.",
            remedy="Put cells that hold the delimiter in quotes, or save the table as .xlsx.",
            line=line,
            found=len(cells),
            wanted=len(columns),
        )
        return Row(number, line, dict(zip(columns, cells, strict=False)), error)
    return Row(number, line, dict(zip(columns, cells, strict=False)))


def looks_like_header(cells: list[str], named: tuple[str, ...] = ()) -> bool:
    """Names are short, distinct, not numbers, and no sentences."""
    names = [cell.strip() for cell in cells]
    if any(name in names for name in named):
        return True
    while names and not names[-1]:
        names.pop()
    return len(set(names)) == len(names) and all(name == "" or _is_name(name) for name in names) and any(names)


def _is_name(cell: str) -> bool:
    if is_number(cell) or len(cell) > 60 or cell[-1] in ".。!！?？":
        return False
    return len(cell.split()) <= 6 and sum("\u4e00" <= char <= "\u9fff" for char in cell) <= 12


def is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip("%$€£¥").replace(",", "").replace(" ", ""))
    except ValueError:
        return False
    return True


def column_names(cells: list[str], header: bool) -> tuple[str, ...]:
    """The header's names made distinct (`text`, `text (2)`), or column_1, column_2 … where there is none."""
    names: list[str] = []
    for number, cell in enumerate(cells, start=1):
        name = (cell.strip() if header else "") or f"column_{number}"
        doubles = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({doubles + 1})" if doubles else name)
    return tuple(names)


# JSON


def _json_layout(path: Path, encoding: str) -> Layout:
    with path.open(encoding=encoding, errors="replace") as file:
        start = file.read(_BLOCK).lstrip()[:1]
    made: Format = "json" if start == "[" and not _first_line_is_json(path, encoding) else "jsonl"
    layout = Layout(path, made, encoding)
    good = [row for row in islice(rows(layout), 200) if row.error is None]
    if not good:
        raise UserError(
            "{path} holds neither JSON lines nor a JSON list.",
            remedy="Write one JSON object a line, or a list of objects.",
            path=path,
        )
    names = dict.fromkeys(name for row in good for name in row.cells)
    return Layout(path, made, encoding, columns=tuple(names))


def _first_line_is_json(path: Path, encoding: str) -> bool:
    with path.open(encoding=encoding, errors="replace") as file:
        try:
            return isinstance(json.loads(file.readline(_CELL_LIMIT)), dict)
        except (ValueError, RecursionError):
            return False


def _jsonl_rows(layout: Layout) -> Iterator[Row]:
    number = 0
    with layout.path.open(encoding=layout.encoding, errors="replace", newline="\n") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                yield Row(number, line, _cells(json.loads(text)))
            except (ValueError, RecursionError) as error:
                yield Row(number, line, error=_broken(line, str(error)))
            number += 1


def _json_rows(layout: Layout) -> Iterator[Row]:
    """The items of one big list, without holding it: decode an item, drop its text, read on."""
    decoder = json.JSONDecoder()
    with layout.path.open(encoding=layout.encoding, errors="replace") as file:
        held, number = file.read(_BLOCK).lstrip().removeprefix("["), 0
        while True:
            held = held.lstrip().removeprefix(",").lstrip()
            if held.startswith("]"):
                return
            try:
                item, end = decoder.raw_decode(held)
                why = "" if end < len(held) else "the list is cut off"  # a number at the end may go on
            except (ValueError, RecursionError) as error:
                why = str(error)
            if why:
                more = file.read(max(_BLOCK, len(held)))  # doubling: linear work for one huge item
                if not more or len(held) > _CELL_LIMIT:
                    if held.strip():
                        yield Row(number, number + 1, error=_broken(number + 1, why))
                    return
                held += more
                continue
            yield Row(number, number + 1, _cells(item))
            held, number = held[end:], number + 1


def _cells(item: Any) -> dict[str, str]:
    if not isinstance(item, dict):
        return {TEXT: _cell(item)}
    return {str(name): _cell(value) for name, value in item.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Text and Excel


def _txt_rows(layout: Layout) -> Iterator[Row]:
    with layout.path.open(encoding=layout.encoding, errors="replace") as file:
        filled = ((line, text) for line, text in enumerate(file, start=1) if text.strip())
        for number, (line, text) in enumerate(filled):
            yield Row(number, line, {TEXT: text.rstrip("\n")})


def _sheet(path: Path, sheet: str | None):
    """(open workbook, its sheet). Sheets that hold nothing but a chart have no rows and are passed over."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        names = [page.title for page in book.worksheets]
    except _BROKEN_WORKBOOK as error:
        raise UserError(
            "{path} is not an Excel workbook.", remedy="Save it again as .xlsx, or as CSV.", path=path
        ) from error
    if not names:
        book.close()
        raise UserError("{path} has no sheet with rows.", remedy="Choose a workbook with a table in it.", path=path)
    if sheet and sheet not in names:
        book.close()
        raise UserError(
            "{path} has no sheet “{sheet}”.", remedy="It has: {names}.", path=path, sheet=sheet, names=", ".join(names)
        )
    return book, book[sheet or names[0]]


def _sheet_records(path: Path, sheet: str | None) -> Iterator[tuple[int, list[str]]]:
    """Raises UserError where the sheet's own file breaks off: what stands behind that can't be found."""
    book, page = _sheet(path, sheet)
    line = 0
    try:
        page.reset_dimensions()  # what other programs wrote there is often wrong
        for line, record in enumerate(page.iter_rows(values_only=True), start=1):
            cells = ["" if value is None else str(value) for value in record]
            if any(cell.strip() for cell in cells):
                yield line, cells
    except _BROKEN_WORKBOOK as error:
        raise UserError(
            "{path} is damaged: its sheet “{sheet}” breaks off after line {line}.",
            remedy="Save it again as .xlsx, or as CSV.",
            path=path,
            sheet=page.title,
            line=line,
        ) from error
    finally:
        book.close()


def _xlsx_layout(path: Path, sheet: str | None, named: tuple[str, ...]) -> Layout:
    book, page = _sheet(path, sheet)
    sheets, title = tuple(one.title for one in book.worksheets), page.title
    book.close()
    first = next(_sheet_records(path, title), None)
    if first is None:
        raise UserError(
            "The sheet “{sheet}” of {path} is empty.", remedy="Choose another sheet.", sheet=title, path=path
        )
    header = looks_like_header(first[1], named)
    return Layout(path, "xlsx", "", "", header, column_names(first[1], header), title, sheets)


def _xlsx_rows(layout: Layout) -> Iterator[Row]:
    records = _sheet_records(layout.path, layout.sheet)
    if layout.header:
        next(records, None)
    for number, (line, cells) in enumerate(records):
        yield _aligned(number, line, cells, layout.columns)


def _broken(line: int, why: str) -> UserError:
    return UserError(
        "Line {line} can't be read: {why}.",
        remedy="Correct that line; the other rows are not touched by it.",
        line=line,
        why=why,
    )
