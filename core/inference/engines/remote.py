"""Any OpenAI-compatible server, or several of the same model: our own host, vLLM, llama.cpp's server, a hosted one.

The app's clients use it for all of these, so there is one way to ask. What a foreign server can do
beyond OpenAI's fields is probed once and claimed only where it is known.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from core import models, settings
from core.errors import UserError
from core.inference import wire
from core.inference.engine import Capabilities, Generation, Loaded, Options, Piece, refuse_impossible
from core.inference.remote_pool import Pool, Turn, limits
from core.inference.remote_replies import KEY_VARIABLE, Lost, reason
from core.inference.remote_server import LOOPBACK, Server
from core.models import Model

__all__ = ["Engine", "reason"]

TRIES = 5
SILENCE_SECONDS = 300.0
"""A server that sends nothing for this long is given up."""


class Engine:
    title: str = "This server"
    why: ClassVar[str] = "The model runs on another server; this machine only asks it."
    preference: ClassVar[int] = 30
    batch_preference: ClassVar[int] = 30
    can: Capabilities = Capabilities(formats=("remote",), devices=("elsewhere",))

    def __init__(self, *, silence: float | None = SILENCE_SECONDS, tries: int = TRIES) -> None:
        self._silence = silence
        self._tries = tries
        self._pool = Pool(())

    def load(self, model: Model, options: Options) -> Loaded:
        """Find out what the model's servers are. Those that don't answer now are tried again later."""
        addresses = models.addresses(model.url)
        if settings.read().offline:
            for url in addresses:
                _refuse_beyond(url)
        asked = settings.endpoint(model.ref)
        allowed = limits(model.ref, asked.at_once, asked.per_second) if asked else limits(model.ref, 0, 0)
        self._pool = Pool([self._server(url) for url in addresses], model.model_id, allowed)
        self._pool.look()
        found = [server.found for server in self._pool.servers if server.looked]
        self.can = Capabilities(
            self.can.formats,
            self.can.devices,
            grammar=all(one.grammar for one in found),
            compiles=any(one.compiles for one in found),
            beams=all(one.beams for one in found),
            seed=all(server.dialect.seeds for server in self._pool.servers if server.looked),
        )
        places = sum(server.found.parallel for server in self._pool.servers)
        if allowed.at_once:
            places = min(places, allowed.at_once)
        context = min((one.context for one in found if one.context), default=0)
        return Loaded(context, options.parallel or places, "elsewhere")

    def open(self, url: str, key: str, dialect: str = "", name: str = "") -> None:
        """Point at one server without asking it anything."""
        server = Server(url, key, local=_is_here(url), silence=self._silence)
        server.known(dialect, name, grammar=self.can.grammar, beams=self.can.beams)
        self._pool = Pool([server], name)

    def generate(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        refuse_impossible(self.title, self.can, request)
        request = self._seeded(request)
        turn = Turn(self._pool, self._tries, request, stop)
        while (server := turn.begin()) is not None:
            said = False
            try:
                for piece in server.pieces(request, stop):
                    said = said or bool(piece.text)
                    yield piece
                turn.answered(server)
                return
            except Lost as lost:
                turn.lost(server, lost, said=said)
            finally:
                turn.end(server)
        yield Piece(finish="cancelled")

    def answer(self, request: Generation) -> dict[str, Any]:
        """The whole answer at once, as the server wrote it: cheaper than a stream where nobody watches."""
        refuse_impossible(self.title, self.can, request)
        request = self._seeded(request)
        turn = Turn(self._pool, self._tries, request, threading.Event())
        while (server := turn.begin()) is not None:
            try:
                answer = server.answer(request)
                turn.answered(server)
                return answer
            except Lost as lost:
                turn.lost(server, lost)
            finally:
                turn.end(server)
        raise RuntimeError("nobody stops a whole answer")

    def count(self, text: str) -> int:
        try:
            return self._pool.servers[0].count(text)
        except Lost as lost:
            raise lost.error from lost.error.__cause__

    def unload(self) -> None:
        for server in self._pool.servers:
            server.close()

    def _server(self, url: str) -> Server:
        key = settings.api_key(url) or os.environ.get(KEY_VARIABLE, "")
        return Server(url, key, local=_is_here(url), silence=self._silence)

    def _seeded(self, request: Generation) -> Generation:
        """With a seed that can be told, where the servers use one and nobody gave it. Our own host chooses itself."""
        chosen = request.decoding.seed is not None or not request.decoding.temperature
        if chosen or any(one.found.kind == wire.SERVER or not one.dialect.seeds for one in self._pool.servers):
            return request
        return replace(request, decoding=request.decoding.model_copy(update={"seed": secrets.randbelow(2**31)}))


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def _refuse_beyond(url: str) -> None:
    if not _is_here(url):
        raise UserError(
            "{url} is not on this machine, and the app is set to work offline.",
            remedy="Switch “offline” off in Settings, or choose a model of this machine.",
            url=url,
        )
