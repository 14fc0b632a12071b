"""Small token stores for tests of pretraining."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def corpus(base: Path, folder: Path, sources: dict[str, int], *, length: int = 64) -> Path:
    """A store a source with so many rows; every third row holds two samples, the second after some context."""
    from transformers import AutoTokenizer

    from train.corpus.store import SUFFIX, Piece, Vocabulary, Writer
    from train.corpus.tokens import fingerprint

    tokenizer = AutoTokenizer.from_pretrained(base)
    vocabulary = Vocabulary(fingerprint(tokenizer.backend_tokenizer), len(tokenizer), base.name)
    for source, count in sources.items():
        with Writer(folder / f"{source}{SUFFIX}", vocabulary, source=source, length=length) as writer:
            for number in range(count):
                text = f"{source} number {number % 17} says that the answer is {number % 7}. "
                ids = np.asarray(tokenizer(text * 2)["input_ids"][:length], np.uint16)
                half = length // 2
                if number % 3:
                    writer.row([Piece(ids, number)])
                else:
                    writer.row([Piece(ids[:half], number), Piece(ids[half : length - 2], number, context=4)])
    return folder


def renamed_vocabulary(base: Path, folder: Path) -> Path:
    """The same model with two tokens of its vocabulary exchanged."""
    import shutil

    shutil.copytree(base, folder)
    file = folder / "tokenizer.json"
    told = json.loads(file.read_text())
    words = told["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    file.write_text(json.dumps(told))
    return folder


def metrics(out: Path) -> list[dict[str, Any]]:
    """Whole lines only: the last one may just be being written."""
    made = []
    try:
        lines = (out / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            made.append(json.loads(line))
        except ValueError:
            continue
    return made
