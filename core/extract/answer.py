"""What an answer says, before it is looked for in the text; every dialect reads into these and writes from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """One record as words: an entity, a relation's head and one part, or an event's trigger and its arguments.

    `parts`: (role, text) pairs; a relation's tail has the role "".
    """

    type: str
    text: str
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """`readable` False: the answer could not be understood, which is not "nothing found"."""

    found: tuple[Found, ...] = ()
    readable: bool = True
    repaired: int = 0
    """Deviations from the format that were put right."""
    dropped: int = 0
    """Records or arguments left out: unknown types or roles, wrong shape, cut off."""
