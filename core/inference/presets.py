"""Decoding settings under a name: ready-made ones, and those that a person saved, sent or was sent."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from core.errors import UserError
from core.inference.decoding import Decoding
from core.inference.shelf import Shelf

READY = {
    "precise": Decoding(),
    "balanced": Decoding(temperature=0.7, top_p=0.95, repetition_penalty=1.1),
    "creative": Decoding(temperature=1.1, top_p=0.98, repetition_penalty=1.1, max_tokens=1024),
    # examples/generate_lora.py of KnowLM: 4 beams, penalty 1.3, 512 tokens. It names temperatures of 0.1 to 0.5 too,
    # but never sets do_sample, so they had no effect.
    "knowlm": Decoding(beams=4, repetition_penalty=1.3),
    # OneKE's model card: GenerationConfig(max_new_tokens=512) and nothing else, which is greedy.
    "oneke": Decoding(max_tokens=512),
}
FORMAT = "knowlm-studio-presets"
_own = Shelf("presets.json")


def own() -> dict[str, Decoding]:
    """The person's own, by name; one that can't be read is left out."""
    found = {}
    for name, settings in sorted(_own.all().items()):
        try:
            found[name] = Decoding.model_validate(settings)
        except ValidationError:
            continue
    return found


def named(name: str) -> Decoding:
    """A person's own goes before a ready-made one of that name."""
    known = READY | own()
    if name not in known:
        raise UserError(
            "There is no preset “{name}”.",
            remedy="The presets are: {names}.",
            name=name[:80],
            names=", ".join(known),
        )
    return known[name]


def save(name: str, decoding: Decoding) -> str:
    return _own.put(name, decoding.model_dump())


def remove(name: str) -> None:
    _own.remove(name)


def as_json(presets: dict[str, Decoding]) -> str:
    """A file to send to somebody."""
    whole = {FORMAT: {name: decoding.model_dump() for name, decoding in presets.items()}}
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def bring(text: str) -> list[str]:
    """Keep the presets of such a file; returns their names. Another one of the same name is not replaced."""
    sent = _read(text)
    here = own()
    kept = []
    for name, decoding in sent.items():
        free, number = name, 2
        while free in here and here[free] != decoding:
            free, number = f"{name} ({number})", number + 1
        kept.append(save(free, decoding))
        here[free] = decoding
    return kept


def _read(text: str) -> dict[str, Decoding]:
    try:
        whole: Any = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    presets = whole.get(FORMAT) if isinstance(whole, dict) else None
    if not isinstance(presets, dict) or not presets:
        raise UserError(
            "This file holds no presets.", remedy="Choose one that was exported here, or by another person's app."
        )
    found = {}
    for name, settings in presets.items():
        try:
            found[str(name)] = Decoding.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                "The preset “{name}” can't be used: {setting}: {why}.",
                remedy="Correct the file, or ask for it again. Nothing was imported.",
                name=str(name)[:80],
                setting=".".join(map(str, first["loc"])) or "–",
                why=first["msg"],
            ) from error
    return found
