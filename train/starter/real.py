"""The published data that the starter adapter learns from, and which of their rows are kept out of training.

`data` is a folder laid out as `ner/crossner/DOMAIN.{train,dev}.bio`, `ner/wnut17/{train,dev}.bio`,
`re/fewrel_wiki.jsonl`, `re/semeval2010_task8.jsonl` (CrossNER: Liu et al. 2021; WNUT-17; FewRel; SemEval-2010 task 8).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOMAINS = ("ai", "literature", "music", "politics", "science")
UNSEEN = ("follows", "located in or next to body of water")
"""FewRel's relation types kept out of training whole, drawn by lot before anything was trained."""
KEPT_DEV = 0.3
"""The last share of each CrossNER dev file is kept out: neighbours come from the same article."""
KEPT_ROWS = 8
"""Every so manyth relation row (by hash) is kept out."""

Mention = tuple[str, int, int]  # type, start, end


@dataclass(frozen=True, slots=True)
class Sentence:
    """`entities` with codepoint offsets; `relations` as (type, head, tail) words."""

    text: str
    entities: tuple[Mention, ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()


def crossner(data: Path, domain: str, *, kept_out: bool, rng: random.Random | None = None) -> list[Sentence]:
    """A domain's sentences: its train file and the first part of dev, or (`kept_out`) the last part of dev.

    With `rng`, about half of the sentences are spaced as people write; kept-out ones stay as the file has them.
    """
    folder = data / "ner" / "crossner"
    dev = list(_bio(folder / f"{domain}.dev.bio"))
    at = round(len(dev) * (1 - KEPT_DEV))
    if kept_out:
        return [_spaced(*one) for one in dev[at:]]
    held = {_digest(_spaced(*one).text) for one in dev[at:]}
    made = [_spaced(*one, rng=rng) for one in [*_bio(folder / f"{domain}.train.bio"), *dev[:at]]]
    return [one for one in made if _digest(one.text) not in held]


def wnut(data: Path, rng: random.Random | None = None) -> list[Sentence]:
    return [_spaced(*one, rng=rng) for one in _bio(data / "ner" / "wnut17" / "train.bio")]


def fewrel(data: Path, *, kept_out: bool) -> list[Sentence]:
    """Rows of the seen types."""
    return [one for one in _rows(data / "re" / "fewrel_wiki.jsonl", kept_out=kept_out) if not _is_unseen(one)]


def unseen(data: Path) -> list[Sentence]:
    """Rows of the types that are kept out whole: every `KEPT_ROWS`-th."""
    return [one for one in _rows(data / "re" / "fewrel_wiki.jsonl", kept_out=True) if _is_unseen(one)]


def semeval(data: Path, *, kept_out: bool) -> list[Sentence]:
    return list(_rows(data / "re" / "semeval2010_task8.jsonl", kept_out=kept_out))


def _is_unseen(one: Sentence) -> bool:
    return any(name in UNSEEN for name, _, _ in one.relations)


def _rows(path: Path, *, kept_out: bool) -> Iterator[Sentence]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if (_digest(row["text"]) % KEPT_ROWS == 0) == kept_out:
                told = tuple((one["relation"], one["head"], one["tail"]) for one in row["relation"])
                yield Sentence(row["text"], relations=told)


def _digest(text: str) -> int:
    """Of its letters and digits only: the same sentence, spaced otherwise, is the same sentence."""
    bare = "".join(char for char in text.casefold() if char.isalnum())
    return int.from_bytes(hashlib.blake2b(bare.encode(), digest_size=8).digest(), "big")


def _bio(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    tokens: list[str] = []
    tags: list[str] = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            token, tag = line.rstrip("\r").split("\t")
            tokens.append(token)
            tags.append(tag)
        elif tokens:
            yield tokens, tags
            tokens, tags = [], []
    if tokens:
        yield tokens, tags


def _spaced(tokens: list[str], tags: list[str], rng: random.Random | None = None) -> Sentence:
    natural = rng is not None and rng.random() < 0.5
    text, starts = "", []
    for at, token in enumerate(tokens):
        if at and not (natural and _closes_up(tokens[at - 1], token, tokens[:at])):
            text += " "
        starts.append(len(text))
        text += token
    found: list[Mention] = []
    for at, tag in enumerate(tags):
        if tag == "O":
            continue
        end = starts[at] + len(tokens[at])
        kind = tag[2:]
        if tag[0] == "I" and found and at and tags[at - 1][2:] == kind:
            found[-1] = (kind, found[-1][1], end)
        else:
            found.append((kind, starts[at], end))
    return Sentence(text, tuple(found))


def _closes_up(before: str, word: str, so_far: list[str]) -> bool:
    """Whether no space stands between the two, in English as it is printed."""
    if word in {",", ".", ";", ":", "!", "?", ")", "]", "%", "'s", "n't", "'"} or before in {"(", "[", "$", "£", "€"}:
        return True
    quotes = so_far.count('"')
    return (before == '"' and quotes % 2 == 1) or (word == '"' and quotes % 2 == 1)
