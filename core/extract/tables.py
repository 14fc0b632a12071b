"""The rows of a file or folder, streamed: CSV, TSV, JSON, Parquet, Excel sheets, lines of text, documents.

Each `_*_rows` yields `Row`s; a row that can't be read carries its error and the next one follows.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.extract import excel, folders, parquet, readers
from core.extract.encodings import encoding_of

Format = Literal["csv", "jsonl", "json", "txt", "xlsx", "parquet", "document", "folder"]
TextFile = Literal["auto", "lines", "document"]
"""What a file of plain text is: a text a line, or one document. auto: a document where empty lines part it."""
TABLES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PLAIN = (".txt", ".text")
FORMATS: dict[str, Format] = {**TABLES, **dict.fromkeys(readers.suffixes(), "document")}
TEXT = "text"  # the column of formats that have no names
_CELL_LIMIT = 8 << 20  # characters; a quote that is never closed would otherwise swallow the rest of the file
_BLOCK = 1 << 16
_LINE = 1 << 20  # characters of a line looked at: a header of 2,000 columns has some 100,000


@dataclass(frozen=True, slots=True)
class Row:
    """`line` counts from 1 as an editor shows it; `cells` maps column to value.

    `name`: what it is called where it isn't called by its number; `about`: what its records' provenance keeps.
    """

    number: int
    line: int
    cells: dict[str, str] = field(default_factory=dict)
    error: UserError | None = None
    name: str = ""
    about: dict[str, Any] = field(default_factory=dict)


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
    whole: bool = False
    """Each file is one document; else each row of a file is."""


def layout_of(
    path: Path, sheet: str | None = None, named: tuple[str, ...] = (), text_file: TextFile = "auto"
) -> Layout:
    """Find a file's format, encoding, delimiter, header and columns; a folder's kind. Raises UserError.

    `named`: columns that the person named; a first row that holds one of them is the header whatever it looks like.
    """
    if path.is_dir():
        return _folder_layout(path, sheet, named)
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
    if made == "parquet":
        return Layout(path, "parquet", columns=column_names(list(parquet.columns(path)), True))
    if made == "document" and path.suffix.lower() not in PLAIN:
        folders.paper_of(path)  # raises where it can't be read
        return Layout(path, "document", columns=(TEXT,), whole=True)
    encoding = encoding_of(path)
    if made in ("json", "jsonl"):
        return _json_layout(path, encoding)
    if made == "document":
        whole = text_file == "document" or (text_file == "auto" and _is_one_document(path, encoding))
        return Layout(path, "document" if whole else "txt", encoding, columns=(TEXT,), whole=whole)
    return _csv_layout(path, encoding, named)


def rows(layout: Layout, only: Collection[str] | None = None) -> Iterator[Row]:
    """`only`: the columns that matter; others may be left out."""
    if layout.format == "csv":
        return _csv_rows(layout, only)
    if layout.format == "parquet":
        return _parquet_rows(layout, only)
    if layout.format == "folder":
        return _folder_rows(layout, only)
    readers_: dict[str, Callable[[Layout], Iterator[Row]]] = {
        "jsonl": _jsonl_rows,
        "json": _json_rows,
        "txt": _txt_rows,
        "xlsx": _xlsx_rows,
        "document": _document_rows,
    }
    return readers_[layout.format](layout)


def count(layout: Layout) -> int | None:
    """How many rows there are, where that is told without reading them."""
    if layout.format == "folder" and layout.whole:
        return sum(1 for _ in folders.files(layout.path, readers.suffixes()))
    if layout.format == "document":
        return 1
    return parquet.count(layout.path) if layout.format == "parquet" else None


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
        sample: list[str] = []
        held = 0
        while len(sample) < 60 and held < 4 * _LINE and (line := file.readline(_LINE)):
            sample.append(line)
            held += len(line)

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


def _csv_rows(layout: Layout, only: Collection[str] | None = None) -> Iterator[Row]:
    records = _records(layout)
    wanted = [(place, name) for place, name in enumerate(layout.columns) if only is None or name in only]
    if layout.header:
        next(records, None)
    for number, (line, record) in enumerate(records):
        if isinstance(record, csv.Error):
            yield Row(number, line, error=_broken(line, str(record)))
        else:
            yield _aligned(number, line, record, wanted, len(layout.columns))


def _aligned(number: int, line: int, cells: list[str], wanted: list[tuple[int, str]], columns: int) -> Row:
    """A record by column names. One with more filled cells than columns is an error: text would be lost."""
    named = {name: cells[place] for place, name in wanted if place < len(cells)}
    if any(cell.strip() for cell in cells[columns:]):
        error = UserError(
            "Line {line} has {found} cells where the first line has {wanted}.",
            remedy="Put cells that hold the delimiter in quotes, or save the table as .xlsx.",
            line=line,
            found=len(cells),
            wanted=columns,
        )
        return Row(number, line, named, error)
    return Row(number, line, named)


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
    names: dict[str, None] = {}
    seen: Counter[str] = Counter()
    for number, cell in enumerate(cells, start=1):
        wanted = name = (cell.strip() if header else "") or f"column_{number}"
        while name in names:
            seen[wanted] += 1
            name = f"{wanted} ({seen[wanted] + 1})"
        names[name] = None
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
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# Text and Excel


def _txt_rows(layout: Layout) -> Iterator[Row]:
    with layout.path.open(encoding=layout.encoding, errors="replace") as file:
        filled = ((line, text) for line, text in enumerate(file, start=1) if text.strip())
        for number, (line, text) in enumerate(filled):
            yield Row(number, line, {TEXT: text.rstrip("\n")})


def _xlsx_layout(path: Path, sheet: str | None, named: tuple[str, ...]) -> Layout:
    sheets, title = excel.sheets(path, sheet)
    first = next(excel.records(path, title), None)
    if first is None:
        raise UserError(
            "The sheet “{sheet}” of {path} is empty.", remedy="Choose another sheet.", sheet=title, path=path
        )
    header = looks_like_header(first[1], named)
    return Layout(path, "xlsx", "", "", header, column_names(first[1], header), title, sheets)


def _xlsx_rows(layout: Layout) -> Iterator[Row]:
    records = excel.records(layout.path, layout.sheet)
    if layout.header:
        next(records, None)
    wanted = list(enumerate(layout.columns))
    for number, (line, cells) in enumerate(records):
        yield _aligned(number, line, cells, wanted, len(wanted))


# Documents, folders and Parquet


def _is_one_document(path: Path, encoding: str) -> bool:
    """Whether empty lines part a text file into paragraphs; a list of texts has none, or few."""
    with path.open(encoding=encoding, errors="replace") as file:
        lines = [bool(line.strip()) for line in islice(iter(lambda: file.readline(_BLOCK), ""), 2000)]
    while lines and not lines[-1]:
        lines.pop()
    filled = sum(lines)
    parted = sum(filled and not line for line, filled in zip(lines, [False, *lines], strict=False))
    return parted >= max(1, filled / 12)


def _document_rows(layout: Layout) -> Iterator[Row]:
    yield _document(0, layout.path, layout.path.name)


def _document(number: int, path: Path, name: str) -> Row:
    try:
        paper = folders.paper_of(path)
    except UserError as error:
        return Row(number, number + 1, error=error, name=name, about={"file": name})
    except OSError as error:
        return Row(number, number + 1, error=_gone(path, error), name=name, about={"file": name})
    return Row(number, number + 1, {TEXT: paper.text}, name=name, about={"file": name, **paper.facts()})


def _gone(path: Path, error: OSError) -> UserError:
    return UserError(
        "{path} can't be read: {why}.",
        remedy="Check that the file is there and may be read.",
        path=path,
        why=error.strerror or error,
    )


def _folder_layout(folder: Path, sheet: str | None, named: tuple[str, ...]) -> Layout:
    """Documents if there are any, else tables."""
    if next(folders.files(folder, readers.suffixes()), None) is not None:
        return Layout(folder, "folder", columns=(TEXT,), whole=True)
    first = next(folders.files(folder, TABLES), None)
    if first is None:
        raise UserError(
            "The folder {path} holds no file that can be read.",
            remedy="Put files of these kinds in it: {kinds}.",
            path=folder,
            kinds=", ".join(FORMATS),
        )
    one = layout_of(first, sheet, named)
    return Layout(folder, "folder", one.encoding, one.delimiter, one.header, one.columns)


def _folder_rows(layout: Layout, only: Collection[str] | None) -> Iterator[Row]:
    folder, number = layout.path, 0
    if layout.whole:
        for number, path in enumerate(folders.files(folder, readers.suffixes())):
            yield _document(number, path, folders.name_in(folder, path))
        return
    for path in folders.files(folder, TABLES):
        name = folders.name_in(folder, path)
        try:
            for row in rows(layout_of(path, None, layout.columns), only):
                about = {**row.about, "file": name}
                yield replace(row, number=number, name=f"{name}#{row.number + 1}", about=about)
                number += 1
        except UserError as error:
            yield Row(number, 0, error=error, name=name, about={"file": name})
            number += 1


def left_out(layout: Layout) -> list[str]:
    """Tables beside documents, which a folder's run does not read."""
    if layout.format != "folder" or not layout.whole:
        return []
    return [folders.name_in(layout.path, path) for path in folders.files(layout.path, TABLES)]


def _parquet_rows(layout: Layout, only: Collection[str] | None) -> Iterator[Row]:
    for number, values in enumerate(parquet.rows(layout.path, only)):
        yield Row(number, number + 1, {name: _cell(value) for name, value in values.items()})


def _broken(line: int, why: str) -> UserError:
    return UserError(
        "Line {line} can't be read: {why}.",
        remedy="Correct that line; the other rows are not touched by it.",
        line=line,
        why=why,
    )
