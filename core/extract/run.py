"""`python -m core extract run`: a file's texts to records, beside which it leaves CSV and JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from core import models, settings
from core.errors import UserError
from core.extract import batch, calls, inputs, tables
from core.extract import schema as schemas
from core.extract.calls import Options
from core.extract.export import export_run
from core.extract.reads import language_facts
from core.extract.schema import Task
from core.operation import Needs, Progress, Request, Result, operation


class RunRequest(Request):
    """Extract entities, relations or events from the texts of a file."""

    input: Path = Field(
        description="File with the texts: CSV, TSV, JSON lines, JSON, plain text (a line each) or .xlsx",
        json_schema_extra={"picker": "file"},
    )
    text_column: str | None = Field(default=None, description="Column that holds the texts; the likeliest if not given")
    task: tuple[Task, ...] = Field(
        default=("ner",), min_length=1, description="What to extract: entities (ner), relations (re), events (ee)"
    )
    schema_ref: Annotated[str, tyro.conf.arg(name="schema")] = Field(
        description="Name of a ready-made schema, or a .json file with your own types",
        json_schema_extra={"picker": "schema"},
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
    limit: int | None = Field(
        default=None, ge=1, description="Stop after this many rows", json_schema_extra={"unit": "rows"}
    )
    run_anyway: bool = Field(
        default=False, description="Run a model that does not read the language; every record is marked"
    )
    retry_failed: bool = Field(default=False, description="Ask again for rows that failed in an earlier call")
    id_column: str | None = Field(
        default=None,
        description="Column with a row's id; its number if not given",
        json_schema_extra={"advanced": True},
    )
    sheet: str | None = Field(
        default=None, description="Sheet of a workbook; the first if not given", json_schema_extra={"advanced": True}
    )
    chunk_characters: int = Field(
        default=0,
        ge=0,
        le=8000,
        description="Longest piece of text a call reads; 0 chooses by the script",
        json_schema_extra={"advanced": True, "unit": "characters"},
    )
    overlap: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Sentences that a piece repeats from the one before",
        json_schema_extra={"advanced": True, "unit": "sentences"},
    )
    types_per_call: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Types asked for in one call; 0 asks for all, or for as many as the dialect's models are used to",
        json_schema_extra={"advanced": True},
    )
    grammar: bool = Field(
        default=True,
        description="Hold answers to verbatim pieces of the text, where the model's engine can",
        json_schema_extra={"advanced": True},
    )

    dialect: Literal["auto", "studio", "zhixi", "oneke"] = Field(
        default="auto",
        description="How the model is asked and answers; auto takes the dialect that its card names",
        json_schema_extra={"advanced": True},
    )

    examples: int | None = Field(
        default=None,
        ge=0,
        le=50,
        description="Examples that prompts show; if not given, all of the schema's to models not trained for this",
        json_schema_extra={"advanced": True},
    )
    instruction: str = Field(
        default="",
        max_length=8000,
        description="Instruction of your own in place of the dialect's; {format} in it becomes the form of answers",
        json_schema_extra={"advanced": True},
    )
    wording: int = Field(
        default=0,
        ge=0,
        le=20,
        description="Number of the dialect's wording; zhixi has three, from 0 on",
        json_schema_extra={"advanced": True},
    )

    def options(self) -> Options:
        return Options(
            self.chunk_characters,
            self.overlap,
            self.types_per_call,
            self.grammar,
            self.dialect,
            self.examples,
            self.instruction,
            self.wording,
        )


class RunResult(Result):
    """`rows` and the records are the whole folder's; `asked`, `reused` and the rates this call's."""

    out: Path
    rows: int
    failed: int
    asked: int
    reused: int
    """Rows whose text another row had: answered without asking."""
    entities: int
    relations: int
    events: int
    not_located: int
    seconds: float
    rows_per_second: float
    tokens_per_second: float
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        lines = [
            f"{self.rows} rows, {self.failed} failed: {self.entities} entities, {self.relations} relations, "
            f"{self.events} events, {self.not_located} spans not found in their text",
            f"asked {self.asked} rows in {self.seconds:.1f} s ({self.rows_per_second:.2f} rows/s, "
            f"{self.tokens_per_second:.0f} tokens/s), {self.reused} answered from the same text",
            *(f"note: {warning}" for warning in self.warnings),
            f"written to {self.out}",
        ]
        return "\n".join(lines)


def estimate(request: RunRequest) -> Needs:
    """Disk only: the model's memory is the host's matter, which refuses what doesn't fit."""
    try:
        size = request.input.stat().st_size
    except OSError:
        return Needs()
    return Needs(disk=4 * size + (1 << 20), disk_at=request.out)


def plan(request: RunRequest) -> list[str]:
    schema = schemas.load(request.schema_ref)
    info = inputs.inspect(request.input, request.sheet)
    parts = calls.parts(schema, request.task, request.options(), _model_if_here(request))
    return [
        f"read {info.format} ({info.encoding or 'workbook'}), about {info.rows_estimate} rows, "
        f"column {request.text_column or info.text_column}",
        *(f"ask for {part.task}: {', '.join(made.name for made in part.schema.types(part.task))}" for part in parts),
        f"write {request.out}/records.jsonl, entities.csv, relations.csv, events.csv",
    ]


@operation("extract", "run", estimate=estimate, plan=plan)
def run(request: RunRequest, progress: Progress) -> RunResult:
    schema = schemas.load(request.schema_ref)
    model = models.resolve(request.model or settings.read().default_model)
    layout = tables.layout_of(request.input, request.sheet, _named(request))
    column = inputs.resolve_column(layout, request.text_column)

    def documents():
        return inputs.documents(request.input, column, request.id_column, sheet=request.sheet)

    facts = language_facts(model, (document.text for document in documents()), run_anyway=request.run_anyway)
    made = batch.Batch(model, schema, request.task, request.options(), documents, request.out, facts=facts)
    outcome = made.run(
        progress,
        settings=_settings(request, model, schema, column),
        limit=request.limit,
        retry_failed=request.retry_failed,
    )
    exported = export_run(request.out)
    return RunResult(
        out=request.out,
        **exported.counts(),
        asked=outcome.asked,
        reused=outcome.reused,
        seconds=outcome.seconds,
        rows_per_second=outcome.rows_per_second,
        tokens_per_second=outcome.tokens_per_second,
        warnings=tuple(str(UserError.from_dict(warning)) for warning in facts["warnings"]),
    )


def _model_if_here(request: RunRequest) -> models.Model | None:
    """A plan can be shown before the model is fetched."""
    try:
        return models.resolve(request.model or settings.read().default_model)
    except UserError:
        return None


def _named(request: RunRequest) -> tuple[str, ...]:
    return tuple(name for name in (request.text_column, request.id_column) if name)


def _settings(request: RunRequest, model: models.Model, schema: schemas.Schema, column: str) -> dict[str, object]:
    """What a second call must share to go on: all that changes rows or answers, under the options' own names."""
    return {
        "input": inputs.digest(request.input),
        "text-column": column,
        "id-column": request.id_column,
        "sheet": request.sheet,
        "task": list(request.task),
        "schema": schema.hash,
        "model": model.ref,
        "weights": batch.weights_of(model),
        **calls.settings_of(model, request.options()),
    }
