"""The host from the command line: load, unload, chat."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field
from tyro.conf import Positional

from core import models, resources, settings
from core.inference import adapters, chat_terminal, client, devices
from core.inference.decoding import Decoding
from core.inference.engine import Options
from core.operation import Needs, Progress, Request, Result, operation

WEIGHTS_OVERHEAD = 1.15


class LoadRequest(Request):
    """Load a model, so that everything that follows answers at once."""

    model: Positional[str] = Field(
        description="Model: a name, a .gguf file or a model folder", json_schema_extra={"picker": "model"}
    )
    engine: str = Field(default="", description="Engine to use; empty lets the host choose")
    adapter: str = Field(
        default="", description="Adapter to put on it: a name or a folder; one after another, without loading it again"
    )
    bits: Literal[0, 8, 4] = Field(
        default=0, description="Bits a weight to hold a Hugging Face folder in, by bitsandbytes; 0: as it is"
    )
    device: str = Field(
        default="",
        description="Where it runs: cpu, cuda, cuda:1, or auto to spread it over all; empty lets the engine choose",
        json_schema_extra={"advanced": True},
    )
    memory: str = Field(
        default="",
        description="Most memory to take of each device, such as 0=20GB,1=10GB,cpu=30GB; empty: what is free",
        json_schema_extra={"advanced": True},
    )


class LoadResult(Result):
    model: str
    engine: str
    why: str
    context: int
    parallel: int
    facts: tuple[str, ...] = ()
    seconds: float


class StatusRequest(Request):
    """Say which model is loaded, how, and why so."""


class StatusResult(Result):
    state: str
    model: str = ""
    engine: str = ""
    why: str = ""
    device: str = ""
    context: int = 0
    parallel: int = 0
    busy: int = 0
    memory: int = 0
    facts: tuple[str, ...] = ()
    error: str = ""

    def summary(self) -> str:
        if self.state == "empty":
            return "no model is loaded"
        lines = [f"{self.model}: {self.state}", *([self.error] if self.error else [])]
        if self.state == "ready":
            lines += [f"engine: {self.engine}. {self.why}", f"device: {self.device}", *self.facts]
            lines += [f"{self.context} tokens of context, {self.parallel} answers at once, {self.busy} under way"]
            lines += [f"memory: {resources.size(self.memory)}"] if self.memory else []
        return "\n".join(lines)


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
    model, options = asked(request)
    now = client.status()
    if model.format == "remote" or (now.state == "ready" and now.model == model.ref):
        return Needs()
    weights = models.size_of(models.base_weights(model)) if model.format == "adapter" else model.size
    need = int(devices.shrunk(weights, options.bits, wide=False) * WEIGHTS_OVERHEAD)
    return Needs(ram=max(0, need - now.rss))


def asked(request: LoadRequest) -> tuple[models.Model, Options]:
    """The model to load, an adapter on its base where one is named, and how. Raises UserError."""
    base = ""
    model = models.resolve(request.model)
    if request.adapter:
        model, base = adapters.on_base(request.adapter, request.model)
    options = Options(device=request.device, bits=request.bits, memory=request.memory, base=base)
    return adapters.based(model, options), options


@operation("models", "load", estimate=estimate_load)
def load(request: LoadRequest, progress: Progress) -> LoadResult:
    began = time.monotonic()
    model, options = asked(request)
    chosen = options if options != Options() else None
    now = client.load(model.ref, engine=request.engine or None, options=chosen)
    took = time.monotonic() - began
    return LoadResult(
        model=now.model,
        engine=now.engine,
        why=now.why_engine,
        context=now.context,
        parallel=now.parallel,
        facts=tuple(map(str, now.facts)),
        seconds=round(took, 2),
    )


@operation("models", "status")
def status(request: StatusRequest, progress: Progress) -> StatusResult:
    now = client.status()
    return StatusResult(
        state=now.state,
        model=now.model,
        engine=now.engine,
        why=now.why_engine,
        device=str(now.can.get("device", "")),
        context=now.context,
        parallel=now.parallel,
        busy=now.busy,
        memory=now.rss,
        facts=tuple(map(str, now.facts)),
        error=str(now.error) if now.error else "",
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
