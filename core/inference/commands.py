"""The host from the command line: load, unload, chat."""

from __future__ import annotations

import time

from pydantic import Field
from tyro.conf import Positional

from core import models, settings
from core.inference import chat_terminal, client
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
    ref = request.model or models.for_chat(settings.read().default_model)
    if request.once is None:
        chat_terminal.converse(chat_terminal.Terminal(ref, request.decoding, request.system))
        return ChatResult(text="")
    opening = [{"role": "system", "content": request.system}] if request.system else []
    answer = client.connect(ref).chat([*opening, {"role": "user", "content": request.once}], request.decoding)
    return ChatResult(
        text=answer.text,
        finish=answer.finish,
        prompt_tokens=answer.prompt_tokens,
        tokens=answer.tokens,
        seconds=round(answer.seconds, 3),
        seed=answer.seed,
    )
