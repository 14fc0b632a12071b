"""A review to hand to somebody: one .zip of plain data, no code: what it is of, the schema, the sentences, decisions.

`package.json` and `units.jsonl`. A package comes from other people, so it is read with care: only these two
members, streamed, up to a size; its offsets and states are checked before anything is taken in.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError
from core.extract.review import queue
from core.extract.review.book import Book, recount
from core.extract.review.splits import text_hash
from core.extract.review.values import Kind, Value, extraction, same, type_of
from core.store import clean, dump

ABOUT, UNITS = "package.json", "units.jsonl"
FORMAT = 1
LARGEST = 2 << 30
"""Bytes of sentences that a package may unfold to."""


class PackedRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, max_length=200)
    kind: Kind
    confidence: float | None = None
    origin: dict[str, Any] | None = None
    state: Literal["pending", "accepted", "rejected"] = "pending"
    value: dict[str, Any] | None = None
    by: str = ""
    why: str = ""


class PackedUnit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    row: int
    document: str
    model: str = ""
    start: int = Field(ge=0)
    end: int
    text: str
    whole: bool = False
    records: tuple[PackedRecord, ...] = ()

    @property
    def values(self) -> Iterator[tuple[Kind, Value]]:
        for record in self.records:
            yield from ((record.kind, value) for value in (record.origin, record.value) if value is not None)


class About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    review: str
    """The review that it was taken from; a copy that comes back names the same."""
    run: str = ""
    who: str = ""
    blind: bool = False
    tasks: tuple[str, ...] = ()
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


def write(book: Book, out: Path, *, units: Iterable[int], who: str, blind: bool) -> int:
    """How many sentences were written. `blind`: without what was decided, so that nobody is led by it."""
    about = {
        "format": FORMAT,
        "review": book.id,
        "run": book.meta("run") or book.folder.name,
        "who": who,
        "blind": blind,
        "tasks": list(book.tasks()),
        "schema": book.meta("schema"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    made = 0
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(ABOUT, json.dumps(about, ensure_ascii=False, indent=2))
            with file.open(UNITS, "w", force_zip64=True) as member:
                for unit in _packed(book, list(units), blind):
                    member.write(f"{dump(unit)}\n".encode())
                    made += 1
        temporary.replace(out)
    except OSError as error:
        raise UserError(
            "The package can't be written to {path}: {why}.",
            remedy="Free some space, or choose another place.",
            path=out,
            why=error.strerror or error,
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return made


def _packed(book: Book, numbers: list[int], blind: bool) -> Iterator[dict[str, Any]]:
    for start in range(0, len(numbers), 200):
        piece = numbers[start : start + 200]
        marks = ", ".join("?" * len(piece))
        records: dict[int, list[dict[str, Any]]] = {}
        for unit, *told in book.read(
            "SELECT unit, name, kind, confidence, origin, state, value, decided_by, why FROM records"  # noqa: S608 only marks
            f" WHERE unit IN ({marks}) AND state IN ('pending', 'accepted', 'rejected') ORDER BY unit, place",
            piece,
        ):
            row = dict(zip(("name", "kind", "confidence", "origin", "state", "value", "by", "why"), told, strict=True))
            row["origin"] = json.loads(row["origin"]) if row["origin"] else None
            row["value"] = json.loads(row["value"])
            if blind and row["origin"] is None:
                continue
            if blind:
                row = {name: row[name] for name in ("name", "kind", "confidence", "origin")}
            records.setdefault(unit, []).append(row)
        for unit in queue.read(book, piece):
            yield {
                "row": unit["row"],
                "document": unit["document"],
                "model": unit["model"],
                "start": unit["start"],
                "end": unit["start"] + len(unit["text"]),
                "text": unit["text"],
                "whole": unit["whole"] and not blind,
                "records": records.get(unit["id"], []),
            }


def about(path: Path) -> About:
    with _opened(path) as file:
        try:
            made = About.model_validate_json(_small(file, path))
        except ValidationError as error:
            raise _broken(path, error) from error
    if made.format > FORMAT:
        raise UserError(
            "{file} was written by a newer version of the app.", remedy="Update the app to open it.", file=path
        )
    return made


def read(path: Path) -> Iterator[PackedUnit]:
    """The sentences, streamed and checked. Raises UserError with the line."""
    with _opened(path) as file:
        if file.getinfo(UNITS).file_size > LARGEST:
            raise UserError(
                "{path} unfolds to more than {size} GB.",
                remedy="Ask for a package with fewer sentences.",
                path=path,
                size=LARGEST >> 30,
            )
        with file.open(UNITS) as member:
            for number, line in enumerate(io.TextIOWrapper(member, encoding="utf-8"), start=1):
                try:
                    unit = PackedUnit.model_validate_json(line)
                    _check(unit)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise UserError(
                        "Line {line} of {path} is not a sentence with its records: {why}.",
                        remedy="Ask for the package anew.",
                        line=number,
                        path=path,
                        why=f"{type(error).__name__}: {error}"[:300],
                    ) from error
                yield unit


def _check(unit: PackedUnit) -> None:
    if unit.end - unit.start != len(unit.text):
        raise ValueError("its offsets don't fit its text")
    extraction(unit.document, unit.text, list(unit.values))  # raises where a value is no record
    for kind, value in unit.values:
        same(kind, value)


def open_package(path: Path, out: Path) -> int:
    """Make a review of one's own from a package; how many sentences it has. Raises UserError: there is one in `out`."""
    book = Book(out)
    if book.there:
        raise UserError(
            "There is a review in {folder} already.", remedy="Choose another folder with --out.", folder=out
        )
    told = about(path)
    meta = {"review": told.review, "run": told.run, "received_from": told.who, "blind": told.blind}
    book.create(**meta, tasks=list(told.tasks), schema=told.schema_)
    made = 0
    try:
        with book.writing() as database:
            for unit in read(path):
                made += 1
                facts = (unit.row, clean(unit.document), text_hash(unit.text), clean(unit.model))
                database.execute("INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, 0)", facts)
                database.execute("UPDATE documents SET units = units + 1 WHERE row = ?", [unit.row])
                number = database.execute(
                    "INSERT INTO units (row, start, end, text, whole, whole_by) VALUES (?, ?, ?, ?, ?, ?)",
                    [unit.row, unit.start, unit.end, dump(unit.text), unit.whole, told.who if unit.whole else ""],
                ).lastrowid
                for place, record in enumerate(unit.records):
                    value = record.value or record.origin or {}
                    database.execute(
                        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (
                            record.name,
                            number,
                            record.kind,
                            clean(type_of(record.kind, value)),
                            same(record.kind, value),
                            record.state,
                            record.confidence,
                            dump(record.origin) if record.origin else None,
                            dump(value),
                            place,
                            clean(record.by),
                            clean(record.why),
                        ),
                    )
                recount(database, int(number or 0))
    except BaseException:
        for file in out.glob(f"{book.file.name}*"):
            file.unlink(missing_ok=True)
        raise
    return made


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        file = zipfile.ZipFile(path)
        if not {ABOUT, UNITS} <= set(file.namelist()):
            raise zipfile.BadZipFile(f"no {ABOUT} in it")
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            "{path} is not a review package: {why}.",
            remedy="Choose the .zip that `extract review export --what package` wrote.",
            path=path,
            why=error,
        ) from error
    return file


def _small(file: zipfile.ZipFile, path: Path) -> bytes:
    if file.getinfo(ABOUT).file_size > 16 << 20:
        raise _broken(path, ValueError("its description is too long"))
    return file.read(ABOUT)


def _broken(path: Path, error: Exception) -> UserError:
    return UserError(
        "{path} is not a review package: {why}.",
        remedy="Choose the .zip that `extract review export --what package` wrote.",
        path=path,
        why=str(error).splitlines()[0],
    )
