"""When a call is asked again at once, and how: after what went wrong, so often, with a pause that doubles.

A server's passing errors (busy, unreachable) are tried again by the client itself; this is for what comes after that,
and for answers that can't be read or don't end. These are drawn anew: the likeliest answer would be the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from core.errors import UserError
from core.extract import calls
from core.extract.calls import Asked, Call, Options
from core.extract.passes import Pass
from core.inference.client import HostGone, PromptTooLong
from core.records import Extraction

Wrong = Literal["server", "unreadable", "cut"]
TEMPERATURE = 0.5
LONGEST = 60.0
"""Seconds of a pause, at most."""


@dataclass(frozen=True)
class Retry:
    """`times` again after one of `on`: an error of the server, an answer nobody can read, one that was cut off."""

    times: int = 0
    on: tuple[Wrong, ...] = ("server", "unreadable")
    pause: float = 1.0
    """Seconds before the first retry of a server; each further one waits twice as long."""


def ask(client: Asked, call: Call, options: Options, retry: Retry, stopped: Callable[[], bool]) -> Extraction:
    """The call's answer, or the best of several. Raises what the client raised last."""
    answers: list[Extraction] = []
    for attempt in range(retry.times + 1):
        last = attempt == retry.times or stopped()
        try:
            answers.append(calls.ask(client, _drawn(call, attempt) if answers else call, options))
        except (HostGone, PromptTooLong):
            raise
        except UserError:
            if answers:  # not the first: what was said before is better than nothing
                break
            if last or "server" not in retry.on:
                raise
            time.sleep(min(LONGEST, retry.pause * 2**attempt))
            continue
        if last or not _wrong(answers[-1], retry):
            break
    return _best(answers)


def _drawn(call: Call, attempt: int) -> Call:
    turn = Pass(1000 * (call.part.turn.number + 1) + attempt, max(TEMPERATURE, call.part.turn.temperature))
    return replace(call, part=replace(call.part, turn=turn))


def _wrong(answer: Extraction, retry: Retry) -> bool:
    told = answer.provenance
    return bool(("unreadable" in retry.on and told.get("unreadable")) or ("cut" in retry.on and told.get("cut")))


def _best(answers: list[Extraction]) -> Extraction:
    """The first that can be read and wasn't cut, else the first that can be read; all of their cost."""
    if len(answers) == 1:
        return answers[0]
    best = min(answers, key=lambda one: (one.provenance.get("unreadable", 0), one.provenance.get("cut", 0)))
    spent = {
        name: sum(one.provenance.get(name, 0) for one in answers) for name in ("prompt_tokens", "tokens", "seconds")
    }
    return replace(best, provenance=best.provenance | spent)
