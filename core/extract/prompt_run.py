"""`python -m core extract prompt`: the exact text that a model would be sent, call by call, and its tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from pydantic import Field

from core import models
from core.errors import UserError
from core.extract import calls, dialects
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


class Prompt(Result):
    """One call's; `tokens` is None where nobody counted."""

    prompt: str
    types: tuple[str, ...]
    tokens: int | None = None


class PromptResult(Result):
    dialect: str
    form: str
    """raw: sent as it is; chat: as a user's message through the model's chat template."""
    prompts: tuple[Prompt, ...]

    def summary(self) -> str:
        shown = []
        for number, one in enumerate(self.prompts, start=1):
            counted = f", {one.tokens} tokens" if one.tokens is not None else ""
            told = f"call {number} of {len(self.prompts)}, {self.dialect}, {self.form}{counted}"
            shown.append(f"--- {told}: {', '.join(one.types)}\n{one.prompt}")
        return "\n".join(shown)


@operation("extract", "prompt")
def run(request: PromptRequest, progress: Progress) -> PromptResult:
    """The first piece of a long text is enough to see what is asked."""
    options = Options(types_per_call=request.types_per_call, dialect=request.dialect)
    model = models.resolve(request.model) if request.model else models.Model("", "remote", _usual(request.dialect))
    name = calls.dialect_of(model, options)
    asked = client.connect(model.ref) if request.model else None
    prompts = []
    for part in calls.parts(schemas.load(request.schema_ref), [request.task], options, model):
        for call in calls.calls(request.text, part, options)[:1]:
            text = calls.prompt(call, model)
            types = tuple(one.name for one in part.schema.types(request.task))
            prompts.append(Prompt(prompt=text, types=types, tokens=asked.count(text) if asked else None))
    if not prompts:
        raise UserError("There is no text to read.", remedy="Type or paste one.")
    return PromptResult(dialect=name, form=calls.form(model, name), prompts=tuple(prompts))


def _usual(dialect: str) -> models.Card:
    """A model that was trained for the dialect: it needs no examples, and the studio's takes bare prompts."""
    name = dialects.USUAL if dialect == dialects.AUTO else dialect
    return models.Card(dialect=name, prompt_form="raw", trained_for_extraction=True)
