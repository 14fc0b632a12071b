"""`joined.csv`: the file that a person gave, row by row, with what was found in each row beside it.

For people each record is written out (`Ada Lovelace [person]; …`), for programs as JSON; both in one cell a kind.
In spreadsheet mode, which is the usual one, the file starts with a byte order mark and cells that a spreadsheet would
take for formulas get a `'` before them, the person's own cells too.
"""

from __future__ import annotations

import csv
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract import tables
from core.extract.export import cell
from core.extract.tables import Row
from core.records import Entity, Event, Extraction, Relation, Span
from core.store import Store, clean, dump

JOINED = "joined.csv"
ADDED = (
    *("entities", "relations", "events"),
    *("entities_json", "relations_json", "events_json"),
    *("confidence", "state", "problem"),
)
"""`state`: done, failed, or open where the row has no result yet."""


def join_run(
    folder: str | Path,
    source: Path,
    *,
    sheet: str | None = None,
    columns: tuple[str | None, ...] = (),
    text_file: tables.TextFile = "auto",
    spreadsheet: bool = True,
    out: Path | None = None,
) -> Path | None:
    """Write `joined.csv` anew (or `out`), whole or not at all. None where the source is gone, or is no table.

    Streams both sides. `columns`: those that the person named, as reading the file takes them. Safe while the run
    goes on. Raises UserError.
    """
    folder = Path(folder)
    goal = out or folder / JOINED
    if not source.exists():
        return None
    layout = tables.layout_of(source, sheet, tuple(name for name in columns if name), text_file)
    if layout.whole:
        return None
    temporary = goal.with_name(f".{goal.name}.{secrets.token_hex(4)}.tmp")
    names = [_new(name, layout.columns) for name in ADDED]
    write: Any = cell if spreadsheet else _plain
    try:
        with temporary.open("w", encoding="utf-8-sig" if spreadsheet else "utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([write(name) for name in (*layout.columns, *names)])
            for row, extraction in _side_by_side(tables.rows(layout), Store(folder).rows()):
                own = [row.cells.get(name, "") for name in layout.columns]
                writer.writerow([write(value) for value in (*own, *_added(extraction))])
        temporary.replace(goal)
    except OSError as error:
        raise UserError(
            "The results could not be written to {folder}: {why}.",
            remedy="Free some space or close the programs that hold the files, then start the run again: "
            "nothing is asked twice.",
            folder=goal.parent,
            why=error.strerror or error,
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return goal


def _side_by_side(
    rows: Iterator[Row], results: Iterator[tuple[int, Extraction]]
) -> Iterator[tuple[Row, Extraction | None]]:
    """Each row of the file with its result. Both come in the file's order."""
    number, extraction = next(results, (-1, None))
    for row in rows:
        while extraction is not None and number < row.number:
            number, extraction = next(results, (-1, None))
        yield row, extraction if extraction is not None and number == row.number else None


def _added(extraction: Extraction | None) -> tuple[object, ...]:
    if extraction is None:
        return ("", "", "", "", "", "", "", "open", "")
    told: Mapping[str, Any] = extraction.to_dict()
    problem = ""
    if extraction.error is not None:
        problem = str(UserError.from_dict(extraction.error))
    return (
        "; ".join(map(_entity, extraction.entities)),
        "; ".join(map(_relation, extraction.relations)),
        "; ".join(map(_event, extraction.events)),
        *(dump(told[kind]) if told[kind] else "" for kind in ("entities", "relations", "events")),
        extraction.confidence,
        "done" if extraction.error is None else "failed",
        problem,
    )


def _entity(one: Entity) -> str:
    return f"{_words(one)} [{one.type}]"


def _relation(one: Relation) -> str:
    return f"{_words(one.head)} –{one.relation}→ {_words(one.tail)}" + (" (swapped?)" if one.swapped else "")


def _event(one: Event) -> str:
    arguments = ", ".join(f"{each.role}: {each.text}" for each in one.arguments)
    return f"{one.type}: {_words(one.trigger)}" + (f" ({arguments})" if arguments else "")


def _words(one: Entity | Span) -> str:
    """What is not in the text is marked as such."""
    return " ".join(one.text.split()) + ("" if one.located else " (not in the text)")


def _new(name: str, taken: tuple[str, ...] | list[str]) -> str:
    """The column's name, or with a number where the file has one of that name."""
    made, number = name, 1
    while made in taken:
        number += 1
        made = f"{name}_{number}"
    return made


def _plain(value: object) -> object:
    return "" if value is None else clean(str(value)).replace("\0", " ")
