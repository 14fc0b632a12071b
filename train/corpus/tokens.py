"""Texts to token ids, as the model's own tokenizer makes them, faster: words repeat, so each is tokenized once.

Texts are cut where that changes no token (cuts.py), and the tokens of pieces are remembered. Only pieces that are new
are given to the tokenizer. Whether that gives the same ids is proven for the kinds of tokenizers it is used with, and
tried on a corpus of hard texts (parity.py) whenever a tokenizer is opened; where it doesn't hold, and for all other
tokenizers, texts are tokenized whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from train.corpus import parity
from train.corpus.cuts import Cuts, split_prefix
from train.corpus.pieces import Pieces
from train.corpus.store_format import Vocabulary


@dataclass(frozen=True, slots=True)
class Cut:
    """A text's token ids, and how many of them stand before each of the places that were asked for."""

    ids: np.ndarray
    at: np.ndarray


class Tokenizer:
    """`backend`: a `tokenizers.Tokenizer`. A text that spells a special token (`</s>`) is text: it gets no special id.

    `fast` says whether pieces are remembered, `why_slow` why not.
    """

    def __init__(self, backend: Any, vocabulary: Vocabulary, *, fast: bool = True) -> None:
        from tokenizers import Tokenizer as Backend

        definition = {**json.loads(backend.to_str()), "post_processor": None, "truncation": None, "padding": None}
        self._reference = _plain(Backend.from_str(json.dumps(definition)))
        self._added = [token["content"] for token in definition["added_tokens"] if not token["special"]]
        self.vocabulary = vocabulary
        self.why_slow = "" if fast else "not wanted"
        self._pieces: Pieces | None = None
        if fast:
            self._pieces, self.why_slow = self._fast(definition)

    def _fast(self, definition: dict[str, Any]) -> tuple[Pieces | None, str]:
        from tokenizers import Tokenizer as Backend

        cuts = Cuts.of(definition)
        if cuts is None:
            return None, "for this kind of tokenizer no cuts are known that change no token"
        inner, prefix = self._reference, ""
        if split := split_prefix(definition):
            inner, prefix = _plain(Backend.from_str(json.dumps(split[0]))), split[1]
        pieces = Pieces(inner, cuts, prefix=prefix)
        texts = parity.texts()
        for text, ours in zip(texts, pieces.encode(texts).split(), strict=True):
            if not np.array_equal(ours, self._whole([text])[0].ids):
                return None, "on one of the hard texts its tokens differed"
        pieces.forget()
        return pieces, ""

    @property
    def fast(self) -> bool:
        return self._pieces is not None

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids (int64) of each text, without BOS and EOS."""
        return [one.ids for one in self.cut(texts, [()] * len(texts))]

    def cut(self, texts: Sequence[str], places: Sequence[Sequence[int] | np.ndarray]) -> list[Cut]:
        """Token ids of each text (int64), and the token at which each of its `places` (ascending, in characters)
        falls: a token that stands across a place belongs to what is after it.
        """
        pieces = self._pieces
        if pieces is None:
            return self._whole(texts, places)
        whole = [at for at, text in enumerate(texts) if self._spells_added(text)]
        if not whole:
            return _cut(pieces, texts, places)
        slow = set(whole)
        rest = [at for at in range(len(texts)) if at not in slow]
        done = self._whole([texts[at] for at in whole], [places[at] for at in whole])
        done += _cut(pieces, [texts[at] for at in rest], [places[at] for at in rest])
        made = dict(zip([*whole, *rest], done, strict=True))
        return [made[at] for at in range(len(texts))]

    def _whole(self, texts: Sequence[str], places: Sequence[Sequence[int] | np.ndarray] | None = None) -> list[Cut]:
        """By the tokenizer itself: the reference that everything else is equal to."""
        made = []
        for number, one in enumerate(self._reference.encode_batch(list(texts), add_special_tokens=False)):
            wanted = np.asarray(places[number] if places else (), np.int64)
            ends = np.array([end for _, end in one.offsets], np.int64) if len(wanted) else np.zeros(0, np.int64)
            made.append(Cut(np.array(one.ids, np.int64), np.searchsorted(ends, wanted, "right")))
        return made

    def _spells_added(self, text: str) -> bool:
        return any(added in text for added in self._added)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of these tokens; special ones are shown."""
        return self._reference.decode([int(one) for one in ids], skip_special_tokens=False)


def _cut(pieces: Pieces, texts: Sequence[str], places: Sequence[Sequence[int] | np.ndarray]) -> list[Cut]:
    if not texts:
        return []
    encoded = pieces.encode(texts)
    return [Cut(ids, at) for ids, at in zip(encoded.split(), encoded.at(places), strict=True)]


def _plain(backend: Any) -> Any:
    backend.encode_special_tokens = True
    return backend


def open_tokenizer(reference: str | Path, *, fast: bool = True) -> Tokenizer:
    """By a model's folder, its name, or a `tokenizer.json`. Raises UserError: none there, or none of the fast kind.

    One process uses one core for it: workers are many already.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    path = Path(reference)
    library = _from_file(path) if path.is_file() else _from_model(reference)
    backend = getattr(library, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            "The tokenizer of {model} has no tokenizer.json.",
            remedy="Load it once with transformers and save it again, or choose another model.",
            model=reference,
        )
    bos = library.bos_token_id if library("a")["input_ids"][:1] == [library.bos_token_id] else None
    name = path.parent.name if path.is_file() else path.name
    vocabulary = Vocabulary(fingerprint(backend), len(library), name, bos, library.eos_token_id)
    return Tokenizer(backend, vocabulary, fast=fast)


def _from_file(path: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    try:
        return PreTrainedTokenizerFast(tokenizer_file=str(path))
    except Exception as error:  # the library's own exception is a bare Exception
        raise _unreadable(path, error) from error


def _from_model(reference: str | Path) -> Any:
    from transformers import AutoTokenizer

    from core.launchers import settle

    folder = settle.base_folder(str(reference))
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        "The tokenizer of {path} can't be read: {why}",
        remedy="Choose a model folder that holds tokenizer.json, or that file.",
        path=path,
        why=str(error).splitlines()[0] if str(error) else type(error).__name__,
    )


def fingerprint(backend: Any) -> str:
    """Equal where the same texts become the same ids: of the vocabulary, and of what a few texts become."""
    from tokenizers import Tokenizer as Backend

    digest = hashlib.sha256(json.dumps(sorted(backend.get_vocab().items())).encode())
    copy = _plain(Backend.from_str(backend.to_str()))
    copy.no_truncation()
    copy.no_padding()
    for text in parity.SAMPLES:
        digest.update(json.dumps(copy.encode(text, add_special_tokens=False).ids).encode())
    return digest.hexdigest()
