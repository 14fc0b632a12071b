"""One answer of the openvino engine: tokens to whole characters, up to a stop string, kept to a grammar."""

from __future__ import annotations

from queue import Empty
from typing import Any, Literal

from core.errors import UserError
from core.inference.decoding import Decoding
from core.inference.engine import Finish, Generation, Piece
from core.inference.openvino_link import Gone, Link
from core.inference.pump import Put, Stopped
from core.inference.text import Characters, StopAt

LOOK = 0.05
"""Seconds between two looks at whether to stop."""
Over = Literal["stop", "length", "cancelled", "left"]
"""How a request ended; `left`: its answer left the grammar that it is to be kept to."""


class Answer:
    def __init__(self, link: Link, tokenizer: Any, ends: frozenset[int], prompt: list[int], put: Put) -> None:
        self._link, self._tokenizer, self._ends, self._put = link, tokenizer, ends, put
        self._prompt = prompt
        self._characters = Characters(self._decode, prompt)
        self._made: list[int] = []

    def run(self, request: Generation, seed: int, room: int, follower: Any, stopped: Stopped) -> None:
        self._stop = StopAt(request.stop)
        asked: dict[str, Any] = {"ids": self._prompt, "settings": self._settings(request.decoding, seed, room)}
        if follower is not None and request.decoding.temperature > 0:
            over = self._hear(asked | {"grammar": _ebnf(request)}, None, stopped)
        else:
            over = self._hear(asked, follower, stopped)
            if over == "left":  # what was told so far is made once more, and not told again
                over = self._hear(asked | {"grammar": _ebnf(request)}, None, stopped, again=len(self._made))
        finish: Finish = "stop" if over == "left" else over
        text = "" if over == "cancelled" else self._stop.rest()
        self._put(Piece(text, finish, len(self._prompt), len(self._made), seed))

    def _hear(self, asked: dict[str, Any], follower: Any, stopped: Stopped, *, again: int = 0) -> Over:
        try:
            number, events = self._link.ask(**asked)
        except Gone as error:
            raise _died(str(error)) from error
        while True:
            if stopped():
                self._link.cancel(number)
                while events.get()[0] == "tokens":  # nothing computes on once this returns
                    pass
                return "cancelled"
            try:
                kind, told = events.get(timeout=LOOK)
            except Empty:
                continue
            if kind == "gone":
                raise _died(told)
            if kind == "ended":
                return self._ended(told)
            for token in told:
                if again:
                    self._must_repeat(token, again)
                    again -= 1
                    continue
                over = self._take(token, follower)
                if over is not None:
                    if token not in self._ends:  # else it has ended by itself
                        self._link.cancel(number)
                    return over

    def _take(self, token: int, follower: Any) -> Over | None:
        """Take a token; answers how it ends the request, if it does."""
        if token in self._ends:
            if follower is not None and not follower.may_end():
                return "left"
            self._made.append(token)
            return "stop"
        if follower is not None and not follower.allows(token):
            return "left"
        self._made.append(token)
        text = self._stop.put(self._characters.put(token))
        if text:
            self._put(Piece(text))
        return "stop" if self._stop.stopped or (follower is not None and follower.must_end()) else None

    def _must_repeat(self, token: int, again: int) -> None:
        """What the grammar allowed when it was followed, it must allow when it is kept."""
        if token != self._made[-again]:
            raise UserError(
                "The engine refused the request: {why}",
                remedy="Change the request and try again.",
                why="its two readings of the grammar differ",
            )

    def _ended(self, how: str) -> Over:
        """What an end from the pipeline's side means."""
        reason, _, why = how.partition(": ")
        if reason == "grammar":
            raise UserError(
                "The grammar can't be used: {why}",
                remedy="It must be GBNF with a rule named root, and without left recursion.",
                why=why,
            )
        if reason == "memory":
            raise UserError(
                "The cache of the model has no room for this answer.",
                remedy="Load the model with fewer answers at once or with a smaller context.",
            )
        if reason == "failed":
            raise UserError(
                "The engine refused the request: {why}", remedy="Change the request and try again.", why=why
            )
        return "cancelled" if reason == "cancelled" else "length"

    def _settings(self, decoding: Decoding, seed: int, room: int) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "max_new_tokens": min(decoding.max_tokens, room),
            "repetition_penalty": decoding.repetition_penalty,
            "stop_token_ids": sorted(self._ends),
        }
        if decoding.temperature > 0:
            settings |= {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
            settings |= {"rng_seed": seed} | ({"top_k": decoding.top_k} if decoding.top_k else {})
        return settings

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _died(why: str) -> UserError:
    return UserError(
        "The process that computes the answers is gone: {why}.",
        remedy="Try again: it starts by itself. If that repeats, memory may run out: "
        "load a smaller model, or ask for fewer answers at once.",
        why=why,
    )


def _ebnf(request: Generation) -> str:
    from core.inference.openvino_grammar import ebnf

    return ebnf(request.grammar or "")
