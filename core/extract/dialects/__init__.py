"""Dialects: how a model is asked and how it answers. One file each; a new file here is a new dialect.

A model's card names the dialect that it was made for; `auto` takes that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Protocol, cast

from core import registry
from core.errors import UserError
from core.extract.answer import Found, Reading
from core.extract.normal import Source
from core.extract.schema import Schema, Task
from core.inference.decoding import Decoding

AUTO, USUAL = "auto", "studio"


class Dialect(Protocol):
    """What each of these modules offers. A change of a prompt or of what `write` writes is a new VERSION."""

    VERSION: int
    STOP: tuple[str, ...]
    """Texts that end an answer where no grammar does."""
    WHOLE: bool
    """Whether its prompt is all that the model is sent, never put into a chat template."""
    BARS: bool
    """Whether `|` separates in answers, so that the text's own bars are shown as `¦`."""
    WORDED: bool
    """Whether its models were trained with the very words of its instructions."""
    VARIANTS: int
    """How many wordings of an instruction it has; `seed` chooses among them."""

    def parts(self, task: Task, schema: Schema, size: int) -> list[Schema]:
        """What to ask for in one call each; `size` types, 0: as many as the dialect's models are used to."""

    def prompt(
        self, task: Task, schema: Schema, text: str, *, examples: bool = False, instruction: str = "", seed: int = 0
    ) -> str:
        """The whole prompt for a text; `examples`: with the schema's own, for models not trained on this format.

        `instruction`: a person's own words in place of the dialect's. `{format}` in them becomes what answers look
        like (and in zhixi `{schema}` the types); where they lack it, the dialect's sentences on that follow them.
        """

    def grammar(self, task: Task, schema: Schema, source: Source) -> str:
        """A GBNF grammar of the answers whose spans are pieces of the text."""

    def outline(self, task: Task, schema: Schema) -> str:
        """A GBNF grammar that every text shares: it takes what `grammar` takes, and spans that no text holds."""

    def quotes(self, task: Task, found: Sequence[Found], source: Source) -> bool:
        """Whether `grammar` takes the answer that said this, which `outline` took."""

    def read(self, task: Task, schema: Schema, answer: str, *, cut: bool = False) -> Reading:
        """What an answer says. Never raises. `cut`: generation ended at its limit, so the last record isn't whole."""

    def write(self, task: Task, schema: Schema, found: Sequence[Found]) -> str:
        """The answer that says this."""

    def decoding(self, room: int, *, beams: bool) -> Decoding:
        """How answers of at most `room` tokens are chosen; `beams`: the engine can follow several."""


@cache
def _modules() -> dict[str, ModuleType]:
    return registry.plugins(__name__)


def names() -> tuple[str, ...]:
    return tuple(_modules())


def find(name: str) -> Dialect:
    """Raises UserError if there is no dialect of that name."""
    found = _modules().get(name)
    if found is None:
        raise UserError(
            "There is no dialect “{name}”.",
            remedy="Choose one of {known}; a model's own is named by `dialect` in its studio.json.",
            name=name,
            known=", ".join(names()),
        )
    return cast(Dialect, found)
