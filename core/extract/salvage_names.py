"""What salvage's readers share: the schema's names as answers spell them, and the book of repairs."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import regex

from core.extract.normal import tidy
from core.extract.schema import EventType, Schema, Task, Type, ends, label

_NOTHING = frozenset(
    ("none", "no", "nothing", "n/a", "null", "nan", "[]", "{}", "()", "无", "没有", "none found", "没有找到", "空")
)
_SIGNS = regex.compile(r"[\s\[\]{}()（）［］｛｝,，:：;；\"'“”‘’`|｜.。…_-]*")
_AROUND = " \t\r\n.。!！`\"'“”‘’*"


@dataclass
class Book:
    """Repairs by kind, and the words of what was left out, in order."""

    repairs: Counter[str] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)

    def repair(self, kind: str, times: int = 1) -> None:
        if times:
            self.repairs[kind] += times

    def drop(self, words: str) -> None:
        self.dropped.append(words[:200])


class Names:
    """Finds the schema's types by the names an answer gives them: case, width, quotes and underscores don't matter."""

    def __init__(self, task: Task, schema: Schema) -> None:
        self.task = task
        self.types: tuple[Type, ...] = schema.types(task)
        self._types = _table((made.name, made) for made in self.types)
        self._roles = {
            made.name: _table((role.name, role.name) for role in made.roles)
            for made in self.types
            if isinstance(made, EventType)
        }
        heads = [made.head for made in schema.relations if made.is_attribute] if task == "re" else []
        self._owners = {fold(head) for name in heads for head in ends(name)}
        self.only_attributes = bool(heads) and len(heads) == len(schema.relations)

    def type(self, name: str) -> Type | None:
        return self._types.get(fold(name)) or self._types.get(_loose(name))

    def role(self, made: Type, name: str) -> str | None:
        table = self._roles.get(made.name, {})
        return table.get(fold(name)) or table.get(_loose(name))

    def roles(self, made: Type) -> list[str]:
        return [role.name for role in made.roles] if isinstance(made, EventType) else []

    def is_role(self, name: str) -> bool:
        """Whether any event has a role of that name."""
        return any(fold(name) in table or _loose(name) in table for table in self._roles.values())

    def is_owner(self, name: str) -> bool:
        """Whether it names an entity type that has attributes (relations with a head and no tail)."""
        return fold(name) in self._owners


def _table(pairs: Iterable[tuple[str, object]]) -> dict:
    """Exact spellings win over loose ones, earlier names over later."""
    made = list(pairs)
    table = {_loose(name): value for name, value in reversed(made)}
    return table | {fold(name): value for name, value in reversed(made)}


def fold(name: str) -> str:
    return label(unicodedata.normalize("NFKC", name[:500]).strip(_AROUND)).casefold()


def _loose(name: str) -> str:
    return fold(name).replace("_", " ")


def spelled(names: Iterable[str]) -> str:
    """A pattern for any of the names, the longest first, as written or as labels write them."""
    ways = {way for name in names for way in (name, label(name)) if way}
    return "|".join(regex.escape(way) for way in sorted(ways, key=len, reverse=True)) or r"(?!)"


def says_nothing(text: str) -> bool:
    return text.strip(_AROUND).casefold() in _NOTHING


def is_word(text: str) -> bool:
    """Whether it can be a span: something to read in it, and not a way of saying none."""
    return _SIGNS.fullmatch(text) is None and not says_nothing(text)


def span(text: str) -> str:
    return tidy(text)
