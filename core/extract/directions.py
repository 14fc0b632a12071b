"""Relations whose head and tail may have changed places: the types disagree with the schema, and swapped they fit.

Only a mark: which way is right is for a person to say. The types of head and tail are those of the document's
own entities with the same words; without any, nothing is marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from core.extract.schema import Schema, ends, label
from core.records import Extraction, Relation

Ends = tuple[frozenset[str], frozenset[str]]


def marked(extraction: Extraction, schema: Schema) -> Extraction:
    if not extraction.relations or not extraction.entities:
        return extraction
    known = _constraints(schema)
    types: dict[str, set[str]] = {}
    for entity in extraction.entities:
        types.setdefault(entity.text.casefold(), set()).add(label(entity.type).casefold())
    relations = tuple(
        replace(one, swapped=True) if not one.swapped and _is_swapped(one, types, known) else one
        for one in extraction.relations
    )
    return replace(extraction, relations=relations)


def _is_swapped(one: Relation, types: Mapping[str, set[str]], known: Mapping[str, Ends]) -> bool:
    head, tail = types.get(one.head.text.casefold()), types.get(one.tail.text.casefold())
    constraint = known.get(label(one.relation).casefold())
    if constraint is None or not head or not tail:
        return False
    heads, tails = constraint
    return not _fits(head, tail, heads, tails) and _fits(tail, head, heads, tails)


def _fits(head: set[str], tail: set[str], heads: frozenset[str], tails: frozenset[str]) -> bool:
    return bool((not heads or head & heads) and (not tails or tail & tails))


@lru_cache(maxsize=16)
def _of(told: tuple[tuple[str, str, str], ...]) -> dict[str, Ends]:
    made = {}
    for name, head, tail in told:
        heads, tails = (frozenset(label(one).casefold() for one in ends(side)) for side in (head, tail))
        if heads or tails:
            made[label(name).casefold()] = (heads, tails)
    return made


def _constraints(schema: Schema) -> dict[str, Ends]:
    return _of(tuple((one.name, one.head, one.tail) for one in schema.relations))
