"""The rows of an extraction run, read one by one from the folder that it wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.records import Extraction

RECORDS = "records.jsonl"
STORE = "store.sqlite"
AUDIT = "audit.json"


def records_file(run: Path) -> Path:
    """A run's store, else its `records.jsonl`. Raises UserError where neither is.

    The store first: records.jsonl is what the last call that came to its end wrote, so it is old while a
    run goes on, and after one that was stopped.
    """
    for name in (STORE, RECORDS):
        if (run / name).is_file():
            return run / name
    raise UserError(
        "There is no extraction run in {folder}.",
        remedy="Choose the folder that `extract run` wrote: it holds records.jsonl or store.sqlite.",
        folder=run,
    )


def extractions(run: Path) -> Iterator[Extraction]:
    """Every finished row, in order. Raises UserError: no run there, a broken line."""
    file = records_file(run)
    if file.name == RECORDS:
        yield from _lines(file)
        return
    from core.store import Store

    yield from Store(run).results()


def audit(run: Path) -> dict[str, Any]:
    """What the run's audit says of how right its records are (core/extract/audit.py writes it)."""
    try:
        said = json.loads((run / AUDIT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = None
    return said if isinstance(said, dict) and "audited" in said else {"audited": False}


def fingerprint(run: Path) -> dict[str, int | str]:
    """Changes when the run gets other rows, not when the same rows are written anew."""
    file = records_file(run)
    if file.name == STORE:
        from core.store import Store

        store = Store(run)
        counts = store.counts()
        return {"file": STORE, "rows": counts.rows, "records": counts.records, "last": store.last()}
    with file.open("rb") as content:
        size = content.seek(0, 2)
        content.seek(max(0, size - 65536))
        return {"file": RECORDS, "size": size, "end": hashlib.sha256(content.read()).hexdigest()}


def _lines(file: Path) -> Iterator[Extraction]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _checked(Extraction.from_dict(json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(
                    "Line {line} of {file} is not a record ({reason}).",
                    remedy="Remove that line, or run the extraction again: it writes the file anew.",
                    line=number,
                    file=file,
                    reason=f"{type(error).__name__}: {error}",
                ) from error


def _checked(extraction: Extraction) -> Extraction:
    """A dataclass takes any value; what must be text is checked here, once."""
    spans: list = [*extraction.entities]
    texts = [extraction.id, extraction.text, *(entity.type for entity in extraction.entities)]
    for relation in extraction.relations:
        spans += [relation.head, relation.tail]
        texts.append(relation.relation)
    for event in extraction.events:
        spans += [event.trigger, *event.arguments]
        texts += [event.type, *(argument.role for argument in event.arguments)]
    if not all(isinstance(text, str) for text in (*texts, *(span.text for span in spans))):
        raise TypeError("a text is not a string")
    if not all(isinstance(place, int | None) for span in spans for place in (span.start, span.end)):
        raise TypeError("an offset is not a whole number")
    if not isinstance(extraction.provenance, dict):
        raise TypeError("provenance is not an object")
    return extraction
