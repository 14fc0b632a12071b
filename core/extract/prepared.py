"""From a request of `extract run` to what a batch takes: the same for the run, its helpers and its estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import models, settings
from core.errors import UserError
from core.extract import calls, inputs, keys, regroup, tables
from core.extract import schema as schemas
from core.extract.batch import Batch, Manner
from core.extract.calls import Asked, Options, Part
from core.extract.cost import Prices
from core.extract.passes import spread
from core.extract.reads import language_facts
from core.extract.retry import Retry
from core.extract.schema import Schema
from core.inference import client
from core.models import Model
from core.records import Document
from core.store import FILE, Store

if TYPE_CHECKING:
    from core.extract.run import RunRequest


@dataclass(frozen=True)
class Prepared:
    request: RunRequest
    schema: Schema
    model: Model
    column: str
    options: Options
    manner: Manner

    def documents(self) -> Iterator[Document]:
        asked = self.request
        return inputs.documents(asked.input, self.column, asked.id_column, sheet=asked.sheet, text_file=asked.text_file)

    def settings(self) -> dict[str, Any]:
        """What a second call must share to go on: all that changes rows or answers, under the options' own names."""
        asked = self.request
        return {
            "input": inputs.digest(asked.input),
            "text-column": self.column,
            "id-column": asked.id_column,
            "sheet": asked.sheet,
            "task": list(asked.task),
            "schema": self.schema.hash,
            "model": self.model.ref,
            "weights": keys.weights_of(self.model),
            **({} if asked.text_file == "auto" else {"text-file": asked.text_file}),
            **calls.settings_of(self.model, self.options),
        }

    def parts(self) -> list[Part]:
        """As the run would ask them now: grouped as before in its folder."""
        made = calls.parts(self.schema, self.request.task, self.options, self.model)
        known = (Store(self.request.out).noted("groups") or {}) if (self.request.out / FILE).is_file() else {}
        if known.get("types-per-call") == self.options.types_per_call:
            made = regroup.regrouped(made, self.schema, known["groups"])
        return spread(made, self.manner.passes, self.manner.temperature)

    def facts(self) -> dict[str, Any]:
        texts = (document.text for document in self.documents())
        return language_facts(self.model, texts, run_anyway=self.request.run_anyway)

    def batch(self, facts: dict[str, Any], connect: Callable[[str], Asked] = client.connect_for_many) -> Batch:
        asked = self.request
        return Batch(
            self.model,
            self.schema,
            asked.task,
            self.options,
            self.documents,
            asked.out,
            facts=facts,
            connect=connect,
            manner=self.manner,
            rows=inputs.count(asked.input),
        )


def prepare(request: RunRequest) -> Prepared:
    """Raises UserError for what is wrong with the file, the column, the schema, the model."""
    schema = schemas.load(request.schema_ref)
    model = models.resolve(request.model or settings.read().default_model)
    layout = tables.layout_of(request.input, request.sheet, named(request), request.text_file)
    column = inputs.resolve_column(layout, request.text_column)
    return Prepared(request, schema, model, column, request.options(), manner(request, model))


def manner(request: RunRequest, model: Model) -> Manner:
    priced = request.price_prompt is not None or request.price_answer is not None
    return Manner(
        passes=request.passes,
        temperature=request.pass_temperature,
        votes=request.votes,
        retry=Retry(request.retries, tuple(request.retry_on)),
        prices=Prices(request.price_prompt or 0.0, request.price_answer or 0.0) if priced else None,
        runners=runners(request, model),
    )


def runners(request: RunRequest, model: Model) -> int:
    """As many as asked for, within an endpoint's own limit of requests at once. Raises UserError for one a second."""
    endpoint = settings.endpoint(model.ref) if model.format == "remote" else None
    if endpoint is None or request.runners == 1:
        return request.runners
    if endpoint.per_second:
        raise UserError(
            "{endpoint} has a limit of requests a second, which several runners would not keep together.",
            remedy="Use one runner, or take the limit off in Settings.",
            endpoint=endpoint.name,
        )
    return min(request.runners, endpoint.at_once) if endpoint.at_once else request.runners


def named(request: RunRequest) -> tuple[str, ...]:
    return tuple(name for name in (request.text_column, request.id_column) if name)
