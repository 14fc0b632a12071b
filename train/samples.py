"""Talks as token ids with the tokens to learn marked, kept in flat files so that memory holds none of them.

A store is a folder: `ids.bin` (int32), `learned.bin` (bool), `ends.npy` (int64: where each sample ends),
`where.txt` (a line a sample: file and line). It is read as memory maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.inference import prompting
from train.talks import Message, Refused, Talk

Ids = list[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """`learned[i]`: token i is one that the model is to produce. Never all False."""

    where: str
    ids: Ids
    learned: list[bool]


def encode(tokenizer: Any, talk: Talk, form: prompting.Form, *, limit: int, learn_prompt: bool = False) -> Sample:
    """Tokens of a talk, as the model would be asked, cut at `limit` tokens. Raises UserError: no token to learn.

    An answer longer than what the limit leaves is refused, not cut: it would teach to stop in the middle,
    or to go on without end.
    """
    ids: Ids = []
    learned: list[bool] = []
    for asked, answer in _exchanges(tokenizer, talk, form):
        ids += asked
        learned += [learn_prompt] * len(asked)
        ids += answer
        learned += [True] * len(answer)
    if len(ids) > limit:
        raise UserError(
            "{where}: {tokens} tokens are more than the limit of {limit}, and the answer would be cut off.",
            remedy="Raise the maximum length, or split the row.",
            where=talk.where,
            tokens=len(ids),
            limit=limit,
        )
    return Sample(talk.where, ids, learned)


def _exchanges(tokenizer: Any, talk: Talk, form: prompting.Form) -> Iterator[tuple[Ids, Ids]]:
    """For each answer: the tokens that stand before it since the last one, and its own."""
    if form == "alpaca" and talk.instruction:
        prompt = prompting.alpaca(talk.instruction, talk.input)
        yield prompting.prompt_ids(tokenizer, prompt), prompting.answer_ids(tokenizer, talk.messages[-1].content)
    elif form == "raw" or form == "alpaca":
        yield from _bare(tokenizer, talk)
    else:
        yield from _templated(tokenizer, [{"role": one.role, "content": one.content} for one in talk.messages], talk)


def _bare(tokenizer: Any, talk: Talk) -> Iterator[tuple[Ids, Ids]]:
    """One prompt, one answer, with nothing between; several turns have no bare form."""
    if len(talk.messages) != 2:
        raise UserError(
            "{where}: a conversation of several turns can't be asked as a bare prompt.",
            remedy="Choose the prompt form “chat”.",
            where=talk.where,
        )
    asked, answer = talk.messages
    yield prompting.prompt_ids(tokenizer, asked.content), prompting.answer_ids(tokenizer, answer.content)


def _templated(tokenizer: Any, messages: list[dict[str, str]], talk: Talk) -> Iterator[tuple[Ids, Ids]]:
    """Each answer with all before it as inference would ask for it: the template is rendered up to there."""
    if tokenizer.chat_template is None:
        yield from _without_template(tokenizer, talk.messages, talk.where)
        return
    done = ""
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = prompting.chat_text(tokenizer, messages[:at])
        whole = before + message["content"]
        if not before.startswith(done):
            raise UserError(
                "{where}: the model's chat template changes earlier turns, so they can't be learned in one go.",
                remedy="Split the conversation: one row for each answer.",
                where=talk.where,
            )
        asked = tokenizer(before[len(done) :], add_special_tokens=False)["input_ids"]
        yield list(asked), prompting.answer_ids(tokenizer, message["content"])
        done = whole + tokenizer.eos_token


def _without_template(tokenizer: Any, messages: tuple[Message, ...], where: str) -> Iterator[tuple[Ids, Ids]]:
    if [one.role for one in messages if one.role != "system"] != ["user", "assistant"]:
        raise UserError(
            "{where}: this model has no chat template, so it can't be asked with several turns.",
            remedy="Choose a model with a chat template, or split the conversation.",
            where=where,
        )
    asked = [{"role": one.role, "content": one.content} for one in messages[:-1]]
    yield prompting.chat_ids(tokenizer, asked), prompting.answer_ids(tokenizer, messages[-1].content)


@dataclass(frozen=True)
class Store:
    """Samples on disk: sample i is `ids[ends[i - 1]:ends[i]]`."""

    ids: np.ndarray
    learned: np.ndarray
    ends: np.ndarray
    where: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ends)

    def span(self, number: int) -> slice:
        return slice(int(self.ends[number - 1]) if number else 0, int(self.ends[number]))

    def tokens(self, number: int) -> np.ndarray:
        return self.ids[self.span(number)]

    def mask(self, number: int) -> np.ndarray:
        return self.learned[self.span(number)]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.ends, prepend=0)


def write(samples: Iterable[Sample], folder: Path) -> Store:
    """Samples into a new folder, streamed. Raises UserError if there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    ends: list[int] = []
    total = 0
    with (
        (folder / "ids.bin").open("wb") as ids,
        (folder / "learned.bin").open("wb") as learned,
        (folder / "where.txt").open("w", encoding="utf-8") as where,
    ):
        for sample in samples:
            ids.write(np.asarray(sample.ids, np.int32).tobytes())
            learned.write(np.asarray(sample.learned, np.bool_).tobytes())
            where.write(sample.where.replace("\n", " ") + "\n")
            total += len(sample.ids)
            ends.append(total)
    if not ends:
        raise UserError(
            "No row is left to train on.", remedy="The log names the rows that were refused, each with its reason."
        )
    np.save(folder / "ends.npy", np.asarray(ends, np.int64))
    return opened(folder)


def opened(folder: Path) -> Store:
    return Store(
        np.memmap(folder / "ids.bin", np.int32, "r"),
        np.memmap(folder / "learned.bin", np.bool_, "r"),
        np.load(folder / "ends.npy"),
        tuple((folder / "where.txt").read_text(encoding="utf-8").splitlines()),
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
            yield encode(tokenizer, talk, own, limit=limit, learn_prompt=learn_prompt)
        except UserError as error:
            refused.append(Refused(talk.where, error))
