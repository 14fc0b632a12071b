"""Relations: a line a relation, pairs of spans."""

from __future__ import annotations

from collections.abc import Sequence

from core.extract import grammar as gbnf
from core.extract.answer import Found
from core.extract.grammar import Spans
from core.extract.ground import Finder, is_nothing, nearest_pair
from core.extract.schema import Schema
from core.records import Relation

PAIRS = 12  # a relation and chunk; greedy decoding of an untrained model would not end


def grammar(schema: Schema, spans: Spans) -> str:
    if not spans.possible:
        return gbnf.nothing()
    names = [made.name for made in schema.relations]
    pair = f"span {gbnf.literal(gbnf.PART)} span"
    rules = [
        f"pair ::= {pair}",
        f"pairs ::= pair ({gbnf.literal(gbnf.SEPARATOR)} pair){{0,{PAIRS - 1}}}",
        *spans.free(),
    ]
    return gbnf.lines(names, ["pairs"] * len(names), rules)


def ground(found: Sequence[Found], finder: Finder) -> list[Relation]:
    """Head and tail at the two places closest to each other. Said twice is one record, a mention with itself none."""
    made: dict[Relation, None] = {}
    for one in found:
        tail = one.parts[0][1]
        heads, tails = finder.places(one.text), finder.places(tail)
        if (not heads and is_nothing(one.text)) or (not tails and is_nothing(tail)):
            continue
        head_at, tail_at = nearest_pair(heads, tails)
        if head_at and head_at == tail_at:
            continue  # a mention is in no relation to itself
        made[Relation(finder.span(one.text, head_at), one.type, finder.span(tail, tail_at))] = None
    return list(made)


def words(records: Sequence[Relation]) -> list[Found]:
    """What an answer would say: for training data and tests."""
    return [Found(one.relation, one.head.text, (("", one.tail.text),)) for one in records]
