"""`python -m core chat cases`: a file of prompts through the model, row by row, answers beside the expected ones.

Columns: `prompt`, and if you like `input`, `expected`, `system`, and any decoding setting (`temperature`, `seed`, …);
other columns are handed through. The results are written as they come, so a second call goes on where the first
ended: a row counts as done if its `case`, a hash of all that its answer depends on, stands in them without an error.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from core import models, settings
from core.errors import UserError
from core.inference import cases_file, client, prompting
from core.inference.cases_file import Row
from core.inference.client import Answer, Client, HostGone, PromptTooLong
from core.inference.decoding import Decoding
from core.inference.likeness import compare
from core.inference.prompting import Form
from core.inference.wire import clean
from core.models import Model
from core.operation import Needs, Progress, Request, Result, operation

WRITTEN = (
    *("answer", "exact", "contains", "similarity", "finish", "prompt_tokens", "tokens", "seconds", "seed_used"),
    *("error", "case"),
)
"""`case` goes last: a line that was cut short has none."""
SUFFIXES = (".csv", ".jsonl")
FAILURES_IN_A_ROW = 5
"""So many mean that it isn't the prompts."""


class CasesRequest(Request):
    """Run a file of prompts through the model and compare its answers with the expected ones."""

    file: Path = Field(
        description="Cases, CSV or JSON lines: prompt, and if you like input, expected, system and decoding settings",
        json_schema_extra={"picker": "file"},
    )
    out: Path = Field(
        description="File for the results, .csv or .jsonl; a second call with it goes on where the first ended"
    )
    model: str = Field(
        default="", description="Model to use; empty takes the default one", json_schema_extra={"picker": "model"}
    )
    form: Form = Field(
        default="chat",
        description="How a row is asked: the model's chat template, the bare prompt, or Alpaca's as KnowLM was trained",
    )
    decoding: Decoding = Field(default=Decoding(), description="Settings for rows that don't have their own")


class CasesResult(Result):
    """`rows` and what was compared are the whole file's; `asked`, `tokens` and `seconds` this call's."""

    out: Path
    rows: int
    failed: int
    compared: int
    exact: int
    contains: int
    similarity: float | None
    asked: int
    tokens: int
    seconds: float

    def summary(self) -> str:
        lines = [f"{self.rows} rows, {self.failed} failed, {self.asked} asked in this call"]
        if self.similarity is not None:
            of = f"of {self.compared} with an expected answer"
            lines.append(f"exact {self.exact}, contained {self.contains} {of}; mean similarity {self.similarity:.3f}")
        rate = f" ({self.tokens / self.seconds:.1f} tokens/s)" if self.seconds else ""
        return "\n".join([*lines, f"{self.tokens} tokens in {self.seconds:.1f} s{rate}", f"written to {self.out}"])


@dataclass(frozen=True)
class Case:
    """A row, ready to be asked: as messages, or as a bare prompt."""

    row: Row
    decoding: Decoding
    messages: tuple[dict[str, str], ...]
    prompt: str
    key: str


def estimate(request: CasesRequest) -> Needs:
    try:
        return Needs(disk=4 * request.file.stat().st_size + (1 << 20), disk_at=request.out.parent)
    except OSError:
        return Needs()


def plan(request: CasesRequest) -> list[str]:
    cases = _cases(request, models.resolve(request.model or models.for_chat(settings.read().default_model)))
    done = _done(request.out, cases)
    expected = sum(bool(_expected(case.row)) for case in cases)
    return [
        f"ask {len(cases) - len(done)} of {len(cases)} rows in the form {request.form}",
        f"compare {expected} of them with an expected answer",
        f"write {request.out}",
    ]


@operation("chat", "cases", estimate=estimate, plan=plan)
def run(request: CasesRequest, progress: Progress) -> CasesResult:
    model = models.resolve(request.model or models.for_chat(settings.read().default_model))
    cases = _cases(request, model)
    done = _done(request.out, cases)
    columns = [*dict.fromkeys(name for case in cases for name in case.row), *WRITTEN]
    cases_file.write(request.out, columns, done.values())
    asker, spent = Asker(model), Counter[str]()
    seconds = 0.0
    for number, case in enumerate(cases):
        if case.key not in done:
            done[case.key] = asker.row(case)
            cases_file.append(request.out, columns, done[case.key])
            spent += Counter(asked=1, tokens=done[case.key]["tokens"] or 0)
            seconds += done[case.key]["seconds"] or 0.0
            asker.refuse_to_go_on_failing()
        progress.step(number + 1, len(cases), "rows")
    rows = [done[case.key] for case in cases]
    cases_file.write(request.out, columns, rows)  # in the cases' order, whichever were asked when
    return _result(request.out, rows, spent, seconds)


class Asker:
    """Puts cases to the model, one after the other; brings its process back once where a case ended it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._client: Client | None = None
        self._failures: list[UserError] = []

    def row(self, case: Case) -> Row:
        """The case's row of the results. Raises UserError if the model can't be brought up at all."""
        answer: Answer | None = None
        error: UserError | None = None
        for _ in range(2):
            self._client = self._client or client.connect(self._model.ref)
            try:
                answer, error = _ask(self._client, case), None
                break
            except HostGone as gone:
                self._client, error = None, gone
            except UserError as refused:
                error = refused
                break
        counts = error is not None and not isinstance(error, PromptTooLong)
        self._failures = [*self._failures, error] if error is not None and counts else []
        return _row(case, answer, error)

    def refuse_to_go_on_failing(self) -> None:
        if len(self._failures) >= FAILURES_IN_A_ROW:
            raise self._failures[-1]


def _ask(connected: Client, case: Case) -> Answer:
    if case.messages:
        return connected.chat(list(case.messages), case.decoding)
    return connected.complete(case.prompt, case.decoding)


def _row(case: Case, answer: Answer | None, error: UserError | None) -> Row:
    made: Row = {**case.row, **dict.fromkeys(WRITTEN)}
    if answer is not None:
        made |= {"answer": answer.text, "finish": answer.finish, "seconds": round(answer.seconds, 3)}
        made |= {"prompt_tokens": answer.prompt_tokens, "tokens": answer.tokens, "seed_used": answer.seed}
        if _expected(case.row):
            made |= asdict(compare(answer.text, _expected(case.row)))
    return made | {"error": None if error is None else str(error), "case": case.key}


def _cases(request: CasesRequest, model: Model) -> list[Case]:
    """All rows as cases. Raises UserError for the first that can't be asked, before anything is."""
    if request.out.suffix.lower() not in SUFFIXES:
        raise UserError(
            "Results are written to .csv or .jsonl files, not to {path}.", remedy="Name it so.", path=request.out
        )
    if request.out.resolve() == request.file.resolve():
        raise UserError(
            "The results would replace the cases in {path}.", remedy="Choose another name.", path=request.out
        )
    rows = cases_file.read(request.file)
    named = {name for row in rows for name in row}
    if "prompt" not in named:
        raise UserError(
            "{path} has no column “prompt”.", remedy="Its columns are: {columns}. Rename the one with the prompts.",
            path=request.file, columns=", ".join(sorted(named)) or "-",
        )  # fmt: skip
    if clash := sorted(named & set(WRITTEN)):
        raise UserError(
            "The column “{column}” of {path} is named like one of the results.",
            remedy="Rename it.",
            column=clash[0],
            path=request.file,
        )
    seen: Counter[str] = Counter()
    return [_case(request, model, row, number, seen) for number, row in enumerate(rows, 1)]


def _case(request: CasesRequest, model: Model, row: Row, number: int, seen: Counter[str]) -> Case:
    texts = {name: row.get(name) or "" for name in ("prompt", "input", "system")}
    where = {"row": number, "path": request.file}
    if not texts["prompt"]:
        raise UserError("Row {row} of {path} has no prompt.", remedy="Write one, or take the row out.", **where)
    if not all(isinstance(text, str) for text in [*texts.values(), _expected(row)]):
        raise UserError(
            "In row {row} of {path}, prompt, input, expected or system is not a text.",
            remedy="Put it in quotes.",
            **where,
        )
    if texts["system"] and request.form != "chat":
        raise UserError(
            "Row {row} of {path} has a system prompt, which only the form chat takes.",
            remedy="Choose that form, or put it into the prompt.",
            **where,
        )
    texts = {name: clean(text) for name, text in texts.items()}
    decoding = _decoding(request, row, number)
    messages, prompt = _asked(request.form, texts)
    told = [messages, prompt, decoding.model_dump(exclude_defaults=True), model.ref, _expected(row)]
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    seen[key] += 1
    return Case(row, decoding, messages, prompt, key if seen[key] == 1 else f"{key}-{seen[key]}")


def _asked(form: Form, texts: dict[str, str]) -> tuple[tuple[dict[str, str], ...], str]:
    if form == "alpaca":
        return (), prompting.alpaca(texts["prompt"], texts["input"])
    text = "\n\n".join(filter(None, (texts["prompt"], texts["input"])))
    if form == "raw":
        return (), text
    system = [{"role": "system", "content": texts["system"]}] if texts["system"] else []
    return (*system, {"role": "user", "content": text}), ""


def _decoding(request: CasesRequest, row: Row, number: int) -> Decoding:
    own = {name: row[name] for name in Decoding.model_fields if row.get(name) not in (None, "")}
    try:
        return Decoding.model_validate(request.decoding.model_dump() | own)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            "In row {row} of {path}, the setting {name} can't be {value}: {why}.",
            remedy="Choose a value within its bounds.",
            row=number,
            path=request.file,
            name=first["loc"][0],
            value=str(first["input"])[:80],
            why=first["msg"],
        ) from error


def _done(out: Path, cases: list[Case]) -> dict[str, Row]:
    """The results that an earlier call left, without those that failed. Raises UserError if they are of other cases."""
    known = {case.key for case in cases}
    rows = [_read_back(row) for row in cases_file.kept(out, "case")]
    found = {row["case"]: row for row in rows if row["case"] in known}
    if rows and not found:
        raise UserError(
            "{path} holds results of other cases, or of another model or other settings.",
            remedy="Choose another name.",
            path=out,
        )
    return {key: row for key, row in found.items() if not row.get("error")}


def _read_back(row: Row) -> Row:
    """Numbers as numbers again: CSV knows only texts."""
    for name in ("exact", "contains", "similarity", "prompt_tokens", "tokens", "seconds", "seed_used"):
        value: Any = row.get(name)
        if isinstance(value, str):
            try:
                row[name] = json.loads(value.lower())  # Excel writes TRUE
            except ValueError:
                row[name] = None
    return row


def _expected(row: Row) -> str:
    return row.get("expected") or ""


def _result(out: Path, rows: list[Row], spent: Counter[str], seconds: float) -> CasesResult:
    compared = [row for row in rows if row.get("similarity") is not None]
    return CasesResult(
        out=out,
        rows=len(rows),
        failed=sum(bool(row.get("error")) for row in rows),
        compared=len(compared),
        exact=sum(row["exact"] for row in compared),
        contains=sum(row["contains"] for row in compared),
        similarity=sum(row["similarity"] for row in compared) / len(compared) if compared else None,
        asked=spent["asked"],
        tokens=spent["tokens"],
        seconds=round(seconds, 2),
    )
