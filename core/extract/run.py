"""`python -m core extract run`: a file's texts to records, beside which it leaves CSV and JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from core import models, settings
from core.errors import UserError
from core.extract import calls, cost, inputs, tables
from core.extract import schema as schemas
from core.extract.calls import Options
from core.extract.export import export_run
from core.extract.forecast import changed_lines, forecast
from core.extract.joinback import JOINED, join_run
from core.extract.passes import TEMPERATURE
from core.extract.prepared import prepare
from core.extract.retry import Wrong
from core.extract.runners import helpers
from core.extract.schema import Task
from core.operation import Needs, Progress, Request, Result, operation


class RunRequest(Request):
    """Extract entities, relations or events from the texts of a file."""

    input: Path = Field(
        description="A table (CSV, TSV, JSON, Parquet, .xlsx), a text file, a document (PDF, .docx, HTML, Markdown),"
        " or a folder of documents or of tables",
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
    text_file: tables.TextFile = Field(
        default="auto",
        description="What a .txt file is: a text a line, or one document; auto: one where empty lines part it",
        json_schema_extra={"advanced": True},
    )
    chunk_characters: int = Field(
        default=0,
        ge=0,
        le=8000,
        description="Longest piece of text a call reads; 0 chooses by the script",
        json_schema_extra={"advanced": True, "unit": "characters"},
    )
    overlap: int = Field(
        default=1,
        ge=0,
        le=5,
        description="Sentences that a piece repeats from the one before",
        json_schema_extra={"advanced": True, "unit": "sentences"},
    )
    context: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Show a piece its heading and the sentence before it, for relations and events across pieces;"
        " auto does to models not trained for extraction",
        json_schema_extra={"advanced": True},
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

    passes: int = Field(
        default=1,
        ge=1,
        le=15,
        description="Passes over each text, each with the types in another order; records are voted on",
    )
    pass_temperature: float = Field(
        default=TEMPERATURE,
        ge=0,
        le=2,
        description="How varied the passes behind the first answer; 0: always the likeliest",
        json_schema_extra={"advanced": True},
    )
    votes: int = Field(
        default=0,
        ge=0,
        le=15,
        description="Passes that must say a record for it to be kept; 0: half of them",
        json_schema_extra={"advanced": True, "unit": "passes"},
    )
    runners: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that share the batch; worth it with a server that answers many at once",
        json_schema_extra={"advanced": True},
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How often a call that went wrong is made again at once",
        json_schema_extra={"advanced": True},
    )
    retry_on: tuple[Wrong, ...] = Field(
        default=("server", "unreadable"),
        description="What is asked again: errors of the server, answers nobody can read, answers cut off",
        json_schema_extra={"advanced": True},
    )
    price_prompt: float | None = Field(
        default=None,
        ge=0,
        description="What a million prompt tokens cost at the endpoint, in its currency",
        json_schema_extra={"advanced": True},
    )
    price_answer: float | None = Field(
        default=None,
        ge=0,
        description="What a million answer tokens cost at the endpoint, in its currency",
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
            context=self.context,
        )


class RunResult(Result):
    """`rows` and the records are the whole folder's; `asked`, `reused` and the rates this call's."""

    out: Path
    rows: int
    failed: int
    asked: int
    reused: int
    """Rows finished without asking: another had the same text, or all answers were kept."""
    entities: int
    relations: int
    events: int
    not_located: int
    seconds: float
    rows_per_second: float
    tokens_per_second: float
    prompt_tokens: int = 0
    tokens: int = 0
    cost: float | None = None
    """Of this call, at the request's prices."""
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        lines = [
            f"{self.rows} rows, {self.failed} failed: {self.entities} entities, {self.relations} relations, "
            f"{self.events} events, {self.not_located} spans not found in their text",
            f"asked {self.asked} rows in {self.seconds:.1f} s ({self.rows_per_second:.2f} rows/s, "
            f"{self.tokens_per_second:.0f} tokens/s), {self.reused} finished without asking",
            *([f"cost {self.cost:,.4f} at the given prices"] if self.cost is not None else []),
            *(f"note: {warning}" for warning in self.warnings),
            f"written to {self.out}",
        ]
        return "\n".join(lines)


def estimate(request: RunRequest) -> Needs:
    """Disk only: the model's memory is the host's matter, which refuses what doesn't fit."""
    try:
        size = inputs.size(request.input)
    except OSError:
        return Needs()
    return Needs(disk=4 * size + (1 << 20), disk_at=request.out)


def plan(request: RunRequest) -> list[str]:
    schema = schemas.load(request.schema_ref)
    info = inputs.inspect(request.input, request.sheet, request.text_file)
    parts = calls.parts(schema, request.task, request.options(), _model_if_here(request))
    return [
        *inputs.reading_lines(info, request.text_column),
        *(f"ask for {part.task}: {', '.join(made.name for made in part.schema.types(part.task))}" for part in parts),
        *([f"in {request.passes} passes, each with the types in another order"] if request.passes > 1 else []),
        *changed_lines(request),
        *_forecast_lines(request),
        f"write {request.out}/records.jsonl, entities.csv, relations.csv, events.csv, {JOINED}",
    ]


@operation("extract", "run", estimate=estimate, plan=plan)
def run(request: RunRequest, progress: Progress) -> RunResult:
    made = prepare(request)
    facts = made.facts()
    with helpers(request, made.manner.runners - 1, progress.log):
        outcome = made.batch(facts).run(
            progress, settings=made.settings(), limit=request.limit, retry_failed=request.retry_failed
        )
    if outcome.calls >= cost.ENOUGH:
        cost.keep_rate(made.model, made.parts(), outcome.calls_per_second)
    exported = export_run(request.out)
    join_run(
        request.out,
        request.input,
        sheet=request.sheet,
        columns=(made.column, request.id_column),
        text_file=request.text_file,
    )
    prices = made.manner.prices
    return RunResult(
        out=request.out,
        **exported.counts(),
        asked=outcome.asked,
        reused=outcome.reused,
        seconds=outcome.seconds,
        rows_per_second=outcome.rows_per_second,
        tokens_per_second=outcome.tokens_per_second,
        prompt_tokens=outcome.prompt_tokens,
        tokens=outcome.tokens,
        cost=prices.of(outcome.prompt_tokens, outcome.tokens) if prices is not None else None,
        warnings=tuple(str(UserError.from_dict(warning)) for warning in facts["warnings"]),
    )


def _model_if_here(request: RunRequest) -> models.Model | None:
    """A plan can be shown before the model is fetched."""
    try:
        return models.resolve(request.model or settings.read().default_model)
    except UserError:
        return None


def _forecast_lines(request: RunRequest) -> list[str]:
    if _model_if_here(request) is None:
        return []
    return forecast(request).lines()
