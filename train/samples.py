"""Talks as token ids with the tokens to learn marked, kept in flat files so that memory holds none of them.

A store is a folder: `ids.bin` (int32), `learned.bin` (bool), `ends.npy` (int64: where each sample ends),
`where.txt` (a line a sample: file and line). It is read as memory maps.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.inference import prompting
from train.talks import Refused, Talk

Ids = list[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """`learned[i]`: token i is one that the model is to produce. Never all False."""

    where: str
    ids: Ids
    learned: list[bool]
    sentence: str = ""


def encode(
    tokenizer: Any, talk: Talk, form: prompting.Form, *, limit: int, learn_prompt: bool = False
) -> Iterator[Sample]:
    """Tokens of a talk, as the model would be asked. Raises UserError: no token to learn within `limit`.

    A talk of several turns is one sample as long as each prompt goes on from the one before, to the token;
    where a chat template changes earlier turns, or a turn is cut into other tokens beside its neighbours, a
    new sample begins. Turns that no longer fit are left out; an answer that is longer than what the limit leaves
    is not cut: it would teach to stop in the middle, or to go on without end.
    """
    ids: Ids = []
    learned: list[bool] = []
    for prompt, answer in _exchanges(tokenizer, talk, form):
        if len(prompt) + len(answer) > limit:
            if ids:
                break
            raise UserError(
                "{where}: {tokens} tokens are more than the limit of {limit}, and the answer would be cut off.",
                remedy="Raise the maximum length, or split the row.",
                where=talk.where,
                tokens=len(prompt) + len(answer),
                limit=limit,
            )
        if prompt[: len(ids)] != ids:
            yield Sample(talk.where, ids, learned, talk.sentence)
            ids, learned = [], []
        learned += [learn_prompt] * (len(prompt) - len(ids)) + [True] * len(answer)
        ids = prompt + answer
    yield Sample(talk.where, ids, learned, talk.sentence)


def _exchanges(tokenizer: Any, talk: Talk, form: prompting.Form) -> Iterator[tuple[Ids, Ids]]:
    """For each answer: the whole prompt that inference would make for it, and its own tokens."""
    if form == "chat":
        yield from _chat(tokenizer, talk)
        return
    if [one.role for one in talk.messages] != ["user", "assistant"]:
        raise UserError(
            "{where}: a conversation of several turns can't be asked as a bare prompt.",
            remedy="Choose the prompt form “chat”.",
            where=talk.where,
        )
    asked, answer = (one.content for one in talk.messages)
    if form == "alpaca":
        asked = prompting.alpaca(talk.instruction or asked, talk.input)
    yield prompting.prompt_ids(tokenizer, asked), _answer(tokenizer, talk, answer)


def _chat(tokenizer: Any, talk: Talk) -> Iterator[tuple[Ids, Ids]]:
    messages = [{"role": one.role, "content": one.content} for one in talk.messages]
    for at, message in enumerate(messages):
        if message["role"] != "assistant" or not message["content"].strip() or at == 0:
            continue  # an empty turn, or one that nobody asked for, is read but not learned
        if messages[at - 1]["role"] == "assistant":
            raise UserError(
                "{where}: an answer follows an answer.", remedy="Join the two, or take the row out.", where=talk.where
            )
        try:
            prompt = prompting.chat_ids(tokenizer, messages[:at])
        except Exception as error:  # templates are programs: they raise what they like
            raise UserError(
                "{where}: the model's chat template refuses these messages: {why}",
                remedy="Use the roles system, user and assistant in turn, or choose the prompt form “raw”.",
                where=talk.where,
                why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            ) from error
        yield prompt, _answer(tokenizer, talk, message["content"])


def _answer(tokenizer: Any, talk: Talk, answer: str) -> Ids:
    if tokenizer.eos_token_id is None:
        raise UserError(
            "{where}: the model's tokenizer has no token for the end, so no answer can be learned to end.",
            remedy="Set eos_token in the base's tokenizer_config.json.",
            where=talk.where,
        )
    return prompting.answer_ids(tokenizer, answer)


@dataclass(frozen=True)
class Store:
    """Samples on disk: sample i is `ids[ends[i - 1]:ends[i]]`."""

    ids: np.ndarray
    learned: np.ndarray
    ends: np.ndarray
    places: Path

    def __len__(self) -> int:
        return len(self.ends)

    def span(self, number: int) -> slice:
        return slice(int(self.ends[number - 1]) if number else 0, int(self.ends[number]))

    def tokens(self, number: int) -> np.ndarray:
        return self.ids[self.span(number)]

    def mask(self, number: int) -> np.ndarray:
        return self.learned[self.span(number)]

    def where(self) -> list[str]:
        """File and line of every sample."""
        return self.places.read_text(encoding="utf-8").splitlines()

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.ends, prepend=0)


class Writer:
    """Takes samples into a new folder, one by one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ends = array("q")
        self._total = 0
        self._ids = (folder / "ids.bin").open("wb")
        self._learned = (folder / "learned.bin").open("wb")
        self._where = (folder / "where.txt").open("w", encoding="utf-8")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._ids, self._learned, self._where):
            file.close()
        np.save(self._folder / "ends.npy", np.frombuffer(self._ends, np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, sample: Sample) -> None:
        self._ids.write(np.asarray(sample.ids, np.int32).tobytes())
        self._learned.write(np.asarray(sample.learned, np.bool_).tobytes())
        self._where.write(sample.where.replace("\n", " ") + "\n")
        self._total += len(sample.ids)
        self._ends.append(self._total)


def write(samples: Iterable[Sample], folder: Path) -> Store:
    with Writer(folder) as writer:
        for sample in samples:
            writer.add(sample)
    return opened(folder)


def opened(folder: Path) -> Store:
    return Store(
        np.memmap(folder / "ids.bin", np.int32, "r"),
        np.memmap(folder / "learned.bin", np.bool_, "r"),
        np.load(folder / "ends.npy"),
        folder / "where.txt",
    )


def encoded(
    tokenizer: Any,
    talks: Iterable[Talk | Refused],
    form: prompting.Form,
    *,
    limit: int,
    learn_prompt: bool = False,
    refused: list[Refused],
) -> Iterator[Sample]:
    """Samples of the talks that can be learned; the others are put into `refused` with their reasons."""
    for talk in talks:
        if isinstance(talk, Refused):
            refused.append(talk)
            continue
        try:
            own: prompting.Form = "raw" if talk.bare else form
            yield from encode(tokenizer, talk, own, limit=limit, learn_prompt=learn_prompt)
        except UserError as error:
            refused.append(Refused(talk.where, error))
