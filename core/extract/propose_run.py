"""`python -m core extract schema propose`: candidate types from a file's first texts, counted, as a schema."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import Field

from core import models, settings
from core.errors import UserError
from core.extract import inputs, propose, tables
from core.extract.inputs import language_of
from core.extract.reads import language_facts
from core.extract.schema import Task
from core.extract.schema_versions import save_version
from core.inference import client
from core.operation import Progress, Request, Result, operation


class ProposeRequest(Request):
    """Propose types for texts: asks the model what they are about and counts what they really hold."""

    input: Path = Field(description="File with the texts", json_schema_extra={"picker": "file"})
    text_column: str | None = Field(default=None, description="Column that holds the texts; the likeliest if not given")
    count: int = Field(default=20, ge=1, le=200, description="Texts to read", json_schema_extra={"unit": "texts"})
    task: tuple[Task, ...] = Field(
        default=("ner", "re"), min_length=1, description="What to extract: entities (ner), relations (re), events (ee)"
    )
    out: Path = Field(description="Schema file to write (.json)", json_schema_extra={"picker": "file"})
    model: str = Field(
        default="",
        description="Model to ask: a name, a .gguf file, a folder or an http:// address; your default if not given",
        json_schema_extra={"picker": "model"},
    )
    method: Literal["auto", "known", "free"] = Field(
        default="auto",
        description="known: counts the ready-made schemas' types; free: the model names types; auto: as the model can",
    )
    at_least: int = Field(
        default=2, ge=1, le=200, description="Keep types that so many texts have", json_schema_extra={"unit": "texts"}
    )


class Counted(Result):
    task: str
    name: str
    texts: int
    mentions: int
    examples: tuple[str, ...]
    same_as: str = ""


class ProposeResult(Result):
    out: Path
    method: str
    read: int
    kept: int
    dropped: int
    candidates: tuple[Counted, ...]

    def summary(self) -> str:
        how = {
            "known": "types of the ready-made schemas that these texts have; none is new",
            "free": "types that the model named itself; look them over before you use them",
        }[self.method]
        lines = [
            f"{how} ({self.read} texts, {self.dropped} names dropped, since nothing in the text stood for them)",
            "",
        ]
        for one in self.candidates:
            told = f"{one.task}  {one.name}: {one.texts} texts, {one.mentions} times, {'; '.join(one.examples)}"
            lines.append(told + (f" (left out: nearly the same words as {one.same_as})" if one.same_as else ""))
        return "\n".join([*lines, "", f"{self.kept} of them written to {self.out}"])


@operation("extract", "schema propose")
def run(request: ProposeRequest, progress: Progress) -> ProposeResult:
    named = (request.text_column,) if request.text_column else ()
    column = inputs.resolve_column(tables.layout_of(request.input, None, named), request.text_column)
    rows = (row.text for row in inputs.documents(request.input, column) if row.text.strip())
    texts = list(dict.fromkeys(islice(rows, request.count)))
    if not texts:
        raise UserError("The input has no rows.", remedy="Choose a file with at least one text in it.")
    language = language_of(texts) or "en"
    model = models.resolve(request.model or settings.read().default_model)
    language_facts(model, texts, run_anyway=False)
    asked = client.connect(model.ref)
    method = propose.method_for(model) if request.method == "auto" else request.method
    made = propose.propose(
        asked,
        texts,
        request.task,
        "zh" if language == "zh" else "en",
        method,
        lambda done, total: progress.step(done, total, "calls"),
    )
    at_least = min(request.at_least, len(texts))
    kept = propose.keeping(made, at_least)
    if not kept:
        raise UserError(
            "No type was found in {count} of these {read} texts.",
            remedy="Read more texts, keep types that fewer of them have, or try another model.",
            count=at_least,
            read=len(texts),
        )
    schema = propose.schema_of(made, request.out.stem, "zh" if language == "zh" else "en", at_least=at_least)
    request.out.parent.mkdir(parents=True, exist_ok=True)
    save_version(schema, request.out)
    return ProposeResult(
        out=request.out,
        method=method,
        read=made.read,
        kept=len(kept),
        dropped=made.dropped,
        candidates=tuple(
            Counted(
                task=one.task,
                name=one.name,
                texts=one.texts,
                mentions=one.mentions,
                examples=one.examples,
                same_as=one.same_as,
            )
            for one in made.candidates
        ),
    )
