"""What a batch will take: rows, calls, tokens, time, money. Each figure with how it is known, or None."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from core.errors import UserError
from core.extract import calls
from core.extract.calls import Call, Options, Part
from core.extract.inputs import Unreadable
from core.inference import speeds
from core.inference.engine import able_engines
from core.inference.shelf import Shelf
from core.models import Model
from core.records import Document, Extraction

SAMPLE = 40
"""Rows whose calls are made to count them; the others are taken to be like these."""
ENOUGH = 5
"""Finished rows from which rates are taken."""
_RATES = Shelf("batch_speeds.json")


@dataclass(frozen=True)
class Prices:
    """For a million tokens, in whatever currency the endpoint asks for."""

    prompt: float = 0.0
    answer: float = 0.0

    def of(self, prompt_tokens: float, tokens: float) -> float:
        return (prompt_tokens * self.prompt + tokens * self.answer) / 1_000_000


@dataclass(frozen=True)
class Measured:
    """From finished calls. `characters`: of the prompts that `prompt_tokens` were counted for."""

    calls: int
    characters: int
    prompt_tokens: int
    tokens: int
    calls_per_second: float | None = None


@dataclass(frozen=True)
class Estimate:
    """Of what there is still to do. `tokens_from` and `time_from` say in a word how they are known."""

    rows: int
    """In the input."""
    done: int
    calls: int
    prompt_tokens: int
    tokens: int
    tokens_from: str
    """measured: by finished rows; guessed: from the texts' lengths."""
    seconds: float | None
    time_from: str
    """here: by rows of this run; earlier: by another run of this model; bench: by `models bench`; unknown."""
    cost: float | None

    def lines(self) -> list[str]:
        how = {"measured": "as finished rows took", "guessed": "a guess from the texts' lengths"}[self.tokens_from]
        made = [
            f"{self.rows:,} rows, {self.done:,} of them done; about {self.calls:,} calls to make",
            f"about {self.prompt_tokens:,} prompt tokens and {self.tokens:,} answer tokens ({how})",
        ]
        if self.seconds is None:
            made.append("time not known: no row of this model was measured yet; --limit 10 measures some")
        else:
            made.append(f"about {_duration(self.seconds)} ({_TIME_FROM[self.time_from]})")
        if self.cost is not None:
            made.append(f"about {self.cost:,.2f} at the given prices a million tokens")
        return made


_TIME_FROM = {
    "here": "at the rate of this run's last rows",
    "earlier": "at the rate of an earlier run with this model",
    "bench": "at the rate that `models bench` measured",
}


def estimate(
    documents: Iterable[Document],
    left: int,
    parts: Sequence[Part],
    model: Model,
    options: Options,
    *,
    rows: int,
    measured: Measured | None = None,
    prices: Prices | None = None,
    missing: Callable[[Document, list[Call]], list[Call]] = lambda document, wanted: wanted,
) -> Estimate:
    """For `left` of `rows`; some documents are looked at, `missing` takes out calls whose answers are there."""
    looked = wanted = characters = 0
    guessed_prompt = guessed_answer = 0.0
    for document in islice(documents, SAMPLE):
        looked += 1
        for call in missing(document, _calls(document, parts, options)):
            prompt = calls.prompt(call, model)
            wanted, characters = wanted + 1, characters + len(prompt)
            guessed_prompt += tokens_of(prompt)
            guessed_answer += 4 + tokens_of(call.source.text) / 3
    times = left / looked if looked else 0.0
    if measured is not None and measured.calls >= ENOUGH and measured.characters:
        prompt_tokens = times * characters * measured.prompt_tokens / measured.characters
        tokens, tokens_from = times * wanted * measured.tokens / measured.calls, "measured"
    else:
        prompt_tokens, tokens, tokens_from = times * guessed_prompt, times * guessed_answer, "guessed"
    rate, time_from = _rate(model, parts, measured, wanted / looked if looked else 1.0)
    return Estimate(
        rows=rows,
        done=rows - left,
        calls=round(times * wanted),
        prompt_tokens=round(prompt_tokens),
        tokens=round(tokens),
        tokens_from=tokens_from,
        seconds=times * wanted / rate if rate else None,
        time_from=time_from,
        cost=prices.of(prompt_tokens, tokens) if prices is not None else None,
    )


def _rate(
    model: Model, parts: Sequence[Part], measured: Measured | None, calls_a_row: float
) -> tuple[float | None, str]:
    """(calls a second, how that is known): in this folder, else by an earlier run, else by `models bench`."""
    here = measured.calls_per_second if measured is not None else None
    for rate, source in ((here, "here"), (_earlier(model, parts), "earlier"), (_benched(model, calls_a_row), "bench")):
        if rate:
            return rate, source
    return None, "unknown"


def measure(finished: Iterable[Extraction], parts: Sequence[Part], model: Model, options: Options) -> Measured:
    """From finished rows: their tokens, and the characters of the prompts that were sent for them."""
    made = {"calls": 0, "characters": 0, "prompt_tokens": 0, "tokens": 0}
    for extraction in finished:
        told = extraction.provenance
        if extraction.error is not None or not told.get("calls") or not told.get("prompt_tokens"):
            continue
        mine = _calls(Document(extraction.id, extraction.text), parts, options)
        if len(mine) != told["calls"]:  # asked otherwise then
            continue
        made["characters"] += sum(len(calls.prompt(call, model)) for call in mine)
        for name in ("calls", "prompt_tokens", "tokens"):
            made[name] += told[name]
    return Measured(**made)


def keep_rate(model: Model, parts: Sequence[Part], calls_per_second: float) -> None:
    """Remember how fast this model answered calls of these tasks here, for later estimates."""
    try:
        _RATES.put(_name(model, parts), calls_per_second)
    except UserError:  # a full disk: the estimate is not worth a failed run
        return


def tokens_of(text: str) -> float:
    """A guess: four characters of an alphabet a token, two tokens for three ideographs."""
    wide = sum(not char.isascii() for char in text)
    return (len(text) - wide) / 4 + wide / 1.5


def _calls(document: Document, parts: Sequence[Part], options: Options) -> list[Call]:
    if isinstance(document, Unreadable):
        return []
    try:
        return [call for part in parts for call in calls.calls(document.text, part, options)]
    except UserError:
        return []


def _earlier(model: Model, parts: Sequence[Part]) -> float | None:
    try:
        rate: Any = _RATES.all().get(_name(model, parts))
    except UserError:
        return None
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def _benched(model: Model, calls_a_row: float) -> float | None:
    if model.format == "remote":
        return None
    found = [speed.rows_per_second for name in able_engines(model) if (speed := speeds.known(model, name)) is not None]
    return max(found) * calls_a_row if found else None


def _name(model: Model, parts: Sequence[Part]) -> str:
    """Short enough to be kept whole: a model's reference may be long."""
    tasks = " ".join(dict.fromkeys(part.task for part in parts))
    return f"{hashlib.sha256(model.ref.encode()).hexdigest()[:16]} {model.size} {tasks}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
