"""`python -m core extract prompt`: the exact text that a model would be sent, call by call, and its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import tyro
from pydantic import Field

from core import models
from core.errors import UserError
from core.extract import asking, calls, dialects
from core.extract import schema as schemas
from core.extract.calls import Options
from core.extract.schema import Task
from core.inference import client
from core.operation import Progress, Request, Result, operation


class PromptRequest(Request):
    """Show the exact prompt for a text, and how many tokens it has."""

    text: str = Field(description="Text to read")
    task: Task = Field(default="ner", description="What to extract: entities (ner), relations (re), events (ee)")
    schema_ref: Annotated[str, tyro.conf.arg(name="schema")] = Field(
        description="Name of a ready-made schema, or a .json file with your own types",
        json_schema_extra={"picker": "schema"},
    )
    dialect: Literal["auto", "studio", "zhixi", "oneke"] = Field(
        default="auto", description="How the model is asked and answers; auto takes the dialect that its card names"
    )
    model: str = Field(
        default="",
        description="Model whose dialect, examples and tokens are shown; without one, nothing is loaded or counted",
        json_schema_extra={"picker": "model"},
    )
    types_per_call: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Types asked for in one call; 0 asks for all, or for as many as the dialect's models are used to",
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
            types_per_call=self.types_per_call,
            dialect=self.dialect,
            examples=self.examples,
            instruction=self.instruction,
            wording=self.wording,
        )


class Prompt(Result):
    """One call's; `tokens` is None where nobody counted."""

    task: Task
    prompt: str
    types: tuple[str, ...]
    tokens: int | None = None


class PromptResult(Result):
    dialect: str
    form: str
    """raw: sent as it is; chat: as a user's message through the model's chat template."""
    prompts: tuple[Prompt, ...]
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        shown = [f"note: {note}" for note in self.notes]
        for number, one in enumerate(self.prompts, start=1):
            counted = f", {one.tokens} tokens" if one.tokens is not None else ""
            told = f"call {number} of {len(self.prompts)}, {self.dialect}, {self.form}{counted}"
            shown.append(f"--- {told}: {', '.join(one.types)}\n{one.prompt}")
        return "\n".join(shown)


@operation("extract", "prompt")
def run(request: PromptRequest, progress: Progress) -> PromptResult:
    options = request.options()
    model = models.resolve(request.model) if request.model else models.Model("", "remote", _usual(request.dialect))
    asked = client.connect(model.ref) if request.model else None
    schema = schemas.load(request.schema_ref)
    made = prompts(request.text, schema, [request.task], options, model, count=asked.count if asked else None)
    name = calls.dialect_of(model, options)
    left = asking.leaves_training(request.instruction, model, name)
    return PromptResult(
        dialect=name,
        form=calls.form(model, name),
        prompts=tuple(made),
        notes=(str(asking.OWN_WORDS),) if left and request.model else (),
    )


def prompts(
    text: str,
    schema: schemas.Schema,
    tasks: Sequence[Task],
    options: Options,
    model: models.Model,
    *,
    count: Callable[[str], int | None] | None = None,
) -> list[Prompt]:
    """One prompt a part of the schema: the first piece of a long text is enough to see what is asked."""
    made = []
    for part in calls.parts(schema, tasks, options, model):
        for call in calls.calls(text, part, options)[:1]:
            asked = calls.prompt(call, model)
            types = tuple(one.name for one in part.schema.types(part.task))
            made.append(Prompt(task=part.task, prompt=asked, types=types, tokens=count(asked) if count else None))
    if not made:
        raise UserError("There is no text to read.", remedy="Type or paste one.")
    return made


def _usual(dialect: str) -> models.Card:
    """A model that was trained for the dialect: it needs no examples, and the studio's takes bare prompts."""
    name = dialects.USUAL if dialect == dialects.AUTO else dialect
    return models.Card(dialect=name, prompt_form="raw", trained_for_extraction=True)
