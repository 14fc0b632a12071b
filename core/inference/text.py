"""Streams of text: whole characters only, and an end at a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"
LONGEST_CHARACTER = 8
"""Tokens that one character may take; after that the bytes are not a character and are dropped."""


class Characters:
    """Token ids to text, holding back what may be the beginning of a character.

    `decode` turns ids into text. Each step decodes only a few tokens, with the ones before as context,
    since some tokenizers write a word's space depending on what stands before it.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int]) -> None:
        self._decode = decode
        self._ids = list(before[-4:])
        self._context = 0
        self._read = len(self._ids)

    def put(self, token: int) -> str:
        self._ids.append(token)
        known = self._decode(self._ids[self._context : self._read])
        text = self._decode(self._ids[self._context :])
        if text.endswith(BROKEN) and len(self._ids) - self._read < LONGEST_CHARACTER:
            return ""
        self._context, self._read = self._read, len(self._ids)
        return text[len(known) :].replace(BROKEN, "")


class StopAt:
    """Lets text through up to the first stop string, holding back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def put(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            return self._held[: min(found)]
        keep = self._possible_start()
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out

    def rest(self) -> str:
        """What is still held back once nothing more comes."""
        out, self._held = ("" if self.stopped else self._held), ""
        return out

    def _possible_start(self) -> int:
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
