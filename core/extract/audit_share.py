"""One sample judged for several runs on the same texts: what is known of a sentence helps to judge it for the next run.

Then the runs can be compared in pairs: sentence by sentence, which tells small differences that two samples could not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract.audit import FILE, Audit
from core.extract.audit_score import Judged, compared
from core.extract.audit_values import Item, Judgement, SampleInfo, key_of
from core.extract.evaluate_pieces import Piece, pieces
from core.extract.schema import Task
from core.extract.score import Comparison
from core.records import Extraction


def suggested(info: SampleInfo, item: Item) -> Judgement | None:
    """What the judgement of the same sentence of the run it was shared by says about this run's records; None: nothing.

    What was judged right there is right here, what was judged wrong is wrong; what is only here is left for the
    person to judge, and counts as right until then.
    """
    if not info.origin or not (Path(info.origin) / FILE).is_file():
        return None
    theirs = Audit(info.origin).same(item)
    if theirs is None or theirs.judgement is None:
        return None
    wrong = set(theirs.judgement.wrong)
    right = [piece for piece in theirs.pieces(info.tasks) if key_of(piece) not in wrong]
    here = {key_of(piece) for piece in item.pieces(info.tasks)}
    truth = _kept(theirs.document, right, theirs.judgement.added)
    return Judgement(tuple(sorted(here & wrong)), _without(truth, here, info.tasks))


def compare(before: str | Path, after: str | Path) -> Comparison:
    """Is the second run better? By the sentences that were judged for both. Raises UserError where there are none."""
    one, other = Audit(before), Audit(after)
    first, second = one.newest(), other.newest()
    pairs = list(_pairs(one, first, other, second))
    if not pairs:
        raise UserError(
            "{before} and {after} have no judged sentence in common.",
            remedy="Share the sample of one with the other (--same-as), and judge it for both.",
            before=Path(before).name,
            after=Path(after).name,
        )
    return compared(pairs, first.population)


def _pairs(one: Audit, first: SampleInfo, other: Audit, second: SampleInfo) -> Iterable[tuple[Judged, Judged]]:
    theirs = {(item.text_key, item.start, item.end): item for item in other.items(second.sample)}
    for item in one.items(first.sample):
        match = theirs.get((item.text_key, item.start, item.end))
        left, right = item.judged(first.tasks), match.judged(first.tasks) if match else None
        if left is not None and right is not None:
            yield left, right


def _kept(document: Extraction, right: Iterable[Piece], added: Extraction | None) -> Extraction:
    """The records of which all is right, with those that were added."""
    records = {piece.record for piece in right}
    more = added or Extraction(document.id, document.text)
    return replace(
        more,
        entities=(*_of(document.entities, "entity", records), *more.entities),
        relations=(*_of(document.relations, "relation", records), *more.relations),
        events=(*_of(document.events, "event", records), *more.events),
    )


def _of(records: Sequence[Any], kind: str, wanted: set[str]) -> list[Any]:
    return [one for number, one in enumerate(records) if f"{kind}:{number}" in wanted]


def _without(truth: Extraction, here: set[str], tasks: Iterable[Task]) -> Extraction:
    """The records of which some piece isn't here."""
    lacking = {piece.record for task in tasks for piece in pieces(truth, task, "strict") if key_of(piece) not in here}
    return replace(
        truth,
        entities=tuple(_of(truth.entities, "entity", lacking)),
        relations=tuple(_of(truth.relations, "relation", lacking)),
        events=tuple(_of(truth.events, "event", lacking)),
    )
