"""Where a model's weights go: one device, or spread over several within limits. Pure: what is free is passed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.errors import UserError
from core.inference.engine import Fact
from core.resources import Card, size

SHARE = 0.9
"""Of what a GPU has free, for weights; the rest is for the context and the computation."""
FRACTION = {8: 0.6, 4: 0.4}
"""What weights of 16 bits shrink to: the layers' matrices do, embeddings and head stay as they are."""
_UNITS = {"": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_LIMIT = re.compile(r"(cpu|\d{1,3})\s*[=:]\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b)?", re.IGNORECASE)
Place = int | Literal["cpu"]


@dataclass(frozen=True)
class Placement:
    """`device`: cpu, cuda:N, or auto: then spread within `limits` (bytes a device, as accelerate takes them)."""

    device: str
    fact: Fact
    limits: dict[Place, int] = field(default_factory=dict)


def read_limits(text: str) -> dict[Place, int]:
    """`0=20GB, 1=10GB, cpu=30GB` as bytes a device; a number is the GPU's, as torch counts them. Raises UserError."""
    limits: dict[Place, int] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,;]", text))):
        found = _LIMIT.fullmatch(part)
        if found is None or not float(found[2]):
            raise UserError(
                "“{part}” is no limit of a device.",
                remedy="Write it as 0=20GB,1=10GB,cpu=30GB: the GPU's number or cpu, and how much of its memory.",
                part=part,
            )
        place: Place = "cpu" if found[1].lower() == "cpu" else int(found[1])
        limits[place] = int(float(found[2]) * _UNITS[(found[3] or "").lower()])
    return limits


def shrunk(weights: int, bits: int, *, wide: bool) -> int:
    """Bytes of weights once held in `bits`; `wide`: they lie on disk in 32 bits each."""
    return int(weights / (2 if wide else 1) * FRACTION[bits]) if bits else weights


def place(need: int, cards: Sequence[Card], ram: int, *, device: str = "", memory: str = "") -> Placement:
    """Where weights that take `need` bytes go, given the GPUs as torch counts them and the free RAM.

    One device where they fit on one: spreading costs time. Raises UserError where they fit nowhere.
    On the CPU alone the caller looks whether they fit: the machine's own message is better. `ram` 0: no part may
    stand in RAM beside a GPU.
    """
    limits = read_limits(memory)
    named = _named(device, cards)
    if limits:
        return _within(need, cards, ram, limits, device)
    if device == "cpu":
        why = "It runs on the processor, as was asked."
        return Placement("cpu", Fact(why))
    if not cards:
        why = "It runs on the processor: torch finds no GPU here."
        return Placement("auto" if device == "auto" else "cpu", Fact(why), {"cpu": ram} if device == "auto" else {})
    if named is not None:
        return _on(named, need, cards, asked=True)
    best = max(range(len(cards)), key=lambda number: cards[number].free)
    if device == "cuda" or (device != "auto" and need <= _usable(cards[best])):
        return _on(best, need, cards, asked=device == "cuda")
    return _spread(need, cards, ram)


def _named(device: str, cards: Sequence[Card]) -> int | None:
    """The GPU's number that a device names; None where it names none. Raises UserError for what is no device."""
    found = re.fullmatch(r"(?:cuda:)?(\d{1,3})", device)
    if not found and device not in ("", "cpu", "cuda", "auto"):
        raise UserError(
            "There is no device “{device}”.",
            remedy="Choose cpu, cuda, cuda:0 (and so on), or auto to spread the model over all.",
            device=device,
        )
    if (found and int(found[1]) >= len(cards)) or (device == "cuda" and not cards):
        raise UserError(
            "There is no device “{device}” here: torch finds {count} GPUs.",
            remedy="Choose one of them, or the device cpu.",
            device=device,
            count=len(cards),
        )
    return int(found[1]) if found else None


def _on(number: int, need: int, cards: Sequence[Card], *, asked: bool) -> Placement:
    card = cards[number]
    if need > _usable(card):
        raise _too_large(need, {number: _usable(card)})
    values = {"device": f"cuda:{number}", "card": card.name, "needed": size(need), "free": size(card.free)}
    why = "It runs on {device} ({card}), as was asked: its weights take {needed} of the {free} free there."
    if not asked:
        why = "It runs on {device} ({card}): its weights take {needed} of the {free} free there."
    return Placement(f"cuda:{number}", Fact(why, values))


def _spread(need: int, cards: Sequence[Card], ram: int) -> Placement:
    limits: dict[Place, int] = {number: _usable(card) for number, card in enumerate(cards)}
    values = {"needed": size(need), "devices": told(limits)}
    if need <= sum(limits.values()):
        why = "It is spread over {devices}: its weights take {needed}."
        return Placement("auto", Fact(why, values), limits)
    if ram:
        limits["cpu"] = int(ram * SHARE)
    if need > sum(limits.values()):
        raise _too_large(need, limits)
    why = "It is spread over {devices}, which is slow: its weights take {needed}, more than the GPUs have free."
    return Placement("auto", Fact(why, {**values, "devices": told(limits)}), limits)


def _within(need: int, cards: Sequence[Card], ram: int, asked: dict[Place, int], device: str) -> Placement:
    """Within a person's limits, none of them above what is free."""
    for number in asked:
        if number != "cpu":
            _named(f"cuda:{number}", cards)
    if device == "cpu":
        asked = {place: limit for place, limit in asked.items() if place == "cpu"}
    free: dict[Place, int] = {"cpu": ram, **{number: card.free for number, card in enumerate(cards)}}
    limits = {place: min(limit, free[place]) for place, limit in asked.items() if free[place]}
    if need > sum(limits.values()):
        raise _too_large(need, limits)
    why = "It is spread over {devices} within the limits that were set: its weights take {needed}."
    return Placement("auto", Fact(why, {"devices": told(limits), "needed": size(need)}), limits)


def _usable(card: Card) -> int:
    return int(card.free * SHARE)


def told(limits: dict[Place, int]) -> str:
    """cuda:0 (20 GB), cpu (30 GB)"""
    return ", ".join(f"{_title(place)} ({size(limit)})" for place, limit in limits.items())


def _title(place: Place) -> str:
    return "cpu" if place == "cpu" else f"cuda:{place}"


def _too_large(need: int, limits: dict[Place, int]) -> UserError:
    return UserError(
        "The weights need {needed}; there is room for {free}: {devices}.",
        remedy="Load it in 8 or 4 bits, allow more devices or memory, or choose a smaller model.",
        needed=size(need),
        free=size(sum(limits.values())),
        devices=told(limits) or "–",
    )
