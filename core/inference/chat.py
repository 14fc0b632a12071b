"""Conversations that outlive a page: asked, edited, answered again, gone on with; nothing that was said is lost."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from core import models
from core.errors import UserError
from core.inference import chat_answer, chat_search, chat_store
from core.inference.chat_prompt import Way, check_fits, generation
from core.inference.chat_store import conversations
from core.inference.chat_tree import Conversation, Facts, File, Message, newest_below, path
from core.inference.wire import clean

__all__ = ["Conversation", "Facts", "File", "Message", "Way", "conversations"]

TITLE_LENGTH = 60


def create(system: str = "") -> Conversation:
    made = Conversation(uuid.uuid4().hex[:12], "", clean(system), time.time())
    with chat_store.opened() as store:
        store.execute(
            "INSERT INTO conversations (id, title, system, changed) VALUES (?, ?, ?, ?)",
            (made.id, made.title, made.system, made.changed),
        )
    return made


def read(conversation: str) -> Conversation | None:
    """One with its messages, a running answer as far as it has come; None if it is gone."""
    with chat_store.opened() as store:
        return _read_in(store, conversation)


def message(number: int) -> Message | None:
    """One message as it is now; None if it is gone."""
    found = chat_store.read_message(number)
    return None if found is None else _as_far(found)


def changed(conversation: str) -> float:
    """When something was last said in it, or another branch chosen; 0 where it is gone."""
    with chat_store.opened() as store:
        row = store.execute("SELECT changed FROM conversations WHERE id = ?", (conversation,)).fetchone()
        return float(row[0]) if row is not None else 0.0


def ask(
    conversation: str,
    text: str,
    way: Way,
    *,
    also: Way | None = None,
    input_text: str = "",
    files: Sequence[File] = (),
) -> int:
    """Add a person's words and start the answer, or two side by side; returns the (first) answer's id.

    Raises UserError if an answer runs already, and PromptTooLong if the files are known not to fit; then
    nothing was added.
    """
    kept = _kept(conversation)
    asked = _asked(text, input_text, files, kept.leaf)
    if asked.files:
        _check(kept, asked, way)
    with chat_store.opened(writing=True) as store:
        found = _free(store, conversation)
        question = chat_store.add(store, conversation, replace(asked, parent=found.leaf))
        title = " ".join((asked.text or ", ".join(file.name for file in asked.files)).split())[:TITLE_LENGTH]
        store.execute("UPDATE conversations SET title = ? WHERE id = ? AND title = ''", (title, conversation))
        answers = _places(store, conversation, question, also)
    return _start(conversation, answers, way, also)


def edit(
    conversation: str, question: int, text: str, way: Way, *, also: Way | None = None, input_text: str = ""
) -> int:
    """Say something else in place of a message, with its files, and start the answer: a branch beside the old one."""
    kept = _kept(conversation)
    old = kept.find(question)
    if old is None or old.role != "user":
        raise UserError("This message is no longer there.", remedy="Reload the page.")
    asked = _asked(text, input_text, old.files, old.parent)
    if asked.files:
        _check(kept, asked, way)
    with chat_store.opened(writing=True) as store:
        _free(store, conversation)
        answers = _places(store, conversation, chat_store.add(store, conversation, asked), also)
    return _start(conversation, answers, way, also)


def again(conversation: str, way: Way, *, also: Way | None = None) -> int:
    """Give another answer in place of the last; the one before is kept as a version."""
    with chat_store.opened(writing=True) as store:
        said = _free(store, conversation).messages
        if not said:
            raise UserError("There is nothing to answer yet.", remedy="Ask something first.")
        last = said[-1]
        question = last.id if last.role == "user" else last.parent
        answers = _places(store, conversation, question, also)
    return _start(conversation, answers, way, also)


def go_on(conversation: str, way: Way) -> int:
    """Go on with the last answer, which was cut or stopped, where it ends."""
    with chat_store.opened(writing=True) as store:
        said = _free(store, conversation).messages
        if not said or said[-1].role != "assistant":
            raise UserError("There is no answer to go on with.", remedy="Ask something first.")
        answer = said[-1].id
        store.execute("UPDATE messages SET finish = '', beat = ? WHERE id = ?", (time.time(), answer))
        store.execute("UPDATE conversations SET changed = ? WHERE id = ?", (time.time(), conversation))
    return _start(conversation, [answer], way, None)


def choose(conversation: str, number: int) -> None:
    """Show the branch through this message, down to the newest message under it."""
    with chat_store.opened(writing=True) as store:
        kept = chat_store.read_in(store, conversation)
        if kept is not None and kept.find(number) is not None:
            chat_store.show(store, conversation, newest_below(kept.tree, number))


def stop(answer: int) -> None:
    """End an answer: the host stops computing, what came so far stays."""
    if not chat_answer.stop(answer):
        with chat_store.opened() as store:  # another process writes it, and looks here at its next sign of life
            store.execute("UPDATE messages SET finish = 'cancelled' WHERE id = ? AND finish = ''", (answer,))


def rename(conversation: str, title: str) -> None:
    with chat_store.opened() as store:
        shorter = " ".join(clean(title).split())[:TITLE_LENGTH]
        store.execute("UPDATE conversations SET title = ? WHERE id = ?", (shorter, conversation))


def set_system(conversation: str, system: str) -> None:
    with chat_store.opened() as store:
        store.execute("UPDATE conversations SET system = ? WHERE id = ?", (clean(system), conversation))


def delete(conversation: str) -> None:
    """Forget a conversation; answers that run are stopped."""
    kept = read(conversation)
    for running in kept.tree if kept is not None else ():
        if running.running:
            stop(running.id)
    with chat_store.opened() as store:
        chat_search.forget(store, conversation)
        store.execute("DELETE FROM conversations WHERE id = ?", (conversation,))


def wait(answer: int, timeout: float = 60) -> None:
    """Return when an answer of this process is over."""
    chat_answer.wait(answer, timeout)


def both_at_once(way: Way, also: Way) -> bool:
    """Whether two answers are written at the same time: a host serves one model, a remote one needs none."""
    first, second = models.resolve(way.model), models.resolve(also.model)
    return first.ref == second.ref or "remote" in (first.format, second.format)


def _asked(text: str, input_text: str, files: Sequence[File], parent: int | None) -> Message:
    cleaned = tuple(File(clean(file.name), clean(file.text)) for file in files)
    return Message(0, "user", clean(text), parent=parent, input=clean(input_text), files=cleaned)


def _check(kept: Conversation, asked: Message, way: Way) -> None:
    branch = (*path(kept.tree, asked.parent), asked, Message(0, "assistant", ""))
    check_fits(generation(kept.system, branch, way), way.model, [file.name for file in asked.files])


def _kept(conversation: str) -> Conversation:
    kept = read(conversation)
    if kept is None:
        raise UserError("This conversation was deleted.", remedy="Start a new one.")
    return kept


def _free(store: sqlite3.Connection, conversation: str) -> Conversation:
    """The conversation, if no answer is being written in it."""
    kept = _read_in(store, conversation)
    if kept is None:
        raise UserError("This conversation was deleted.", remedy="Start a new one.")
    if kept.running is not None:
        raise UserError("An answer is still being written.", remedy="Wait for its end, or stop it.")
    return kept


def _places(store: sqlite3.Connection, conversation: str, question: int | None, also: Way | None) -> list[int]:
    """Empty answers to a question, for one way of asking or two."""
    answers = [
        chat_store.add(store, conversation, Message(0, "assistant", "", parent=question))
        for _ in range(1 if also is None else 2)
    ]
    if also is not None:
        for one, other in (answers, reversed(answers)):
            store.execute("UPDATE messages SET beside = ? WHERE id = ?", (other, one))
        chat_store.show(store, conversation, answers[0])
    return answers


def _start(conversation: str, answers: list[int], way: Way, also: Way | None) -> int:
    kept = _kept(conversation)
    for place, (answer, how) in enumerate(zip(answers, filter(None, (way, also)), strict=True)):
        branch = path(kept.tree, answer)
        earlier = answers[0] if place and not both_at_once(way, how) else None
        request = generation(kept.system, branch, how)
        chat_answer.start(answer, how, request, text=branch[-1].text, before=branch[-1].facts, after=earlier)
    return answers[0]


def _read_in(store: sqlite3.Connection, conversation: str) -> Conversation | None:
    kept = chat_store.read_in(store, conversation)
    return None if kept is None else replace(kept, tree=tuple(map(_as_far, kept.tree)))


def _as_far(found: Message) -> Message:
    """A running answer with what has come since it was last written down; it is not lost while it runs here."""
    text = chat_answer.text_of(found.id) if found.finish in ("", "lost") else None
    return found if text is None else replace(found, text=text, finish="")
