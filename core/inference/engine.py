"""What an engine is: one file in `engines/` whose class `Engine` loads a model and answers with it.

The host chooses one by the model's format, by measured speed (`models bench`) or else in the order of `preference`,
and says why; a person can name another. An engine that can't do a thing says so in `can` and refuses it by name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from core import registry
from core.errors import UserError
from core.inference import speeds
from core.inference.decoding import Decoding
from core.inference.speeds import Purpose
from core.models import Model

Finish = Literal["stop", "length", "cancelled"]


class HostGone(UserError):
    """The host died, was unloaded, or another model took its place."""


class PromptTooLong(UserError):
    """The prompt leaves no room for an answer in the model's context."""


@dataclass(frozen=True)
class Generation:
    """One request: a bare `prompt`, or `messages` for the model's chat template. Exactly one of them.

    Where the last message is the assistant's, the answer goes on from its end.
    """

    decoding: Decoding
    prompt: str | None = None
    messages: tuple[dict[str, str], ...] = ()
    grammar: str | None = None
    """GBNF with a rule named `root`."""
    stop: tuple[str, ...] = ()
    adapter: bool = True
    """False: answer as the base does, without the adapter that is loaded on it."""
    model: str = ""
    """Who is to answer, where a base and several adapters of it are loaded together; "": the one loaded last."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer: whole characters only. The last one has `finish` and the counts."""

    text: str = ""
    finish: Finish | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class Capabilities:
    formats: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    grammar: bool = False
    compiles: bool = False
    """Whether each new grammar costs it time, so that one which many requests share is tried first."""
    lora: bool = False
    """True only where its effect on the logits is proven by a test."""
    beams: bool = False
    seed: bool = True
    adapters: bool = False
    """Whether it keeps its base and takes further adapters of it: then it is an `Adapts`."""
    bits: tuple[int, ...] = ()
    """Bits a weight that it can shrink weights to while it loads them."""
    spreads: bool = False
    """Whether it can spread a model over several devices, within limits."""


@dataclass(frozen=True)
class Options:
    """What a load may ask for; 0 and "" leave the choice to the engine."""

    context: int = 0
    parallel: int = 0
    threads: int = 0
    device: str = ""
    bits: int = 0
    memory: str = ""
    """Limits a device, as `devices.read_limits` takes them."""
    base: str = ""
    """Of an adapter: the base to load it on, where that isn't the one it names itself."""


@dataclass(frozen=True)
class Fact:
    """A sentence on what came of a load; its `{named}` fields come from `values`, so that pages can translate it."""

    why: str
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.why.format(**self.values)


@dataclass(frozen=True)
class Loaded:
    """What came of a load: tokens a sequence, sequences at once, where it runs, and why so."""

    context: int
    parallel: int
    device: str = "cpu"
    facts: tuple[Fact, ...] = ()


class Engine(Protocol):
    title: str
    why: ClassVar[str]
    """One sentence: why it is chosen when nobody names one."""
    preference: ClassVar[int]
    """Lower is tried first."""
    batch_preference: ClassVar[int]
    """The same where many texts are to be read at once."""
    can: Capabilities

    def load(self, model: Model, options: Options) -> Loaded:
        """Raises UserError where the file is broken, unsuitable or too large."""

    def generate(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        """Pieces as they come; one without text only says that it is still at work.

        Setting `stop` or closing the iterator ends the computation. Safe to call from several threads.
        """

    def count(self, text: str) -> int:
        """Tokens of a text."""

    def unload(self) -> None: ...


class Adapts(Protocol):
    """What an engine whose `can.adapters` is true does besides."""

    def adapt(self, model: Model) -> Loaded:
        """Answer as this adapter of the loaded base, or as the base itself, from now on; others stay available.

        Raises UserError where the adapter is broken or does not fit; then all is as it was.
        """


WHY_BY_HAND = "It was chosen by hand."
WHY_FASTEST = "It was the fastest when the engines were measured with this model on this machine."


def engines() -> dict[str, Any]:
    """{name: class} of every engine, the preferred first."""
    found = {name: module.Engine for name, module in registry.plugins("core.inference.engines").items()}
    return dict(sorted(found.items(), key=lambda pair: pair[1].preference))


def choose(
    model: Model, named: str | None = None, options: Options | None = None, purpose: Purpose = "chat"
) -> tuple[str, Any, str]:
    """(name, class, why) of the engine for a model. Raises UserError if the named one, or every one, can't."""
    known, asked = engines(), options or Options()
    if named:
        if named not in known:
            raise UserError(
                "There is no engine “{engine}”.", remedy="Choose one of: {known}.", engine=named, known=", ".join(known)
            )
        if model.format not in known[named].can.formats:
            able = [name for name, made in known.items() if model.format in made.can.formats]
            raise UserError(
                "The engine {engine} can't load {model}: it does not read the format {format}.",
                remedy="Choose one of: {able}.",
                engine=named,
                model=model.title,
                format=model.format,
                able=", ".join(able),
            )
        _refuse_load(named, known[named].can, model, asked)
        return named, known[named], WHY_BY_HAND
    reading = able_engines(model)
    fit = [name for name, made in reading.items() if _lacks(made.can, model, asked) is None] or list(reading)[:1]
    name, why = _best(model, {one: reading[one] for one in fit}, purpose)
    _refuse_load(name, known[name].can, model, asked)
    return name, known[name], why


def able_engines(model: Model) -> dict[str, Any]:
    """{name: class} of the engines that read the model's format, the preferred first."""
    return {name: made for name, made in engines().items() if model.format in made.can.formats}


def _best(model: Model, fit: dict[str, Any], purpose: Purpose) -> tuple[str, str]:
    """(name, why): the fastest where two or more were measured, else the one that is usually so."""
    measured = {name: speed.of(purpose) for name in fit if (speed := speeds.known(model, name)) is not None}
    if len(measured) > 1:
        return max(measured, key=measured.__getitem__), WHY_FASTEST
    usual = min(fit, key=lambda name: fit[name].batch_preference if purpose == "batch" else fit[name].preference)
    return usual, fit[usual].why


def _lacks(can: Capabilities, model: Model, asked: Options) -> str | None:
    """The option that an engine can't do for a model; None where it can do all."""
    if asked.bits and (asked.bits not in can.bits or model.format == "gguf"):
        return "bits"
    if asked.memory and (not can.spreads or model.format == "gguf"):
        return "memory"
    return None


def _refuse_load(name: str, can: Capabilities, model: Model, asked: Options) -> None:
    lacks = _lacks(can, model, asked)
    if lacks == "bits":
        raise UserError(
            "{engine} can't load {model} in {bits} bits.",
            remedy="A Hugging Face folder can be loaded in 8 or 4 bits with the engine transformers; "
            "of a GGUF file, choose one that is quantized.",
            engine=name,
            model=model.title,
            bits=asked.bits,
        )
    if lacks == "memory":
        raise UserError(
            "{engine} can't keep {model} within limits of each device.",
            remedy="Leave the limits out, or load a Hugging Face folder with the engine transformers.",
            engine=name,
            model=model.title,
        )


def too_long(tokens: int, context: int) -> PromptTooLong:
    return PromptTooLong(
        "The prompt has {tokens} tokens; this model's context holds {context}.",
        remedy="Shorten the text, or load the model with a larger context.",
        tokens=tokens,
        context=context,
    )


def refuse_impossible(title: str, can: Capabilities, request: Generation) -> None:
    """Raise UserError for what a request asks and the engine can't do, and for an empty prompt."""
    if request.grammar is not None and not can.grammar:
        raise UserError(
            "{engine} can't keep an answer to a grammar.",
            remedy="Load the model with an engine that can, such as llamacpp.",
            engine=title,
        )
    if request.grammar is not None and (not request.grammar.strip() or "\0" in request.grammar):
        raise UserError(
            "The grammar can't be used: {why}",
            remedy="It must be GBNF with a rule named root, and without left recursion.",
            why="it is empty or holds a NUL character",
        )
    if request.decoding.beams > 1 and not can.beams:
        raise UserError(
            "{engine} can't follow several beams.",
            remedy="Set beams to 1, or load the model with the engine transformers.",
            engine=title,
        )
    if not request.adapter and not can.lora:
        raise UserError(
            "{engine} has no adapter to leave out.",
            remedy="Load an adapter with the engine transformers, or ask the base itself.",
            engine=title,
        )
    if not request.prompt and not request.messages:
        raise UserError("The prompt is empty.", remedy="Write something for the model to go on from.")
