"""Answers being written by this process: a thread each, which pumps the host's stream into the store.

Whether an answer still runs is read off its last sign of life in the store, never off a stored status: so a
reload, a second tab and another process see it grow, and see when its process is gone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import UserError
from core.inference import chat_store, client
from core.inference.chat_prompt import Way
from core.inference.chat_tree import Facts
from core.inference.engine import Generation, Piece

SAVE_SECONDS = 0.4
QUIET_SECONDS = 3.0
"""How long the host may take to notice that the answer before is over."""


@dataclass
class _Running:
    key: tuple[Path, int]
    way: Way
    request: Generation
    text: str
    before: Facts
    """Of the part that it goes on from."""
    after: int | None
    """The answer that must be over first: this one unloads its model."""
    stop: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    first: float | None = None


_answers: dict[tuple[Path, int], _Running] = {}


def start(answer: int, way: Way, request: Generation, *, text: str = "", before: Facts, after: int | None) -> None:
    """Begin to write an answer that stands in the store already."""
    key = (chat_store.database(), answer)
    running = _answers[key] = _Running(key, way, request, text, before, after)
    threading.Thread(target=_answer, args=(running,), name=f"answer-{answer}", daemon=True).start()
    threading.Thread(target=_beat, args=(running,), name=f"beat-{answer}", daemon=True).start()


def text_of(answer: int) -> str | None:
    """An answer as far as it has come; None if this process doesn't write it."""
    running = _answers.get((chat_store.database(), answer))
    return None if running is None else running.text


def stop(answer: int) -> bool:
    """End an answer: the host stops computing. False if this process doesn't write it."""
    running = _answers.get((chat_store.database(), answer))
    if running is not None:
        running.stop.set()
    return running is not None


def wait(answer: int, timeout: float) -> None:
    running = _answers.get((chat_store.database(), answer))
    if running is not None:
        running.over.wait(timeout)


def _beat(running: _Running) -> None:
    """Write what came so far every moment, also while a model loads or the answer waits for its turn."""
    while not running.over.wait(SAVE_SECONDS):
        with contextlib.suppress(UserError):  # the last write tells
            if not chat_store.save(*running.key, running.text):
                running.stop.set()


def _answer(running: _Running) -> None:
    """Whatever happens is written down in the end."""
    way = running.way
    facts = Facts(model=way.model, decoding=way.decoding.model_dump(), adapter=way.adapter, form=way.form)
    finish = "error"
    began = time.monotonic()
    try:
        _wait_for_turn(running)
        connected = client.connect(way.model)
        facts = replace(facts, title=connected.model.title)
        began = time.monotonic()
        try:
            last = _pump(running, connected.pieces(running.request, running.stop), began)
        finally:
            connected.close()
        facts = replace(facts, prompt_tokens=last.prompt_tokens, tokens=last.tokens, seed=last.seed)
        finish = last.finish or "cancelled"
    except UserError as error:
        facts = replace(facts, error=error.to_dict())
    except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
        unexpected = UserError("The answer failed: {why}", remedy="Ask again.", why=f"{type(error).__name__}: {error}")
        facts = replace(facts, error=unexpected.to_dict())
    facts = _whole(replace(facts, seconds=time.monotonic() - began, first_token_seconds=running.first), running.before)
    try:
        chat_store.finish(*running.key, running.text, finish, facts)
    finally:
        running.over.set()
        _answers.pop(running.key, None)


def _wait_for_turn(running: _Running) -> None:
    earlier = _answers.get((running.key[0], running.after)) if running.after is not None else None
    if earlier is None:
        return
    while not earlier.over.wait(SAVE_SECONDS) and not running.stop.is_set():
        pass
    until = time.monotonic() + QUIET_SECONDS
    while client.status().busy and time.monotonic() < until:
        time.sleep(0.05)


def _pump(running: _Running, pieces: Iterator[Piece], began: float) -> Piece:
    last = Piece(finish="cancelled")
    for piece in pieces:
        if piece.text:
            running.text += piece.text
            if running.first is None:
                running.first = time.monotonic() - began
        last = piece
    return last


def _whole(part: Facts, before: Facts) -> Facts:
    """The facts of an answer with those of the part that it went on from: tokens and seconds of both."""
    waited = part.first_token_seconds or 0.0
    if not before.tokens:
        return replace(part, waited=waited)
    earlier = before.waited if before.waited is not None else before.first_token_seconds or 0.0
    return replace(
        part,
        tokens=before.tokens + part.tokens,
        seconds=before.seconds + part.seconds,
        first_token_seconds=before.first_token_seconds,
        waited=earlier + waited,
    )
