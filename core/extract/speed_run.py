"""`python -m core models bench`: how fast each engine that can run a model answers one question, and many texts.

What it finds is kept, and from then on the host chooses by it.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from pydantic import BaseModel, Field
from tyro.conf import Positional

from core import models
from core.errors import UserError
from core.extract import calls
from core.extract import schema as schemas
from core.extract.calls import Asked, Call, Options
from core.extract.pool import Pool
from core.inference import client as host
from core.inference import speeds
from core.inference.client import Client
from core.inference.decoding import Decoding
from core.inference.engine import able_engines
from core.inference.speeds import Speed
from core.models import Model
from core.operation import Needs, Progress, Request, Result, operation
from core.paths import ASSETS
from core.records import Extraction

SAMPLES = {"en": "people.csv", "zh": "people_zh.csv"}
"""Whose sentences are read, two at a time, by the model's first language."""
ANSWER = 64
"""Tokens of each single answer."""
SINGLE = 3
TASK: schemas.Task = "re"


class BenchRequest(Request):
    """Measure a model with every engine that can run it; the host then chooses by that."""

    model: Positional[str] = Field(
        description="Model: a name, a .gguf file, a model folder or an address", json_schema_extra={"picker": "model"}
    )
    rows: int = Field(
        default=64, ge=4, le=400, description="Texts to extract from, at most", json_schema_extra={"unit": "rows"}
    )
    seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest time to extract with each engine; what isn't done by then is left out",
        json_schema_extra={"unit": "s"},
    )
    engine: str = Field(default="", description="Measure this engine alone; empty measures all that can")


class Measured(BaseModel):
    engine: str
    load_seconds: float = 0.0
    first_token_seconds: float = 0.0
    tokens_per_second: float = 0.0
    rows: int = 0
    rows_per_second: float = 0.0
    parallel: int = 0
    memory: int = 0
    error: str = ""


class BenchResult(Result):
    model: str
    engines: tuple[Measured, ...]

    def summary(self) -> str:
        lines = [f"{self.model}, one answer of {ANSWER} tokens and relations from texts of two sentences:"]
        for one in self.engines:
            lines.append(
                f"{one.engine}: {one.error}"
                if one.error
                else f"{one.engine}: {one.tokens_per_second:.1f} tokens/s, first token after "
                f"{one.first_token_seconds:.2f} s, {one.rows_per_second:.2f} rows/s ({one.rows} rows, "
                f"{one.parallel} at once), loaded in {one.load_seconds:.1f} s, {one.memory / 1e6:.0f} MB"
            )
        return "\n".join(lines)


def estimate(request: BenchRequest) -> Needs:
    model = models.resolve(request.model)
    return Needs(ram=int(2 * model.size), seconds=2 * request.seconds)


@operation("models", "bench", estimate=estimate)
def run(request: BenchRequest, progress: Progress) -> BenchResult:
    model = models.resolve(request.model)
    texts = list(_texts(model, request.rows))
    names = [request.engine] if request.engine else list(able_engines(model))
    measured = []
    for number, name in enumerate(names):
        progress.step(number, len(names), "engines")
        try:
            one = _measure(model, name, texts, request.seconds)
        except UserError as error:  # one engine's trouble is no reason not to measure the others
            one = Measured(engine=name, error=str(error))
        measured.append(one)
        if not one.error and model.format != "remote":
            speeds.keep(model, name, Speed(one.tokens_per_second, one.rows_per_second))
    if all(one.error for one in measured):
        raise UserError(
            "No engine could be measured with {model}: {why}",
            remedy="See to that and try again.",
            model=model.title,
            why="; ".join(f"{one.engine}: {one.error}" for one in measured) or "–",
        )
    progress.step(len(names), len(names), "engines")
    return BenchResult(model=model.ref, engines=tuple(measured))


def _measure(model: Model, name: str, texts: Sequence[str], limit: float) -> Measured:
    began = time.monotonic()
    if model.format != "remote":
        host.unload()
        host.load(model.ref, engine=name, force=True)
    loaded = time.monotonic() - began
    asked = host.connect(model.ref)
    try:
        first, rate = _alone(asked)
        rows, seconds = _many(asked, texts, limit)
        memory = host.status().rss if model.format != "remote" else 0
    finally:
        asked.close()
        if model.format != "remote":
            host.unload()
    return Measured(
        engine=name,
        load_seconds=round(loaded, 2),
        first_token_seconds=round(first, 3),
        tokens_per_second=round(rate, 2),
        rows=rows,
        rows_per_second=round(rows / seconds, 3),
        parallel=asked.parallel,
        memory=memory,
    )


def _alone(asked: Client) -> tuple[float, float]:
    """(seconds to the first token, tokens a second after it), medians of a few answers; the first one only warms up."""
    firsts, rates = [], []
    for number in range(SINGLE + 1):
        words = f"{number}. Tell a long story about a village by the sea, its people and their boats, year by year."
        began = time.monotonic()
        answer = asked.complete(words, Decoding(max_tokens=ANSWER))
        took = time.monotonic() - began
        first = answer.first_token_seconds or took / max(answer.tokens, 1)
        if number:
            firsts.append(first)
            rates.append(max(answer.tokens - 1, 1) / max(took - first, 1e-6))
    return sorted(firsts)[SINGLE // 2], sorted(rates)[SINGLE // 2]


def _many(asked: Asked, texts: Sequence[str], limit: float) -> tuple[int, float]:
    """(texts extracted from, seconds), as a batch does it; a refused one counts as done."""
    options = Options()
    language = next(iter(asked.model.card.languages), "en")
    known = schemas.load(f"people-and-organisations-{language if language in SAMPLES else 'en'}")
    (part, *_) = calls.parts(known, [TASK], options, asked.model)
    wanted: list[Call] = [call for text in texts for call in calls.calls(text, part, options)]
    began = time.monotonic()

    def work(call: Call) -> Extraction | None:
        return calls.ask(asked, call, options) if time.monotonic() - began < limit else None

    pool = Pool(max(1, asked.parallel), work)
    for call in wanted:
        pool.submit(call)
    rows, last = 0, began
    try:
        while pool.under_way:
            _, result = pool.done()
            if isinstance(result, Exception) and not isinstance(result, UserError):
                raise result
            if result is not None:
                rows, last = rows + 1, time.monotonic()
    finally:
        pool.close()
    return rows, max(last - began, 1e-6)


def _texts(model: Model, count: int) -> Iterator[str]:
    """Distinct texts of two sentences of the samples."""
    language = next(iter(model.card.languages), "en")
    file: Path = ASSETS / "samples" / SAMPLES.get(language, SAMPLES["en"])
    with file.open(encoding="utf-8-sig", newline="") as lines:
        sentences = [row[1] for row in csv.reader(lines)][1:]
    pairs = ((one, other) for one, other in product(sentences, repeat=2) if one != other)
    for number, (one, other) in enumerate(pairs):
        if number >= count:
            return
        yield f"{one} {other}"
