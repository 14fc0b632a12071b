"""`python -m core extract instructkgc`: rows that each say themselves what to look for, through one model.

Rows that ask for the same are one batch, so that calls share their prompt's start; each batch keeps its store, and
a second call goes on where the first stopped. `records.jsonl` then holds all rows in the file's order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro
from pydantic import Field

from core import models, settings
from core.errors import UserError
from core.extract import batch, calls, inputs, instructkgc
from core.extract.calls import Options
from core.extract.instructkgc import Row
from core.extract.reads import language_facts
from core.models import Model
from core.operation import Progress, Request, Result, operation
from core.records import Document, Extraction
from core.store import Store, dump

RECORDS = "records.jsonl"


class InstructKGCRequest(Request):
    """Extract triples from rows with instructions (CCKS 2023, InstructKGC), each with the relations it names."""

    input: tyro.conf.Positional[Path] = Field(
        description="File of the task: JSON lines or a list, with id, instruction and input",
        json_schema_extra={"picker": "file"},
    )
    out: Path = Field(
        description="Folder for the results; a second call with it goes on where the first stopped",
        json_schema_extra={"picker": "folder"},
    )
    model: str = Field(
        default="",
        description="Model to ask: a name, a .gguf file, a folder or an http:// address; your default if not given",
        json_schema_extra={"picker": "model"},
    )
    words: Literal["auto", "row", "ours"] = Field(
        default="auto",
        description="Whose instruction the model gets: the row's, to the letter, or ours; auto: the row's in zhixi",
    )
    completion: Literal["marked", "all", "none"] = Field(
        default="marked",
        description="Rows whose triples may go beyond their text: those that say so, all, or none",
    )
    limit: int | None = Field(
        default=None, ge=1, description="Stop after this many rows", json_schema_extra={"unit": "rows"}
    )
    run_anyway: bool = Field(
        default=False, description="Run a model that does not read the language; every record is marked"
    )
    retry_failed: bool = Field(default=False, description="Ask again for rows that failed in an earlier call")
    dialect: Literal["auto", "studio", "zhixi", "oneke"] = Field(
        default="auto",
        description="How the model is asked and answers; auto takes the dialect that its card names",
        json_schema_extra={"advanced": True},
    )
    grammar: bool = Field(
        default=True,
        description="Hold answers to verbatim pieces of the text, where the model's engine can",
        json_schema_extra={"advanced": True},
    )


class InstructKGCResult(Result):
    out: Path
    rows: int
    schemas: int
    completion: int
    """Rows whose records were not looked for in their text."""
    failed: int
    triples: int
    seconds: float

    def summary(self) -> str:
        return (
            f"{self.rows} rows under {self.schemas} different lists of relations, {self.failed} failed: "
            f"{self.triples} triples in {self.seconds:.1f} s\n"
            f"{self.completion} rows ask for more than their text says: their triples were not looked for in it\n"
            f"written to {self.out}; hand in with: extract submission {self.out} --out FILE"
        )


@dataclass
class _Group:
    """Rows that are asked the same."""

    first: Row
    grounding: bool
    instruction: str
    documents: list[Document] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """Where each of them stands in the file."""

    def add(self, row: Row) -> None:
        self.documents.append(Document(row.id, row.text, len(self.documents)))
        self.numbers.append(row.number)

    @property
    def name(self) -> str:
        told = [self.first.schema.hash, self.grounding, self.instruction]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


class _Together:
    """Progress of one batch as a piece of the whole."""

    def __init__(self, whole: Progress, before: int, total: int) -> None:
        self._whole, self._before, self._total = whole, before, total

    def step(self, done: float, total: float | None = None, unit: str = "") -> None:
        self._whole.step(self._before + done, self._total, "rows")

    def metric(self, **values: float) -> None:
        self._whole.metric(**values)

    def log(self, line: str) -> None:
        self._whole.log(line)


@operation("extract", "instructkgc")
def run(request: InstructKGCRequest, progress: Progress) -> InstructKGCResult:
    model = models.resolve(request.model or settings.read().default_model)
    groups = _groups(_rows(request), _words(request, model), request.completion)
    total = sum(len(group.documents) for group in groups)
    if not total:
        raise UserError("The input has no rows.", remedy="Choose a file with at least one text in it.")
    texts = (document.text for group in groups for document in group.documents)
    facts = language_facts(model, texts, run_anyway=request.run_anyway)
    done, seconds = 0, 0.0
    for group in groups:
        options = Options(
            grammar=request.grammar,
            dialect=request.dialect,
            instruction=group.instruction,
            grounding=group.grounding,
        )
        made = batch.Batch(
            model,
            group.first.schema,
            ["re"],
            options,
            lambda group=group: group.documents,  # type: ignore[misc]
            request.out / "groups" / group.name,
            facts={**facts, "instruction_of_row": group.first.instruction},
        )
        told = {
            "input": inputs.digest(request.input),
            "schema": group.first.schema.hash,
            "model": model.ref,
            "weights": batch.weights_of(model),
            **calls.settings_of(model, options),
        }
        outcome = made.run(_Together(progress, done, total), settings=told, retry_failed=request.retry_failed)
        done += len(group.documents)
        seconds += outcome.seconds
    failed, triples = _write(request.out, groups)
    return InstructKGCResult(
        out=request.out,
        rows=total,
        schemas=len({group.first.schema.hash for group in groups}),
        completion=sum(len(group.documents) for group in groups if not group.grounding),
        failed=failed,
        triples=triples,
        seconds=seconds,
    )


def _rows(request: InstructKGCRequest) -> Iterator[Row]:
    for row in instructkgc.rows(request.input):
        if request.limit is not None and row.number >= request.limit:
            return
        yield row


def _words(request: InstructKGCRequest, model: Model) -> bool:
    """Whether the rows' own instructions are put to the model."""
    dialect = calls.dialect_of(model, Options(dialect=request.dialect))
    return request.words == "row" or (request.words == "auto" and dialect == "zhixi")


def _groups(rows: Iterator[Row], own: bool, completion: str) -> Sequence[_Group]:
    made: dict[str, _Group] = {}
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise UserError(
                "The id {id} occurs twice, the second time in row {row}.",
                remedy="Give each row an id of its own.",
                id=row.id,
                row=row.number + 1,
            )
        seen.add(row.id)
        beyond = completion == "all" or (completion == "marked" and row.completion)
        group = _Group(row, not beyond, row.instruction if own else "")
        made.setdefault(group.name, group).add(row)
    return list(made.values())


def _write(out: Path, groups: Sequence[_Group]) -> tuple[int, int]:
    """records.jsonl, in the file's order; how many rows failed, how many triples there are."""
    held: dict[int, str] = {}
    failed = triples = 0
    for group in groups:
        for found in Store(out / "groups" / group.name).results():
            number = group.numbers[found.provenance["row"]]
            held[number] = dump({**found.to_dict(), "provenance": {**found.provenance, "row": number}})
            failed += found.error is not None
            triples += len(found.relations)
    temporary = out / f".{RECORDS}.tmp"
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(held[number] + "\n" for number in sorted(held))
    temporary.replace(out / RECORDS)
    return failed, triples


def records(place: Path) -> Iterator[Extraction]:
    """The rows of a run's folder or of a records.jsonl. Raises UserError."""
    path = place / RECORDS if place.is_dir() else place
    if not path.is_file():
        raise UserError("There is no file {path}.", remedy="Let the run finish, or name its records.jsonl.", path=path)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Extraction.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    "Line {line} of {path} is no row of records.jsonl.",
                    remedy="Give the records that an extraction wrote.",
                    line=number,
                    path=path,
                ) from error
