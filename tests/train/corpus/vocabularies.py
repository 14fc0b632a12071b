"""Tokenizers of the kinds that models have, small: bytes with GPT-2's, Llama 3's and Qwen's patterns, and pieces."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from train.corpus.cuts import GPT2, PATTERNS
from train.corpus.store_format import Vocabulary
from train.corpus.tokens import Tokenizer, fingerprint

LEARNED_FROM = [
    "The quick brown fox, born in 1987, doesn't jump over the lazy dogs; it'll fly and they'd follow. ",
    "北京是中华人民共和国的首都，位于华北平原。人民说：“我们的国家很大。”他们去过上海大学的中国文学系！",
    "There is no new thing under the sun, and nobody knows what tomorrow will bring to the people of the town.\n",
    "中国的经济发展很快，人民的生活水平提高了。这是一个历史性的变化，中国人民为此感到高兴。",
] * 3
SPECIAL = ["<unk>", "<s>", "</s>"]
KINDS = ("gpt2", "digits", "llama3", "qwen", "pieces", "metaspace")


@cache
def backend(kind: str) -> Any:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers, trainers

    if kind in ("pieces", "metaspace"):
        return _pieces(kind)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made = Backend(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(LEARNED_FROM, trainer)
    told = json.loads(made.to_str())
    whole = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    if kind == "digits":
        digits = {"type": "Digits", "individual_digits": True}
        told["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, {**whole, "use_regex": True}]}
    if kind in ("llama3", "qwen"):
        (pattern,) = (one for one in PATTERNS if one != GPT2 and ("{1,3}" in one) == (kind == "llama3"))
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        told["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, whole]}
        told["model"]["ignore_merges"] = kind == "llama3"
        told["normalizer"] = {"type": "NFC"} if kind == "qwen" else None
    told["decoder"] = {**whole, "use_regex": True}
    return Backend.from_str(json.dumps(told))


def _pieces(kind: str) -> Any:
    """As SentencePiece's BPE is converted: spaces as ▁, unknown signs as bytes; `metaspace` is the newer way."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, trainers

    made = Backend(models.BPE())
    made.normalizer = normalizers.Replace(" ", "▁")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=[*SPECIAL, *bytes_], show_progress=False)
    made.train_from_iterator([word for text in LEARNED_FROM for word in _words(text)], trainer)
    told = json.loads(made.to_str())
    told["added_tokens"] = [one for one in told["added_tokens"] if one["content"] in SPECIAL]
    told["model"] |= {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    told["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
    if kind == "metaspace":
        told["normalizer"] = None
        scheme = {"prepend_scheme": "first", "split": False}
        told["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", **scheme}
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    told["decoder"] = {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]}
    return Backend.from_str(json.dumps(told))


def _words(text: str) -> list[str]:
    """As SentencePiece learns: from words with the space before them."""
    return [" " + word for word in text.split()]


@cache
def opened(kind: str) -> Tokenizer:
    return tokenizer(kind)


def tokenizer(kind: str, *, fast: bool = True, size: int = 0) -> Tokenizer:
    made = backend(kind)
    return Tokenizer(made, Vocabulary(fingerprint(made), size or made.get_vocab_size(), kind, 1, 2), fast=fast)
