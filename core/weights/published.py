"""The sum of all elements that a difference's authors published for the recovered model, and how ours compares.

KnowLM's own recover adds every tensor in fp32 and those sums in fp32 again, and over a state_dict, in
which its transformers (4.28.1) still had the rotary frequencies of every layer. Ours is an fp64 sum of
the weights alone. So what fp32 may have rounded away is granted, and the frequencies may be in it or
not. The check tells another model, and the fp16 difference (whose sum lies 6 away); a single wrong bit
it does not tell: the files' hashes do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.models import read_card
from core.weights import catalog
from core.weights.catalog import Entry

ROUNDING = 2.0
"""About 400 sums of tensors, added up in fp32 to about 94,000, where an addition rounds by up to 0.004."""


@dataclass(frozen=True)
class Compared:
    repository: str
    ours: float
    """With or without the rotary frequencies, whichever lies nearer."""
    published: float

    @property
    def agrees(self) -> bool:
        return abs(self.ours - self.published) <= ROUNDING


def compare(repository: str, element_sum: float) -> Compared | None:
    """None where no sum is published for what this repository recovers to."""
    for entry in catalog.of_repository(repository) if repository else []:
        if entry.published_sum is not None:
            goal = entry.published_sum
            ours = min(element_sum, element_sum + rotary_sum(entry), key=lambda total: abs(total - goal))
            return Compared(repository, ours, goal)
    return None


def repository_of(folder: Path) -> str:
    """Where a folder came from: as its card says (`Hugging Face: owner/name@revision`), else by the folder's name."""
    source = read_card(folder).source.rsplit(": ", 1)[-1].split("@", 1)[0].strip()
    if source:
        return source
    hubs = [entry.sources.get("hub", "") for entry in catalog.entries() if entry.published_sum is not None]
    return next((hub for hub in hubs if hub.rsplit("/", 1)[-1] == folder.resolve().name.lower()), "")


def rotary_sum(entry: Entry) -> float:
    """Sum of the rotary frequencies of all layers, as LLaMA 1 has them."""
    pairs = range(0, entry.head_size, 2)
    return entry.layers * sum(10_000.0 ** (-pair / entry.head_size) for pair in pairs)
