"""Names of answers: a hash of all that leads to one, so that it is found again and nothing else is taken for it.

A part's name covers its prompt to the letter, whatever that is made of: it is rendered for two probes, one a
language, since prompts may follow the text's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

from core.extract import calls
from core.extract.calls import Call, Options, Part
from core.extract.normal import normalise
from core.models import Model

PROBES = ("A probe of 7 words, nothing else.", "这是一个探针，只有几个字。")
_OF_CALLS = ("part", "source", "document")


def weights_of(model: Model) -> str:
    """Tells one model's weights from another's under the same name, without reading them."""
    known = model.card.files.get(model.path.name) if model.path else None
    return known or f"{model.size} bytes"


def part_name(part: Part, model: Model, options: Options) -> bytes:
    """Of all that is the same for every text: the prompt, the types, how answers are chosen, the model, its weights."""
    told = {
        **calls.settings_of(model, options),
        "task": part.task,
        "prompts": [calls.prompt(Call(part, normalise(probe), probe), model) for probe in PROBES],
        "types": [one.name for one in part.schema.types(part.task)],
        "pass": [part.turn.number, part.turn.temperature],
        "model": model.ref,
        "weights": weights_of(model),
    }
    del told["types-per-call"]  # the types are named themselves
    return _digest(json.dumps(told, sort_keys=True).encode())


def call_name(part: bytes, text: str, call: Call) -> bytes:
    """`text`: `calls.key` of the whole document, whose offsets the records have."""
    rest = [repr(getattr(call, one.name)) for one in fields(call) if one.name not in _OF_CALLS]
    told = (text, str(call.source.offsets[0]), str(call.source.offsets[-1]), call.source.text, *rest)
    return _digest(part, *(one.encode("utf-8", "surrogatepass") for one in told))


def _digest(*parts: bytes) -> bytes:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(len(part).to_bytes(8, "little") + part)
    return made.digest()
