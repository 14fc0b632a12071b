"""What a conversation is: messages that each know the one before, so an edit or a second answer is a branch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

SHORTEST = 0.02
"""Seconds of writing that a speed is told for."""


@dataclass(frozen=True)
class Facts:
    """How an answer came about."""

    model: str = ""
    title: str = ""
    decoding: dict[str, Any] | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """From asking to the end, without the loading of a model."""
    first_token_seconds: float | None = None
    seed: int | None = None
    error: dict[str, Any] | None = None
    adapter: bool = True
    """False: the base answered, without the adapter loaded on it."""
    form: str = "chat"
    """How it was asked: see `chat_prompt`."""
    waited: float | None = None
    """Seconds before first tokens, of all parts of an answer that was gone on with."""

    @property
    def rate(self) -> float | None:
        """Tokens a second while it was written; None where that was too short to tell."""
        waited = self.waited if self.waited is not None else self.first_token_seconds or 0
        writing = self.seconds - waited
        return self.tokens / writing if self.tokens and writing > SHORTEST else None

    @classmethod
    def read(cls, text: str) -> Facts:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@dataclass(frozen=True)
class File:
    """A text that was attached to a message."""

    name: str
    text: str


@dataclass(frozen=True)
class Message:
    id: int
    role: str
    text: str
    finish: str = ""
    """stop, length, cancelled, error, or lost (its process ended); empty while it runs and for a person's words."""
    facts: Facts = Facts()
    parent: int | None = None
    beside: int | None = None
    """The answer that was asked for together with this one."""
    input: str = ""
    """The input that belongs to an instruction, where it was asked in the KnowLM form."""
    files: tuple[File, ...] = ()

    @property
    def running(self) -> bool:
        return self.role == "assistant" and not self.finish


@dataclass(frozen=True)
class Conversation:
    id: str
    title: str
    system: str = ""
    changed: float = 0.0
    leaf: int | None = None
    """The message that the branch shown ends with."""
    tree: tuple[Message, ...] = ()
    """Every message of every branch, in the order they were written."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The branch that is shown, from its first message to its last."""
        return path(self.tree, self.leaf)

    @property
    def running(self) -> Message | None:
        """An answer that is being written, on whichever branch."""
        return next((message for message in self.tree if message.running), None)

    def find(self, message: int | None) -> Message | None:
        return next((found for found in self.tree if found.id == message), None)

    def versions(self, message: Message) -> tuple[Message, ...]:
        """The messages that stand in the same place, the message itself among them."""
        same = (message.parent, message.role)
        return tuple(other for other in self.tree if (other.parent, other.role) == same)


def path(tree: Sequence[Message], leaf: int | None) -> tuple[Message, ...]:
    """From the root to this message; nothing for a message that is not there."""
    known = {message.id: message for message in tree}
    back: list[Message] = []
    while leaf is not None and leaf in known:
        back.append(known.pop(leaf))  # a message is met once, whatever a broken file says
        leaf = back[-1].parent
    return tuple(reversed(back))


def newest_below(tree: Sequence[Message], message: int) -> int:
    """Where the branch through this message ends, taking the newest message at each fork."""
    newest = {other.parent: other.id for other in sorted(tree, key=lambda other: other.id)}
    while newest.get(message, 0) > message:  # a child is written after its parent
        message = newest[message]
    return message
