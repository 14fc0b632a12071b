"""`POST /v1/extract`: a text and a schema to records with offsets, the way the app itself extracts.

    {"text": "…", "schema": "general-news-en" or {"entities": […], …}, "tasks": ["ner"]}

`schema` names a ready-made one or is one; never a path, which would read this machine's files. Without `tasks`
all tasks are done that the schema has types for. Beside them `run_anyway`, `chunk_characters`, `overlap`,
`context`, `types_per_call`, `grammar` and `dialect`, as `extract run` has them. Offsets count Unicode codepoints;
a span that stands in the text otherwise than the model wrote it has a `fit` below 1.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.errors import UserError
from core.extract import schema as schemas
from core.extract.calls import Asked, Options
from core.extract.one import extract_text
from core.extract.schema import Schema, Task
from core.inference.wire import clean
from core.serve.refused import Refused


class ExtractBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    given: str | list | dict = Field(alias="schema")
    tasks: tuple[Task, ...] = ()
    model: str | None = None
    run_anyway: bool = False
    chunk_characters: int = Field(default=0, ge=0, le=8000)
    overlap: int = Field(default=Options.overlap, ge=0, le=5)
    context: Literal["auto", "on", "off"] = "auto"
    types_per_call: int = Field(default=0, ge=0, le=100)
    grammar: bool = True
    dialect: str = Options.dialect

    @field_validator("tasks", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else [] if value is None else value

    @property
    def schema_(self) -> Schema:
        return _ready_made(self.given) if isinstance(self.given, str) else schemas.from_json(self.given, "inline")

    @property
    def options(self) -> Options:
        return Options(
            chunk_characters=self.chunk_characters,
            overlap=self.overlap,
            types_per_call=self.types_per_call,
            grammar=self.grammar,
            dialect=self.dialect,
            context=self.context,
        )


def read(body: dict[str, Any]) -> ExtractBody:
    """Raises UserError for what is missing, unknown or wrong."""
    try:
        asked = ExtractBody.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            "The field “{field}” of the request is wrong: {why}.",
            remedy="Send text, schema and, if you like, tasks.",
            field=".".join(map(str, first["loc"])),
            why=first["msg"],
        ) from error
    asked = asked.model_copy(update={"text": clean(asked.text)})
    _ = asked.schema_  # refused before anything is asked
    return asked


def made(client: Asked, asked: ExtractBody, name: str) -> dict[str, Any]:
    """The answer's body. Raises UserError, also where the model's answers could not be understood at all."""
    schema = asked.schema_
    found = extract_text(
        client, asked.text, schema, asked.tasks or schema.tasks, options=asked.options, run_anyway=asked.run_anyway
    )
    if found.error is not None:  # not the same as finding nothing, so not a 200
        raise Refused.of(UserError.from_dict(found.error), http=422, code="answer_not_understood")
    row = found.to_dict()
    told = row["provenance"] | {"model": name}
    spent = {"prompt_tokens": told["prompt_tokens"], "completion_tokens": told["tokens"]}
    return {
        "object": "extraction",
        "model": name,
        **{part: row[part] for part in ("text", "entities", "relations", "events")},
        "usage": spent | {"total_tokens": sum(spent.values())},
        "warnings": [str(UserError.from_dict(warning)) for warning in told["warnings"]],
        "provenance": told,
    }


def _ready_made(name: str) -> Schema:
    known = {schema.name: schema for schema in schemas.ready_made()}
    if name not in known:
        raise UserError(
            "There is no ready-made schema “{name}”.",
            remedy="Send a schema, or name one of: {known}.",
            name=name[:200],
            known=", ".join(known),
        )
    return known[name]
