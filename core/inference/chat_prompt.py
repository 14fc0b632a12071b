"""From a branch of a conversation to what a model is sent, in one of three forms.

chat    all that was said, through the model's own template
raw     the texts one after the other and nothing else: a base model goes on from their end
alpaca  the last instruction and its input, as KnowLM was trained; it knows no turns, so none are sent
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core import models
from core.inference import client
from core.inference.chat_tree import Message
from core.inference.decoding import Decoding
from core.inference.engine import Generation, PromptTooLong
from core.inference.prompting import Form, alpaca

TEMPLATE_TOKENS = 8
"""What a chat template puts around a message, about."""
LEAST_ANSWER = 32
"""Tokens that must be left for an answer."""
MOST_CHARACTERS = 16
"""A token has never more characters than this, on the average of a text."""


@dataclass(frozen=True)
class Way:
    """How an answer is asked for."""

    model: str
    decoding: Decoding = field(default_factory=Decoding)
    form: Form = "chat"
    adapter: bool = True
    """False: the base of a loaded adapter answers, without it."""


def generation(system: str, branch: Sequence[Message], way: Way) -> Generation:
    """What is sent for the answer that the branch ends with; if it has text already, the answer goes on from there."""
    if way.form == "chat":
        return Generation(way.decoding, None, tuple(_messages(system, branch)), adapter=way.adapter)
    prompt = _completion(branch) if way.form == "raw" else _instruction(branch)
    return Generation(way.decoding, prompt, adapter=way.adapter)


def worded(message: Message) -> str:
    """A message's text with its files in front of it, each under its name."""
    files = [f"--- {file.name} ---\n{file.text.strip()}\n--- end of {file.name} ---" for file in message.files]
    return "\n\n".join([*files, *filter(None, (message.text, message.input))])


def check_fits(request: Generation, model: str, names: Sequence[str]) -> None:
    """Raise PromptTooLong if the model's context can't hold the prompt, as far as that is known without loading it."""
    found = models.resolve(model)
    if found.format != "remote" and client.status().model != found.ref:
        return
    connected = client.connect(model)
    try:
        if not connected.context:
            return
        text = request.prompt or "\n".join(message["content"] for message in request.messages)
        tokens: int | None = len(text) // MOST_CHARACTERS
        if tokens is not None and tokens <= connected.context:
            tokens = connected.count(text)
    finally:
        connected.close()
    if tokens is not None and tokens + TEMPLATE_TOKENS * len(request.messages) + LEAST_ANSWER > connected.context:
        raise PromptTooLong(
            "With {names} the prompt has about {tokens} tokens; this model's context holds {context}, answer included.",
            remedy="Attach a shorter part of it, or load the model with a larger context.",
            names=", ".join(names),
            tokens=tokens,
            context=connected.context,
        )


def _messages(system: str, branch: Sequence[Message]) -> list[dict[str, str]]:
    """Roles in turn, which some templates insist on: questions that stayed without an answer go together."""
    said = [{"role": "system", "content": system}] if system else []
    for message in branch:
        text = worded(message)
        if not text:
            continue
        if said and said[-1]["role"] == message.role:
            said[-1] = {"role": message.role, "content": f"{said[-1]['content']}\n\n{text}"}
        else:
            said.append({"role": message.role, "content": text})
    return said


def _completion(branch: Sequence[Message]) -> str:
    """An answer stands right behind what it goes on from; what a person adds begins a line, unless they say how."""
    text = ""
    for message in branch:
        more = worded(message)
        apart = message.role == "user" and text and not text[-1].isspace() and more and not more[0].isspace()
        text += f"\n{more}" if apart else more
    return text


def _instruction(branch: Sequence[Message]) -> str:
    asked = next(message for message in reversed(branch) if message.role == "user")
    given = "\n\n".join(filter(None, (asked.input, *(file.text.strip() for file in asked.files))))
    so_far = branch[-1].text if branch[-1].role == "assistant" else ""
    return alpaca(asked.text, given) + so_far
