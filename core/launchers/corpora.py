"""What the header of a token store says, read without numpy: enough to estimate a training and to refuse a wrong one.

The format is train/corpus/store_format.py's, which core may not import; tests/core/test_pretrain_prepare.py holds
the two together.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import UserError

MAGIC, SUFFIX = b"KLMTOKEN", ".tokens"
_FRONT = struct.Struct("<8sIII")


@dataclass(frozen=True)
class Corpora:
    """All stores of some folders, summed up by source."""

    rows: dict[str, int]
    tokens: dict[str, int]
    length: int
    """Tokens a row, at most."""
    vocabulary: int
    tokenizer: str
    """Name of the tokenizer that made them."""

    @property
    def all_rows(self) -> int:
        return sum(self.rows.values())


def looked_at(folders: Sequence[Path]) -> Corpora:
    """Raises UserError: no store there, one that is damaged, or stores of different lengths or tokenizers."""
    heads = [_head(path, path.stat().st_mtime_ns) for folder in folders for path in stores(folder)]
    first = heads[0]
    for head in heads:
        for name in ("length", "fingerprint"):
            if _of(head, name) != _of(first, name):
                raise UserError(
                    "The corpora were made for different tokenizers or lengths: {one} and {other}.",
                    remedy="Train on corpora of one tokenizer and one length; build the others again.",
                    one=f"{_of(first, 'name')} ({first['length']})",
                    other=f"{_of(head, 'name')} ({head['length']})",
                )
    rows: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for head in heads:
        rows[head["source"]] = rows.get(head["source"], 0) + head["rows"]
        tokens[head["source"]] = tokens.get(head["source"], 0) + head["tokens"]
    vocabulary = first["vocabulary"]
    return Corpora(rows, tokens, int(first["length"]), int(vocabulary["size"]), str(vocabulary.get("name", "")))


def stores(folder: Path) -> list[Path]:
    found = [folder] if folder.is_file() else sorted(folder.rglob(f"*{SUFFIX}"))
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise UserError(
            "{folder} holds no token store.",
            remedy="Choose the folder that `corpus build` or `corpus convert` wrote.",
            folder=folder,
        )
    return found


def _of(head: dict[str, Any], name: str) -> Any:
    return head.get(name, head["vocabulary"].get(name))


@lru_cache(maxsize=4096)
def _head(path: Path, _changed: int) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            magic, _, length, _ = _FRONT.unpack(file.read(_FRONT.size))
            if magic != MAGIC:
                raise ValueError
            told = json.loads(file.read(length))
        told["vocabulary"]["size"], told["rows"], told["tokens"], told["source"], told["length"]
        return told
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise UserError(
            "{path} is no token store.", remedy="Choose a .tokens file, or the folder that holds them.", path=path
        ) from error
