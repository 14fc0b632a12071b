"""The work behind the shared page: chat and extraction by the one loaded model, in turn, for whoever was let in."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from core.errors import UserError
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Piece
from core.serve import extraction
from core.serve.desk import Desk
from core.serve.limits import Visit
from core.serve.share import ShareRequest
from core.serve.upstream import Asking, Stopped, Upstream
from ui.sharing.visitors import Visitor, Visits

T = TypeVar("T")
CHARACTERS_PER_TOKEN = 3


@dataclass(frozen=True)
class Waiting:
    """A sign of life: how many are before this one; 0 once it is being answered."""

    before: int


@dataclass
class Room:
    upstream: Upstream
    wanted: ShareRequest
    log: Callable[[str], None]
    requests: int = 0
    tokens: int = 0
    visits: Visits = field(init=False)
    desk: Desk = field(init=False)
    _line: list[object] = field(default_factory=list)
    """Who waits for a place, in order."""

    def __post_init__(self) -> None:
        self.visits = Visits(self.wanted.per_minute, self.wanted.per_visitor)
        self.desk = Desk(max(1, self.upstream.connected().parallel))

    async def chat(
        self, visitor: Visitor, messages: list[dict[str, str]], *, temperature: float, max_tokens: int
    ) -> AsyncGenerator[Waiting | Piece]:
        """The answer's pieces. Closing it stops the computation. Raises UserError."""
        self._short_enough(sum(len(message["content"]) for message in messages))
        try:
            decoding = Decoding(temperature=temperature, max_tokens=min(max_tokens, self.wanted.max_tokens))
        except ValidationError as error:
            raise UserError(
                "The setting {name} can't be {value}.",
                remedy="Choose a value within its range.",
                name=error.errors()[0]["loc"][0],
                value=error.errors()[0]["input"],
            ) from error
        generation = Generation(decoding, None, tuple(messages))
        last, count = Piece(), 0
        async with self._visit(visitor, "chat") as account:
            account.expects(decoding.max_tokens)
            items = self._in_turn(lambda stop: self.upstream.pieces(generation, stop))
            async with aclosing(items):
                async for item in items:
                    if isinstance(item, Piece):
                        last, count = item, count + bool(item.text)
                        account.used = last.prompt_tokens + last.tokens or count
                    yield item

    async def extract(self, visitor: Visitor, body: dict[str, Any]) -> AsyncGenerator[Waiting | dict[str, Any]]:
        """The answer of `POST /v1/extract`, last. Closing it stops the computation. Raises UserError."""
        asked = extraction.read(body)
        self._short_enough(len(asked.text))
        asking: list[Asking] = []

        def work(stop: threading.Event) -> Iterator[dict[str, Any]]:
            asking.append(Asking(self.upstream, stop))
            with contextlib.suppress(Stopped):
                yield extraction.made(asking[0], asked, self.upstream.name)

        async with self._visit(visitor, "extract") as account:
            account.expects(len(asked.text) // CHARACTERS_PER_TOKEN)
            items = self._in_turn(work)
            try:
                async with aclosing(items):
                    async for item in items:
                        yield item
            finally:
                account.used = sum(each.used for each in asking)

    @contextlib.asynccontextmanager
    async def _visit(self, visitor: Visitor, what: str) -> AsyncIterator[Account]:
        with self.visits.visit(visitor) as visit:
            account = Account(visit)
            try:
                yield account
            finally:
                self.requests += 1
                self.tokens += account.used
                self.log(f"{visitor.shown}: {what}, {account.used} tokens")
                await asyncio.shield(asyncio.to_thread(visit.settle, account.used))

    async def _in_turn(self, work: Callable[[threading.Event], Iterator[T]]) -> AsyncGenerator[Waiting | T]:
        if len(self._line) >= self.wanted.queue:
            raise UserError("Too many requests wait already.", remedy="Ask again in a while.")
        ticket, began = object(), threading.Event()

        def noted(stop: threading.Event) -> Iterator[T]:
            began.set()
            yield from work(stop)

        self._line.append(ticket)
        items = self.desk.follow(noted, asyncio.Event().wait)  # who goes closes this generator
        try:
            async with aclosing(items):
                async for item in items:
                    if began.is_set() and ticket in self._line:
                        self._line.remove(ticket)
                    yield item if item is not None else Waiting(self._before(ticket))
        finally:
            if ticket in self._line:
                self._line.remove(ticket)

    def _before(self, ticket: object) -> int:
        return self._line.index(ticket) + 1 if ticket in self._line else 0

    def _short_enough(self, characters: int) -> None:
        if characters > self.wanted.characters:
            raise UserError(
                "This is too long: {count} characters, of at most {limit}.",
                remedy="Shorten it, or start a new conversation.",
                count=characters,
                limit=self.wanted.characters,
            )


@dataclass
class Account:
    visit: Visit
    used: int = 0

    def expects(self, most: int) -> None:
        self.visit.expects(most)
