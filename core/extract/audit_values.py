"""What an audit is made of: a sample, its sentences, and what a person said of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.extract.audit_sample import Method, inside
from core.extract.audit_score import Judged
from core.extract.evaluate_pieces import Piece, pieces
from core.extract.schema import Task
from core.records import Extraction


@dataclass(frozen=True)
class SampleInfo:
    sample: int
    made_at: float
    who: str
    seed: int
    method: Method
    tasks: tuple[Task, ...]
    population: dict[str, int]
    rows: int
    """Of the run when it was drawn; `records` likewise."""
    records: int
    origin: str
    size: int
    judged: int


@dataclass(frozen=True)
class Judgement:
    """Keys (`key_of`) of the pieces that are wrong, all others being right, and an extraction of what is missing."""

    wrong: tuple[str, ...] = ()
    added: Extraction | None = None
    who: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Item:
    """A sentence to be judged. `document` is the row as it was when the sample was drawn."""

    nr: int
    text_key: str
    start: int
    end: int
    stratum: str
    document: Extraction
    judgement: Judgement | None

    @property
    def sentence(self) -> str:
        return self.document.text[self.start : self.end]

    def pieces(self, tasks: Iterable[Task]) -> list[Piece]:
        return inside(self.document, self.start, self.end, tasks)

    def judged(self, tasks: Sequence[Task]) -> Judged | None:
        """What it says, in pieces; None while it is open."""
        if self.judgement is None:
            return None
        said, wrong = self.pieces(tasks), set(self.judgement.wrong)
        right = {piece.item for piece in said if piece.item.located and key_of(piece) not in wrong}
        missing = {piece.item for piece in added_pieces(self.judgement, tasks)} - right
        return Judged(self.stratum, len(right) + len(missing), len(said), len(right))


def key_of(piece: Piece) -> str:
    """Names a piece by what it says, so that the same one of another run has the same name."""
    return json.dumps([piece.item.slot, piece.item.type, piece.item.key], ensure_ascii=False)


def added_pieces(judgement: Judgement, tasks: Iterable[Task]) -> list[Piece]:
    if judgement.added is None:
        return []
    return [piece for task in tasks for piece in pieces(judgement.added, task, "strict")]
