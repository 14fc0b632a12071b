"""A small recogniser for the GBNF that we write, so that tests can ask a grammar whether it takes an answer."""

from __future__ import annotations

import re
from functools import cache

_TOKEN = re.compile(
    r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z][A-Za-z0-9-]*)|([()|?*+])|(\{\d+,\d+\})|(\[(?:[^\]\\]|\\.)+\]))'
)
_TIMES = {"?": (0, 1), "*": (0, 200), "+": (1, 200)}
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


class Grammar:
    def __init__(self, text: str) -> None:
        self.rules = {}
        for line in text.splitlines():
            name, _, body = line.partition(" ::= ")
            assert name not in self.rules, f"{name} is defined twice"
            self.rules[name] = _alternatives(_tokens(body))
        missing = {word for rule in self.rules.values() for word in _names(rule)} - set(self.rules)
        assert not missing, f"rules that are not defined: {missing}"

    def takes(self, answer: str) -> bool:
        @cache
        def ends(node: tuple, start: int) -> frozenset[int]:
            kind, value, *more = node
            if kind == "text":
                return frozenset([start + len(value)] if answer.startswith(value, start) else [])
            if kind == "sign":
                return frozenset([start + 1] if re.match(value, answer[start : start + 1]) else [])
            if kind == "rule":
                return ends(self.rules[value], start)
            if kind == "or":
                return frozenset(end for one in value for end in ends(one, start))
            reached = frozenset([start])
            if kind == "and":
                for one in value:
                    reached = frozenset(end for at in reached for end in ends(one, at))
                return reached
            found = set(reached) if more[0] == 0 else set()
            for count in range(1, more[1] + 1):
                reached = frozenset(end for at in reached for end in ends(value, at))
                found |= reached if count >= more[0] else set()
            return frozenset(found)

        return len(answer) in ends(("rule", "root"), 0)


def _tokens(body: str) -> list[str]:
    found, position = [], 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        assert match, f"not GBNF: {body[position : position + 40]!r}"
        found.append(match.group().strip() if not match.group(1) else match.group(1))
        position = match.end()
    return found[::-1]


def _alternatives(tokens: list[str]) -> tuple:
    choices = [_sequence(tokens)]
    while tokens and tokens[-1] == "|":
        tokens.pop()
        choices.append(_sequence(tokens))
    return ("or", tuple(choices))


def _sequence(tokens: list[str]) -> tuple:
    made = []
    while tokens and tokens[-1] not in "|)":
        token = tokens.pop()
        if token == "(":
            node = _alternatives(tokens)
            assert tokens.pop() == ")"
        elif token[0] == '"':
            node = ("text", re.sub(r"\\(.)", lambda match: _ESCAPES[match[1]], token[1:-1]))
        elif token[0] == "[":
            node = ("sign", token)
        else:
            node = ("rule", token)
        if tokens and tokens[-1] in _TIMES:
            node = ("times", node, *_TIMES[tokens.pop()])
        elif tokens and tokens[-1][0] == "{":
            low, high = tokens.pop()[1:-1].split(",")
            node = ("times", node, int(low), int(high))
        made.append(node)
    return ("and", tuple(made))


def _names(node: tuple) -> set[str]:
    kind, value, *_ = node
    if kind in ("or", "and"):
        return {name for one in value for name in _names(one)}
    return {value} if kind == "rule" else set() if kind == "sign" else _names(value) if kind == "times" else set()
