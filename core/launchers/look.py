"""`python -m core train look`: what a model will see of training rows, token by token, before anything is trained.

The tokenizer's library is heavy, so `python -m train.look` reads the rows in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from copy import copy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import paths
from core.errors import UserError
from core.launchers import settle
from core.launchers.contract import USER_ERROR
from core.launchers.finetune import DataFormat, FinetuneRequest, PromptForm
from core.operation import Needs, Progress, Request, Result, operation

MODULE = "train.look"
LIBRARIES = 600_000_000
POLL = 0.2
ROWS = 20_000


def _same(name: str) -> Any:
    """A field as the training has it: its bounds, help and default stand there alone."""
    return copy(FinetuneRequest.model_fields[name])


class LookRequest(Request):
    """Show what a model will see of training rows: tokens, which of them are learned, refused rows, duplicates."""

    base: str = _same("base")
    data: tuple[Path, ...] = _same("data")
    validation: tuple[Path, ...] = _same("validation")
    validation_share: float = _same("validation_share")
    share: float = _same("share")
    max_length: int = _same("max_length")
    format: DataFormat = _same("format")
    fields: tuple[str, ...] = _same("fields")
    schema_file: Path | None = _same("schema_file")
    prompt_form: PromptForm = _same("prompt_form")
    train_on_prompt: bool = _same("train_on_prompt")
    seed: int = _same("seed")
    shown: int = Field(default=12, ge=1, le=100, description="Samples shown token by token")
    most: int = Field(
        default=ROWS,
        ge=0,
        description="Rows that are looked at; 0 looks at all",
        json_schema_extra={"unit": "rows"},
    )

    def training(self, out: Path) -> FinetuneRequest:
        """The training whose data these are."""
        shared = {name: getattr(self, name) for name in LookRequest.model_fields if name not in ("shown", "most")}
        return FinetuneRequest(out=out, **shared)


def of(training: FinetuneRequest) -> LookRequest:
    """The look at what a training would read."""
    shared = {name for name in LookRequest.model_fields if name not in ("shown", "most")}
    return LookRequest(**{name: getattr(training, name) for name in shared})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Seen(_Part):
    """A sample: its text in pieces, mostly a token each, in their order."""

    where: str
    validation: bool
    tokens: int
    learned: int
    pieces: tuple[tuple[str, bool], ...]
    """(text, whether it is learned)"""
    cut: bool = False
    """The end of the sample is left out of the pieces."""


class Refused(_Part):
    where: str
    why: dict[str, Any]
    """A UserError's `to_dict()`."""


class LookResult(Result):
    """Of lists of rows, the first ones; the counts are of all that were looked at."""

    form: str
    """The prompt form that was chosen: raw, chat or alpaca."""
    rows: int
    whole: bool
    """Whether all rows were looked at."""
    trained: int
    validated: int
    tokens: int
    """Of the training samples, learned ones and others."""
    learned: int
    longest: int
    refused_rows: int
    refused: tuple[Refused, ...]
    duplicate_rows: int
    duplicates: tuple[tuple[str, str], ...]
    """(a training sample, the earlier one that it repeats)"""
    leaked_rows: int
    leaks: tuple[tuple[str, str], ...]
    """(a validation sample, the training sample with the same prompt); it is left out."""
    samples: tuple[Seen, ...]

    def summary(self) -> str:
        of = "" if self.whole else f" of the first {self.rows} rows"
        lines = [
            f"{self.trained} samples to train on, {self.validated} for validation{of}; prompts in the form {self.form}",
            f"{self.tokens} tokens, {self.learned} of them learned; the longest sample has {self.longest}",
            f"{self.refused_rows} rows refused, {self.duplicate_rows} duplicates, {self.leaked_rows} leaks left out",
            *(f"  {UserError.from_dict(one.why)}" for one in self.refused),
            *(f"  {row} repeats {earlier}" for row, earlier in self.duplicates),
            *(f"  {row} has the prompt of {trained}" for row, trained in self.leaks),
        ]
        for sample in self.samples:
            part = "validation, " if sample.validation else ""
            lines += ["", f"{sample.where}: {part}{sample.tokens} tokens; learned in ⟦ ⟧:", marked(sample.pieces)]
        return "\n".join(lines)


def marked(pieces: tuple[tuple[str, bool], ...]) -> str:
    """The text with what is learned between ⟦ and ⟧."""
    said, before = "", False
    for text, learned in pieces:
        said += ("⟦" if learned else "⟧") * (learned != before) + text
        before = learned
    return said + "⟧" * before


@operation("train", "look", estimate=lambda request: Needs(ram=LIBRARIES))
def run(request: LookRequest, progress: Progress) -> LookResult:
    base = settle.base_folder(request.base)
    with tempfile.TemporaryDirectory(prefix="look-", dir=paths.workspace()) as folder:
        asked, made, printed = (Path(folder) / name for name in ("request.json", "result.json", "printed"))
        asked.write_text(_absolute(request).model_dump_json(), encoding="utf-8")
        with printed.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", MODULE, "--request", str(asked), "--base", str(base), "--out", str(made)],
                cwd=paths.PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            while child.poll() is None:
                time.sleep(POLL)
                _tell(made.with_suffix(".rows"), request.most, progress)
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            raise _failed(printed.read_text(encoding="utf-8", errors="replace"), child.returncode)
        try:
            return LookResult.model_validate_json(made.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise _failed(printed.read_text(encoding="utf-8", errors="replace"), child.returncode) from error


def _absolute(request: LookRequest) -> LookRequest:
    def at(path: Path) -> Path:
        return path.expanduser().absolute()

    return request.model_copy(
        update={
            "data": tuple(map(at, request.data)),
            "validation": tuple(map(at, request.validation)),
            "schema_file": request.schema_file and at(request.schema_file),
        }
    )


def _tell(counter: Path, most: int, progress: Progress) -> None:
    try:
        progress.step(int(counter.read_text(encoding="ascii")), most or None, "rows")
    except (OSError, ValueError):  # not begun, or just being written
        return


def _failed(printed: str, code: int) -> UserError:
    for line in reversed(printed.splitlines()):
        _, found, told = line.partition(USER_ERROR)
        if found and told.startswith("{"):
            return UserError.from_dict(json.loads(told))
    return UserError(
        "The rows could not be looked at (code {code}): {lines}",
        remedy="Check that the base model's folder holds its tokenizer; if this happens again, report these lines.",
        code=code,
        lines=" ".join(printed.split())[-600:] or "–",
    )
