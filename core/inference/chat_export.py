"""Conversations as files for other programs and people: Markdown of the branch shown, JSON of every branch."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict
from typing import Any

from core.errors import UserError
from core.inference.chat_tree import Conversation, Message

FORMAT = "knowlm-studio-conversation/1"


def markdown(talk: Conversation) -> str:
    """A conversation to read elsewhere: who said what, and how each answer came about."""
    parts = [f"# {talk.title or 'Conversation'}"]
    parts += [f"*System prompt:* {talk.system}"] if talk.system else []
    for message in talk.messages:
        if message.role == "user":
            parts += ["## You", *(_fenced(file.name, file.text) for file in message.files), message.text]
            parts += [f"*Input:*\n\n{message.input}"] if message.input else []
        else:
            parts += [f"## {message.facts.title or message.facts.model or 'Model'}", message.text]
            parts += [f"*{told(message)}*"]
    return "\n\n".join(parts) + "\n"


def as_json(talk: Conversation) -> str:
    """Everything that is kept of a conversation: all versions, how each came about, and which are shown."""
    shown = {message.id for message in talk.messages}
    rows = [_row(message) | {"shown": message.id in shown} for message in talk.tree]
    whole = {
        "format": FORMAT,
        "title": talk.title,
        "system": talk.system,
        "changed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(talk.changed)),
        "messages": rows,
    }
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def file_name(talk: Conversation, suffix: str) -> str:
    """A name that every system takes."""
    name = re.sub(r"[^\w\- ]+", " ", talk.title).strip()
    return f"{' '.join(name.split())[:50] or 'conversation'}{suffix}"


def told(message: Message) -> str:
    """How an answer came about, on one line."""
    facts = message.facts
    if facts.error:
        return f"error: {UserError.from_dict(facts.error)}"
    rate = f"{facts.rate:.1f} tokens/s" if facts.rate else ""
    first = f"first after {facts.first_token_seconds:.2f} s" if facts.first_token_seconds is not None else ""
    seed = f"seed {facts.seed}" if facts.seed is not None else ""
    how = {"length": "cut at its longest: /continue goes on", "cancelled": "stopped", "lost": "its process ended"}
    return ", ".join(filter(None, (f"{facts.tokens} tokens", rate, first, seed, how.get(message.finish, ""))))


def _row(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = {"id": message.id, "parent": message.parent, "role": message.role, "text": message.text}
    if message.role == "user":
        return row | {"input": message.input, "files": [asdict(file) for file in message.files]}
    return row | {"finish": message.finish, **asdict(message.facts)}


def _fenced(name: str, text: str) -> str:
    """A file's text in a fence that is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"**{name}**\n\n{fence}\n{text.rstrip()}\n{fence}"
