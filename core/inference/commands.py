"""The host from the command line: load, unload, chat."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pydantic import Field, ValidationError
from tyro.conf import Positional

from core import models, settings
from core.errors import UserError
from core.inference import client
from core.inference.decoding import Decoding
from core.operation import Needs, Progress, Request, Result, operation

WEIGHTS_OVERHEAD = 1.15


class LoadRequest(Request):
    """Load a model, so that everything that follows answers at once."""

    model: Positional[str] = Field(
        description="Model: a name, a .gguf file or a model folder", json_schema_extra={"picker": "model"}
    )
    engine: str = Field(default="", description="Engine to use; empty lets the host choose")


class LoadResult(Result):
    model: str
    engine: str
    why: str
    context: int
    parallel: int
    seconds: float


class UnloadRequest(Request):
    """Unload the model and give its memory back."""


class UnloadResult(Result):
    model: str


class ChatRequest(Request):
    """Talk with the loaded model, or ask it one thing."""

    once: str | None = Field(default=None, description="Ask this one thing and print the answer")
    model: str = Field(
        default="", description="Model to use; empty takes the default one", json_schema_extra={"picker": "model"}
    )
    system: str = Field(default="", description="System prompt: who the model is to be")
    decoding: Decoding = Field(default=Decoding(), description="How the answer is chosen")


class ChatResult(Result):
    text: str
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    seed: int | None = None

    def summary(self) -> str:
        return self.text


def estimate_load(request: LoadRequest) -> Needs:
    model = models.resolve(request.model)
    now = client.status()
    if model.format == "remote" or (now.state == "ready" and now.model == model.ref):
        return Needs()
    return Needs(ram=max(0, int(model.size * WEIGHTS_OVERHEAD) - now.rss))


@operation("models", "load", estimate=estimate_load)
def load(request: LoadRequest, progress: Progress) -> LoadResult:
    began = time.monotonic()
    now = client.load(request.model, engine=request.engine or None)
    took = time.monotonic() - began
    return LoadResult(
        model=now.model,
        engine=now.engine,
        why=now.why_engine,
        context=now.context,
        parallel=now.parallel,
        seconds=round(took, 2),
    )


@operation("models", "unload")
def unload(request: UnloadRequest, progress: Progress) -> UnloadResult:
    now = client.status()
    client.unload()
    return UnloadResult(model=now.model)


@operation("chat")
def chat(request: ChatRequest, progress: Progress) -> ChatResult:
    connected = client.connect(request.model or settings.read().default_model)
    talk = Talk(connected, request.decoding, request.system)
    if request.once is None:
        converse(talk)
        return ChatResult(text="")
    answer = connected.chat(talk.with_user(request.once), request.decoding)
    return ChatResult(
        text=answer.text,
        finish=answer.finish,
        prompt_tokens=answer.prompt_tokens,
        tokens=answer.tokens,
        seconds=round(answer.seconds, 3),
        seed=answer.seed,
    )


@dataclass(frozen=True)
class Talk:
    """A conversation in a terminal."""

    client: client.Client
    decoding: Decoding
    system: str = ""
    messages: tuple[dict[str, str], ...] = field(default=())

    def with_user(self, text: str) -> list[dict[str, str]]:
        opening = [{"role": "system", "content": self.system}] if self.system else []
        return [*opening, *self.messages, {"role": "user", "content": text}]

    def after(self, text: str, answer: str) -> Talk:
        said = ({"role": "user", "content": text}, {"role": "assistant", "content": answer})
        return replace(self, messages=(*self.messages, *said))

    def told(self, line: str) -> Talk:
        """The talk after a /command. Raises UserError for one that isn't known."""
        word, _, rest = line.partition(" ")
        if word == "/reset":
            return replace(self, messages=())
        if word == "/system":
            return replace(self, system=rest.strip())
        name, _, value = rest.strip().partition(" ")
        if word == "/set" and name in Decoding.model_fields:
            try:
                decoding = Decoding.model_validate({**self.decoding.model_dump(), name: value.strip() or None})
            except ValidationError as error:
                raise UserError(
                    "The setting {name} can't be {value}: {why}.",
                    remedy="Choose a value within its bounds.",
                    name=name,
                    value=value,
                    why=error.errors()[0]["msg"],
                ) from error
            return replace(self, decoding=decoding)
        raise UserError(
            "There is no command “{line}”.",
            remedy="The commands are /quit, /reset, /system TEXT and /set NAME VALUE, with one of: {names}.",
            line=line,
            names=", ".join(Decoding.model_fields),
        )


def converse(talk: Talk) -> None:
    """Read lines and answer each until /quit or the end of input; Ctrl-C stops an answer."""
    print(f"{talk.client.model.title} · /quit /reset /system TEXT /set NAME VALUE", file=sys.stderr)
    for line in _lines():
        try:
            talk = talk.told(line) if line.startswith("/") else _answered(talk, line)
        except client.HostGone as error:
            print(f"error: {error}", file=sys.stderr)
            talk = replace(talk, client=client.connect(talk.client.model.ref))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)


def _answered(talk: Talk, line: str) -> Talk:
    texts: list[str] = []
    stream = talk.client.stream_chat(talk.with_user(line), talk.decoding)
    try:
        for text in stream:
            texts.append(text)
            print(text, end="", flush=True)
    except KeyboardInterrupt:
        stream.close()  # type: ignore[attr-defined]
    print(flush=True)
    return talk.after(line, "".join(texts))


def _lines() -> Iterator[str]:
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if line == "/quit":
            return
        if line:
            yield line
