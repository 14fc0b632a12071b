"""What a prediction did with gold, piece by piece: right, or which of six errors.

    wrong_type      the same place under another type (an argument: under another role)
    wrong_boundary  the same type, and places that overlap (under `iepile`: words of which one holds the other)
    swapped         a relation whose head and tail have changed places
    unlocated       words that are not in the text, in gold or in the prediction; nothing can match them
    missing         in gold, and nothing predicted has to do with it
    spurious        predicted, and nothing in gold has to do with it

An error joins at most one piece of gold with one that is predicted, so the counts add up to the score's: gold is
right + wrong_type + wrong_boundary + swapped + missing + unlocated gold. Of two errors at once there is none: another
type at a place that merely overlaps is a missing and a spurious piece.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from core.extract.evaluate_pieces import Item, Piece, Place, Rules, Slot

Kind = Literal["right", "missing", "spurious", "wrong_type", "wrong_boundary", "swapped", "unlocated"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ERRORS: tuple[Kind, ...] = KINDS[1:]
Namer = Callable[[Piece], Hashable]


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of gold, one of the prediction, or the two that belong together."""

    kind: Kind
    gold: Piece | None
    pred: Piece | None

    @property
    def slot(self) -> Slot:
        return self._either.item.slot

    @property
    def type(self) -> str:
        """The type that it counts for: gold's where there is one."""
        return self._either.item.type

    @property
    def _either(self) -> Piece:
        found = self.gold or self.pred
        assert found is not None  # noqa: S101 one of the two always is
        return found


def findings(gold: Iterable[Piece], pred: Iterable[Piece], rules: Rules) -> list[Finding]:
    """Every piece of both in one finding; under `strict` what a side says twice is one piece."""
    wanted, said = _distinct(gold, rules), _distinct(pred, rules)
    made = [Finding("unlocated", piece, None) for piece in wanted if not piece.item.located]
    made += [Finding("unlocated", None, piece) for piece in said if not piece.item.located]
    left = _Left([p for p in wanted if p.item.located], [p for p in said if p.item.located])
    made += left.pairs("right", lambda piece: piece.item, lambda piece: piece.item)
    made += left.pairs("swapped", _reversed, lambda piece: (piece.item.slot, piece.item.type, piece.spans))
    made += left.pairs("wrong_type", _place, _place)
    made += left.overlapping()
    made += [Finding("missing", piece, None) for piece in left.gold]
    made += [Finding("spurious", None, piece) for piece in left.pred]
    return made


def _distinct(pieces: Iterable[Piece], rules: Rules) -> list[Piece]:
    """Under `strict` each item once, as sure as the surest time that it was said."""
    if rules == "iepile":
        return list(pieces)
    best: dict[Item, Piece] = {}
    for piece in pieces:
        known = best.setdefault(piece.item, piece)
        if (piece.confidence or 0.0) > (known.confidence or 0.0):
            best[piece.item] = piece
    return list(best.values())


def _reversed(piece: Piece) -> Hashable:
    """What its mirror image would be called; None for what has no head and tail, or is its own mirror."""
    if piece.item.slot != "relation" or piece.spans[0] == piece.spans[1]:
        return None
    return (piece.item.slot, piece.item.type, piece.spans[::-1])


def _place(piece: Piece) -> Hashable:
    return (piece.item.slot, piece.spans)


class _Left:
    """The pieces that no finding holds yet."""

    def __init__(self, gold: list[Piece], pred: list[Piece]) -> None:
        self.gold, self.pred = gold, pred

    def pairs(self, kind: Kind, name_gold: Namer, name_pred: Namer) -> list[Finding]:
        """Join those of one name, each once, in the rows' order."""
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for at, piece in enumerate(self.gold):
            if (name := name_gold(piece)) is not None:
                waiting[name].append(at)
        pairs = []
        for at, piece in enumerate(self.pred):
            places = waiting.get(name_pred(piece))
            if places:
                pairs.append((places.pop(0), at))
        return self._take(kind, pairs)

    def overlapping(self) -> list[Finding]:
        """Those of one type and label whose places all overlap; the closest ones first."""
        named: dict[Hashable, list[int]] = defaultdict(list)
        for at, piece in enumerate(self.gold):
            named[_name(piece)].append(at)
        close = []
        for at, piece in enumerate(self.pred):
            for other in named.get(_name(piece), ()):
                if shared := _shared(self.gold[other].spans, piece.spans):
                    close.append((-shared, other, at))
        pairs, taken_gold, taken_pred = [], set(), set()
        for _, one, other in sorted(close):
            if one not in taken_gold and other not in taken_pred:
                taken_gold.add(one)
                taken_pred.add(other)
                pairs.append((one, other))
        return self._take("wrong_boundary", pairs)

    def _take(self, kind: Kind, pairs: Sequence[tuple[int, int]]) -> list[Finding]:
        made = [Finding(kind, self.gold[one], self.pred[other]) for one, other in pairs]
        gone_gold, gone_pred = {one for one, _ in pairs}, {other for _, other in pairs}
        self.gold = [piece for at, piece in enumerate(self.gold) if at not in gone_gold]
        self.pred = [piece for at, piece in enumerate(self.pred) if at not in gone_pred]
        return made


def _name(piece: Piece) -> Hashable:
    return (piece.item.slot, piece.item.type, piece.label, len(piece.spans))


def _shared(gold: Sequence[Place], pred: Sequence[Place]) -> float:
    """How much of both is common, over all places; 0 where one pair of places has nothing in common."""
    least = 1.0
    for one, other in zip(gold, pred, strict=True):
        least = min(least, _overlap(one, other))
    return least


def _overlap(one: Place, other: Place) -> float:
    if isinstance(one, str) or isinstance(other, str):
        if not (isinstance(one, str) and isinstance(other, str)):
            return 0.0
        short, long = sorted((one, other), key=len)
        return len(short) / len(long) if short and short in long else 0.0
    common = min(one[1], other[1]) - max(one[0], other[0])
    return common / (max(one[1], other[1]) - min(one[0], other[0])) if common > 0 else 0.0
