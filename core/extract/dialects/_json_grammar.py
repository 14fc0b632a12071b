"""GBNF for the oneke dialect: JSON with the schema's keys in its order, whose strings are pieces of the text."""

from __future__ import annotations

import json
from dataclasses import replace

from core.extract import grammar as gbnf
from core.extract.grammar import Piece, literal
from core.extract.normal import Source
from core.extract.schema import Schema
from core.extract.tasks.ee import EVENTS, SAME_ROLE
from core.extract.tasks.re import PAIRS

_SUBJECT, _OBJECT, _END = literal('{"subject": '), literal(', "object": '), literal("}")
_TRIGGER, _ARGUMENTS, _ABSENT = literal('{"trigger": '), literal(', "arguments": {'), literal('"NAN"')
OWNERS = 12
"""Entities of a type that have attributes, a chunk."""


ANYTHING = gbnf.Anything(r'([^"\\\n] | "\\" [^\n])')


def verbatim(source: Source) -> gbnf.Verbatim:
    return gbnf.Verbatim(*escaped(source, gbnf.pieces(source)))


def grammar(kind: str, schema: Schema, spans: gbnf.Spans, owners: dict[str, list[str]]) -> str:
    can = spans.possible
    if kind == "NER":
        listed = spans.rising(separator='", "') if can else []
        body = '("\\"" spans "\\"")?' if can else ""
        return _object([one.name for one in schema.entities], [_listed(body)] * len(schema.entities), listed)
    rules = ['text ::= "\\"" span "\\""', *spans.free()] if can else []
    if kind == "KG":
        bodies = [_braced(f"({_some(f'o{number}', OWNERS)})?" if can else "") for number in range(len(owners))]
        entities = (
            [rule for number, names in enumerate(owners.values()) for rule in _owner(number, names)] if can else []
        )
        return _object(list(owners), bodies, [*_values(can), *entities, *rules])
    if kind == "EE":
        bodies = [_listed(f"({_some(f'e{number}', EVENTS)})?" if can else "") for number in range(len(schema.events))]
        events = [_event(number, [role.name for role in one.roles]) for number, one in enumerate(schema.events)]
        return _object([one.name for one in schema.events], bodies, [*_values(can), *(events if can else []), *rules])
    names = [one.name for one in schema.relations]
    pair = f"pair ::= {_SUBJECT} text {_OBJECT} text {_END}"
    body = _listed(f"({_some('pair', PAIRS)})?" if can else "")
    return _object(names, [body] * len(names), [pair, *rules] if can else [])


def escaped(source: Source, made: list[Piece]) -> tuple[Source, list[Piece]]:
    """Text and pieces as they stand inside a JSON string: quotes and backslashes take two signs."""
    signs = [json.dumps(char, ensure_ascii=False)[1:-1] for char in source.text]
    if not any(len(sign) > 1 for sign in signs):
        return source, made
    at = [0]
    for sign in signs:
        at.append(at[-1] + len(sign))
    moved = [replace(piece, start=at[piece.start], end=at[piece.end]) for piece in made]
    return Source("".join(signs), (), frozenset(at[place] for place in source.breaks)), moved


def _object(names: list[str], bodies: list[str], rules: list[str]) -> str:
    """Every key once, in order, whether or not anything was found for it."""
    parts = []
    for number, (name, body) in enumerate(zip(names, bodies, strict=True)):
        parts += [literal((", " if number else "{") + _key(name)), body]
    return "\n".join([f"root ::= {' '.join(parts)} {literal('}')}", *rules]) + "\n"


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) + ": "


def _listed(body: str) -> str:
    return f"{literal('[')} {body} {literal(']')}"


def _braced(body: str) -> str:
    return f"{literal('{')} {body} {literal('}')}"


def _some(rule: str, most: int) -> str:
    return f"{rule} ({literal(', ')} {rule}){{0,{most - 1}}}"


def _values(can: bool) -> list[str]:
    """One text, or a list of several."""
    many = f"{literal('[')} text ({literal(', ')} text){{1,{SAME_ROLE - 1}}} {literal(']')}"
    return [f"value ::= text | {many}"] if can else []


def _event(number: int, roles: list[str]) -> str:
    """With all roles, or with none at all."""
    parts = [f"{literal((', ' if at else '') + _key(role))} (value | {_ABSENT})" for at, role in enumerate(roles)]
    arguments = f"({' '.join(parts)})?" if parts else ""
    return f"e{number} ::= {_TRIGGER} text {_ARGUMENTS} {arguments} {literal('}}')}"


def _owner(number: int, names: list[str]) -> list[str]:
    """An entity with one attribute at least; absent ones are left out."""
    made = [f"o{number} ::= text {literal(': {')} a{number}x0 {literal('}')}"]
    for at, name in enumerate(names):
        rest = f"a{number}x{at + 1}" if at + 1 < len(names) else None
        more = f" ({literal(', ')} {rest})? | {rest}" if rest else ""
        made.append(f"a{number}x{at} ::= {literal(_key(name))} value{more}")
    return made
