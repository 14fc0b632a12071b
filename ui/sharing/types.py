"""One's own types as lines, for the shared page: `name: description`, with ends or roles in brackets."""

from __future__ import annotations

import re
from typing import Any

from core.errors import UserError
from core.extract.schema import Task

_LINE = re.compile(r"\s*(?P<name>[^(（:：]+?)\s*(?:[(（](?P<inside>[^)）]*)[)）])?\s*(?:[:：]\s*(?P<more>.*?))?\s*")
_ENDS = re.compile(r"->|→|➜")
_FIELDS = {"ner": "entities", "re": "relations", "ee": "events"}


def schema_of(lines: str, task: Task) -> dict[str, Any]:
    """A schema as JSON holds it, all lines being types of that task. Raises UserError.

    person: a human being · works for (person → organisation) · attack (attacker, target): …
    """
    return {_FIELDS[task]: [_type(line, task) for line in lines.splitlines() if line.strip()]}


def _type(line: str, task: Task) -> dict[str, Any]:
    read = _LINE.fullmatch(line)
    if read is None:
        raise UserError(
            "“{line}” is no type.",
            remedy="Write one a line: name: description. Ends or roles stand in brackets after the name.",
            line=line[:200],
        )
    made: dict[str, Any] = {"name": read["name"], "description": read["more"] or ""}
    inside = read["inside"] or ""
    if task == "re" and inside:
        head, *tail = (end.strip() for end in _ENDS.split(inside, maxsplit=1))
        made |= {"head": head, "tail": tail[0] if tail else ""}
    elif task == "ee" and inside:
        made["roles"] = [role.strip() for role in re.split("[,，、]", inside) if role.strip()]
    return made
