"""System prompts to choose from: the ready-made ones of prompts.json, and those that a person saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.inference.shelf import Shelf

_own = Shelf("prompts.json")


@dataclass(frozen=True)
class Prompt:
    name: str
    text: str
    language: str = ""
    """`en` or `zh` of a ready-made one; empty for a person's own."""


@cache
def ready() -> tuple[Prompt, ...]:
    rows = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return tuple(Prompt(**row) for row in rows)


def own() -> tuple[Prompt, ...]:
    return tuple(Prompt(name, text) for name, text in sorted(_own.all().items()) if isinstance(text, str))


def save(name: str, text: str) -> str:
    return _own.put(name, text)


def remove(name: str) -> None:
    _own.remove(name)
