"""One text being extracted in a thread: what it is doing, what was asked and answered so far, and its stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from core.errors import UserError
from core.extract.calls import Options
from core.extract.one import extract_text
from core.extract.schema import Schema, Task
from core.inference import client as host
from core.inference.client import Answer, Asks, Client
from core.inference.engine import Generation
from core.models import Model
from core.records import Extraction
from ui.parts.errors import log_unexpected


@dataclass
class Call:
    """One question to the model and its answer as far as it has come."""

    prompt: str
    adapter: bool = True
    """False: put to the base alone."""
    answer: str = ""
    tokens: int = 0
    seconds: float = 0.0


class Stopped(Exception):
    """The person did not want to wait any longer."""


class Recorder(Asks):
    """Answers as its client does, in pieces, and puts what passes through into `calls`. `stop` ends the computation.

    `adapter` False: the base of a loaded adapter answers, without it.
    """

    def __init__(self, client: Client, stop: threading.Event, calls: list[Call], *, adapter: bool = True) -> None:
        self._client, self._stop, self._calls, self._adapter = client, stop, calls, adapter
        self.model, self.parallel, self.context, self.can = client.model, client.parallel, client.context, client.can

    def _answer(self, request: Generation) -> Answer:
        shown = request.prompt or "\n\n".join(message["content"] for message in request.messages)
        call, begun = Call(shown, self._adapter), time.monotonic()
        self._calls.append(call)
        last: Any = None
        for last in self._client.pieces(replace(request, adapter=self._adapter), self._stop):
            call.answer += last.text
            call.seconds = time.monotonic() - begun
        if self._stop.is_set() or last is None:
            raise Stopped
        call.tokens = last.tokens
        return Answer(call.answer, last.finish or "stop", last.prompt_tokens, last.tokens, call.seconds, seed=last.seed)


@dataclass
class Attempt:
    """Made on the page, run in its thread; the page looks at it from time to time."""

    text: str
    schema: Schema
    tasks: Sequence[Task]
    model: Model
    anyway: bool
    compare: bool = False
    """Of an adapter: ask its base, too, without it, the same prompts."""
    options: Options = field(default_factory=Options)
    state: Literal["loading", "reading", "done", "failed", "stopped"] = "loading"
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    """From the loaded model to the last record."""
    share: float = 0.0
    calls: list[Call] = field(default_factory=list)
    extraction: Extraction | None = None
    without: Extraction | None = None
    """What the base alone found."""
    error: UserError | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "stopped")

    def start(self) -> Attempt:
        threading.Thread(target=self._run, name="one text", daemon=True).start()
        return self

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        try:
            client = host.connect(self.model.ref)
            self.state, begun = "reading", time.monotonic()
            self.extraction = self._extract(Recorder(client, self._stop, self.calls))
            self.seconds = time.monotonic() - begun
            if self.compare:
                self.without = self._extract(Recorder(client, self._stop, self.calls, adapter=False))
            self.state = "done"
        except Stopped:
            self.state = "stopped"
        except UserError as error:
            self.error, self.state = error, "failed"
        except Exception as error:  # noqa: BLE001 a thread's errors reach nobody else
            place = log_unexpected(error)
            self.error = UserError(
                "Extracting failed in an unexpected way.", remedy="The details are in {file}.", file=place
            )
            self.state = "failed"

    def _extract(self, recorder: Recorder) -> Extraction:
        return extract_text(
            recorder,
            self.text,
            self.schema,
            self.tasks,
            options=self.options,
            run_anyway=self.anyway,
            step=self._step,
        )

    def _step(self, done: int, total: int) -> None:
        part = done / total
        self.share = (part + (self.extraction is not None)) / 2 if self.compare else part
        if self._stop.is_set():
            raise Stopped
