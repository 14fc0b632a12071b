"""How a row's fields become a document: `{title}: {content}`. `{title?}` may be missing, `{meta.title}` lies deeper."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import UserError

_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class MissingField(Exception):
    """A row has not the field of this name, or nothing that is text in it."""


@dataclass(frozen=True)
class Template:
    """`parts`: text as it is, and (path of a field, whether it may be missing)."""

    parts: tuple[str | tuple[tuple[str, ...], bool], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The rows' own fields that it reads."""
        return tuple(dict.fromkeys(part[0][0] for part in self.parts if not isinstance(part, str)))

    def fill(self, row: Mapping[str, Any]) -> str:
        """The document. Raises MissingField."""
        return "".join(part if isinstance(part, str) else _value(row, *part) for part in self.parts).strip()


def template(text: str) -> Template:
    """Raises UserError where braces don't pair, or no field is named."""
    parts: list[str | tuple[tuple[str, ...], bool]] = []
    end = 0
    text = text.replace("\\n", "\n")  # as it is typed on a line
    for found in _PARTS.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        name = found[1]
        if found[0] in ("{{", "}}"):
            parts.append(found[0][0])
        elif name is None or not name.strip().rstrip("?"):
            raise UserError(
                "The text “{text}” has a brace that belongs to no field.",
                remedy="Write fields as {{title}}, and a brace that is meant as such twice.",
                text=text,
            )
        else:
            bare = name.strip()
            parts.append((tuple(bare.removesuffix("?").split(".")), bare.endswith("?")))
    parts.append(text[end:])
    made = Template(tuple(part for part in parts if part))
    if not made.fields:
        raise UserError(
            "The text “{text}” names no field, so all documents would be the same.",
            remedy="Name the fields that hold the text, such as {{title}} and {{content}}.",
            text=text,
        )
    return made


def _value(row: Mapping[str, Any], path: tuple[str, ...], optional: bool) -> str:
    value: Any = row
    for place, name in enumerate(path):
        # a field may itself have a dot in its name
        whole = ".".join(path[place:])
        if isinstance(value, Mapping) and whole in value:
            value = value[whole]
            break
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = "\n".join(value)
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if optional and value is None:
        return ""
    raise MissingField(".".join(path))
