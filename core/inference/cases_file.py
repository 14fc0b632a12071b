"""Files of cases and of their results, CSV or JSON lines; a kill loses no row that was written."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.inference.wire import clean

Row = dict[str, Any]
DELIMITERS = (",", ";", "\t")
LONGEST = 1 << 30
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def read(path: Path) -> list[Row]:
    """All rows, blank ones left out. Raises UserError."""
    text = _text(path)
    rows = _json_lines(path, text) if is_json(path) else _csv(path, text)
    return [row for row in rows if any(value not in ("", None) for value in row.values())]


def kept(path: Path, column: str) -> list[Row]:
    """The rows of results written before, a last one that was cut short left out; none if there is no file."""
    if not path.exists() or not path.stat().st_size:
        return []
    text = _text(path)
    csv.field_size_limit(LONGEST)
    if is_json(path):
        whole, _, _ = text.rpartition("\n")
        rows = [_object(line) or {} for line in whole.splitlines()]
        ours = all(column in row for row in rows)
    else:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = [row for row in reader if None not in row]
        ours = column in (reader.fieldnames or ())
    if not ours:
        raise UserError(
            "{path} is there already and holds no results of cases.", remedy="Choose another name.", path=path
        )
    return [row for row in rows if row.get(column)]


def write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Replace the file at once."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            if not is_json(path):
                file.write("\ufeff" + _csv_line(columns))  # the mark makes Excel read it as UTF-8
            for row in rows:
                file.write(_line(path, columns, row))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            "{path} can't be written: {why}", remedy="Choose another place.", path=path, why=error.strerror or error
        ) from error


def append(path: Path, columns: Sequence[str], row: Row) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(_line(path, columns, row))


def is_json(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".ndjson", ".json")


def _line(path: Path, columns: Sequence[str], row: Row) -> str:
    if is_json(path):
        line = json.dumps({name: row[name] for name in columns if name in row}, ensure_ascii=False) + "\n"
    else:
        line = _csv_line([_cell(row.get(name)) for name in columns])
    return clean(line)


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> str:
    """A cell that Excel would take for a formula gets a ' before it: answers may say anything."""
    if value is None or isinstance(value, bool | int | float):
        return "" if value is None else json.dumps(value)
    text = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).replace("\0", " ")
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except OSError as error:
        raise UserError(
            "The file {path} can't be read: {why}",
            remedy="Check its name and whether you may read it.",
            path=path,
            why=error.strerror or error,
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            "The file {path} is not UTF-8 text.", remedy="Save it as UTF-8 (in Excel: “CSV UTF-8”).", path=path
        ) from error


def _json_lines(path: Path, text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = _object(line)
        if row is None:
            raise UserError(
                "Line {line} of {path} is not a JSON object.",
                remedy="Write one object a line, such as {example}.",
                line=number,
                path=path,
                example='{"prompt": "…", "expected": "…"}',
            )
        rows.append(row)
    return rows


def _object(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _csv(path: Path, text: str) -> list[Row]:
    first = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    csv.field_size_limit(LONGEST)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        rows = [{name: value or "" for name, value in row.items() if name != ""} for row in reader]
    except csv.Error as error:
        raise UserError(
            "Line {line} of {path} is not CSV: {why}.",
            remedy="Save it again as CSV, with texts of several lines in quotes.",
            line=reader.line_num,
            path=path,
            why=error,
        ) from error
    if any(None in row for row in rows):
        raise UserError(
            "A row of {path} has more cells than its first line.",
            remedy="Put texts that hold a “{delimiter}” in quotes.",
            path=path,
            delimiter=delimiter,
        )
    return rows
