"""One operation, three doors: a frozen Request and a `run`, from which the command, the form and the job come.

    class VerifyRequest(Request):
        "Check every file of a model against its known hashes."
        folder: Positional[Path] = Field(description="Folder to check", json_schema_extra={"picker": "folder"})

    @operation("models", "verify", estimate=estimate)
    def run(request: VerifyRequest, progress: Progress) -> VerifyResult: ...

The Request's docstring is the operation's one-line help. A field's description, bounds, unit and
default stand in the field and nowhere else. `json_schema_extra` may hold `picker` (file, folder,
model, schema), `unit`, `advanced` (folded in the form) and `bare` (what the option means without a
value); `tyro.conf.Positional[T]` makes an option a bare word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_type_hints

from pydantic import BaseModel, ConfigDict

from core import registry
from core.errors import UserError


class Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Result(BaseModel):
    """What a finished operation hands back; `--json` prints it whole."""

    model_config = ConfigDict(frozen=True)

    def summary(self) -> str:
        """The receipt a person reads: what was made, where, how long, how fast."""
        return "\n".join(f"{name}: {value}" for name, value in self.model_dump(mode="json").items())


class Progress(Protocol):
    """How a running operation speaks. Cheap to call: receivers drop what comes too fast."""

    def step(self, done: float, total: float | None = None, unit: str = "") -> None:
        """`done` of `total` units; the same units through the whole operation."""

    def metric(self, **values: float) -> None:
        """Numbers worth a chart: `metric(rows_per_second=12.5, failures=0)`."""

    def log(self, line: str) -> None:
        """A line worth keeping."""


class Silent:
    """Progress that nobody watches."""

    def step(self, done: float, total: float | None = None, unit: str = "") -> None: ...

    def metric(self, **values: float) -> None: ...

    def log(self, line: str) -> None: ...


@dataclass(frozen=True)
class Needs:
    """What a request will take at its peak: bytes, bytes, bytes under `disk_at`, seconds. None: not known."""

    ram: int | None = None
    vram: int | None = None
    disk: int | None = None
    disk_at: Path | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Operation:
    group: str
    name: str
    request: type[Request]
    run: Callable[[Any, Progress], Result]
    estimate: Callable[[Any], Needs]
    plan: Callable[[Any], list[str]] | None = None

    @property
    def key(self) -> str:
        """`weights recover`, as typed; a group's own operation (`chat`) has no second word."""
        return f"{self.group} {self.name}".strip()

    @property
    def title(self) -> str:
        return (self.request.__doc__ or self.key).strip().splitlines()[0]


_operations: dict[str, Operation] = {}


def operation(
    group: str,
    name: str = "",
    *,
    estimate: Callable[[Any], Needs] = lambda request: Needs(),
    plan: Callable[[Any], list[str]] | None = None,
) -> Callable:
    """Register `run(request: R, progress: Progress) -> Result` under `python -m core GROUP NAME`.

    `plan(request)` gives the lines that `--plan` prints beside the needs, writing nothing.
    """

    def register(run: Callable) -> Callable:
        made = Operation(group, name, get_type_hints(run)["request"], run, estimate, plan)
        _operations[made.key] = made
        return run

    return register


def operations() -> dict[str, Operation]:
    """Every operation of every package, by key, sorted."""
    registry.import_operations()
    return dict(sorted(_operations.items()))


def find(key: str) -> Operation:
    """The operation of that key. Raises UserError if there is none."""
    found = operations().get(key)
    if found is None:
        raise UserError("There is no operation “{key}”.", remedy="`python -m core --help` lists them all.", key=key)
    return found


def of(request: Request) -> Operation:
    """The operation that a request belongs to."""
    return next(made for made in operations().values() if made.request is type(request))
