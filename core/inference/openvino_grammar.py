"""Grammars for the openvino engine: followed token by token, and written the way its library reads them.

The library compiles a grammar within a step, while everything else waits. So a greedy answer is made freely
and only followed here: as long as each likeliest token is one that the grammar allows, it is the very answer
that the grammar would have given. What leaves the grammar is asked again, with the grammar.
"""

from __future__ import annotations

import re

from core.errors import UserError
from core.inference.grammar import Constraint

_PART = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*")
    |(?P<signs>\[(?:\\.|[^\]\\])*\])
    |(?P<times>\{[\d,\s]*\})
    |(?P<rule>[\w-]+)\s*::=
    |(?P<name>[\w-]+)
    |(?P<any>\.)
    |(?P<sign>[()|*+?])
    |(?P<space>\s+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_ANYTHING = r"[\u0001-\U0010ffff]"


class Follower(Constraint):
    """Follows an answer. Raises UserError where the grammar is broken."""

    def allows(self, token: int) -> bool:
        """Take the next token; False: the grammar would not have allowed it, and nothing was taken."""
        return self._matcher.try_consume_tokens([token]) == 1

    def may_end(self) -> bool:
        return bool(self._matcher.is_accepting())

    def must_end(self) -> bool:
        return bool(self._matcher.is_stopped())


def ebnf(grammar: str) -> str:
    """GBNF as xgrammar reads it: names that it can't take, raw line ends and the dot are written otherwise."""
    made: list[str] = []
    at = 0
    while at < len(grammar):
        part = _PART.match(grammar, at)
        if part is None:
            raise UserError(
                "The grammar can't be used: {why}",
                remedy="It must be GBNF with a rule named root, and without left recursion.",
                why=grammar[at : at + 40],
            )
        at = part.end()
        kind, found = part.lastgroup, part[part.lastgroup or 0]
        if kind == "rule":
            made.append(f"\n{_name(found)} ::=")
        elif kind == "text":
            made.append('"' + "".join(_plain(char) for char in _ESCAPE.sub(_meant, found[1:-1])) + '"')
        elif kind == "signs":
            made.append("".join(char if char >= " " else _plain(char) for char in found))
        elif kind not in ("comment", "space"):
            made.append({"name": _name(found), "any": _ANYTHING}.get(kind or "", found))
    return " ".join(made).strip() + "\n"


def _name(name: str) -> str:
    """`true` is a value there, and no name may begin with a digit."""
    return name if name == "root" else f"r_{name}"


def _meant(escape: re.Match[str]) -> str:
    body = escape[1]
    if body[0] in "xuU" and len(body) > 1:
        return chr(int(body[1:], 16))
    return _CONTROLS.get(body, body)


def _plain(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() or char == " " else f"\\U{ord(char):08x}"
