"""How fast engines were with a model on this machine, as `models bench` measured it: what the host's choice goes by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from core import resources
from core.errors import UserError
from core.inference.shelf import Shelf
from core.models import Model

Purpose = Literal["chat", "batch"]
"""What a model is loaded for: one answer at a time and soon, or many of them."""
_SHELF = Shelf("speeds.json")


@dataclass(frozen=True)
class Speed:
    tokens_per_second: float
    """Of one answer alone."""
    rows_per_second: float
    """Of texts extracted from, as many at once as the engine answers."""

    def of(self, purpose: Purpose) -> float:
        return self.rows_per_second if purpose == "batch" else self.tokens_per_second


def keep(model: Model, engine: str, speed: Speed) -> None:
    _SHELF.put(_name(model, engine), asdict(speed))


def known(model: Model, engine: str) -> Speed | None:
    """None where it wasn't measured with these weights on so many processors, or where the file can't be read."""
    try:
        told = _SHELF.all().get(_name(model, engine))
        return Speed(**told) if told else None
    except (UserError, TypeError):
        return None


def _name(model: Model, engine: str) -> str:
    """Short enough to be kept whole: weights of the same size in the same format run at the same speed."""
    return f"{engine} {model.format} {model.size} bytes {resources.cores()} cores"
