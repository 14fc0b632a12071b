"""Meta's tokenizer.model as Hugging Face tokenizer files: sentencepiece (LLaMA 1, 2) or ranked bytes (LLaMA 3).

LLaMA 3's file is a list of base64 tokens in the order in which byte pairs merge (tiktoken's form).
From it follow the merges: every way in which a token is two other tokens, in the order of ranks.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from core.errors import UserError
from core.weights.checkpoint import inside

T = TypeVar("T", bytes, str)

MAX_RANKED = 20_000_000
# As github.com/meta-llama/llama3 splits text before merging.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL_COUNT = 256
_NAMED_3 = {0: "begin_of_text", 1: "end_of_text", 6: "start_header_id", 7: "end_header_id", 9: "eot_id"}
_NAMED_31 = _NAMED_3 | {4: "finetune_right_pad_id", 8: "eom_id", 10: "python_tag"}


@dataclass(frozen=True)
class MetaTokenizer:
    files: dict[str, Path | bytes]
    bos: int
    eos: int


def has_meta_tokenizer(folder: Path) -> bool:
    """In the folder, or in the one above it: LLaMA 1 keeps one for all sizes."""
    return any((place / "tokenizer.model").exists() for place in (folder, folder.parent))


def read_meta_tokenizer(folder: Path, *, scaled: bool) -> MetaTokenizer:
    """`scaled`: LLaMA 3.1 or later, whose special tokens have other names. Raises UserError."""
    if not has_meta_tokenizer(folder):
        raise UserError(
            "tokenizer.model is missing from {folder}.",
            remedy="Copy it there: it came with the weights.",
            folder=folder,
        )
    path = inside(folder if (folder / "tokenizer.model").exists() else folder.parent, "tokenizer.model")
    head = path.open("rb").read(200)
    if b"\n" in head and head.split(b"\n")[0].endswith(b" 0"):
        return _ranked(path, scaled)
    return _sentencepiece(path)


def _sentencepiece(path: Path) -> MetaTokenizer:
    from sentencepiece import SentencePieceProcessor

    try:
        pieces = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError("{file} is no sentencepiece model.", remedy="Download it again.", file=path) from error
    count = pieces.get_piece_size()
    words = {pieces.id_to_piece(number): number for number in range(count)}
    plain = [
        number
        for number in range(count)
        if not (pieces.is_control(number) or pieces.is_unknown(number) or pieces.is_byte(number))
    ]
    # the better a piece's score, the earlier it is merged
    order = sorted(plain, key=lambda number: (-pieces.get_score(number), number))
    merges = _merges({pieces.id_to_piece(number): rank for rank, number in enumerate(order)})
    bos, eos, unknown = (pieces.id_to_piece(number) for number in (pieces.bos_id(), pieces.eos_id(), pieces.unk_id()))
    model = {"type": "BPE", "unk_token": unknown, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(words[token], token) for token in (unknown, bos, eos)],
        # always a space before the first word, as sentencepiece does it; transformers' own conversion does not
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": _starting_with(bos, words[bos]),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {**model, "vocab": words, "merges": merges},
    }
    settings = {"bos_token": bos, "eos_token": eos, "unk_token": unknown, "tokenizer_class": "PreTrainedTokenizerFast"}
    files: dict[str, Path | bytes] = {
        "tokenizer.model": path,
        "tokenizer.json": json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode(),
        "tokenizer_config.json": _json({**settings, "add_bos_token": True, "clean_up_tokenization_spaces": False}),
    }
    return MetaTokenizer(files, words[bos], words[eos])


def _ranked(path: Path, scaled: bool) -> MetaTokenizer:
    ranks = _ranks(path)
    letters = _byte_letters()
    words = {"".join(map(letters.__getitem__, token)): rank for token, rank in ranks.items()}
    merges = [["".join(map(letters.__getitem__, half)) for half in pair] for pair in _merges(ranks)]
    special = _special_names(scaled)
    added = [_added(len(ranks) + place, text) for place, text in enumerate(special)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": _starting_with(special[0], len(ranks)),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "ignore_merges": True, "byte_fallback": False, "vocab": words, "merges": merges},
    }
    settings = {"bos_token": special[0], "eos_token": special[1], "tokenizer_class": "PreTrainedTokenizerFast"}
    files: dict[str, Path | bytes] = {
        "tokenizer.json": json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode(),
        "tokenizer_config.json": _json(settings),
    }
    return MetaTokenizer(files, len(ranks), len(ranks) + 1)


def _ranks(path: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    try:
        if path.stat().st_size > MAX_RANKED:
            raise ValueError("too large")
        for line in path.read_bytes().splitlines():
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        if sorted(ranks.values()) != list(range(len(ranks))):
            raise ValueError("ranks are no sequence")
    except (ValueError, binascii.Error) as error:
        raise UserError("{file} is no tokenizer of LLaMA 3.", remedy="Download it again.", file=path) from error
    return ranks


def _merges(ranks: Mapping[T, int]) -> list[tuple[T, T]]:
    """Every way in which a token (bytes or text) is two others, lowest rank of the whole first."""
    found = []
    for token, rank in ranks.items():
        pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        known = [(ranks[left], ranks[right], left, right) for left, right in pairs if left in ranks and right in ranks]
        found += [(rank, place, left, right) for place, (_, _, left, right) in enumerate(sorted(known))]
    return [(left, right) for _, _, left, right in sorted(found)]


def _added(number: int, text: str) -> dict[str, object]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": text, **plain, "special": True}


def _starting_with(token: str, number: int) -> dict[str, object]:
    start, text = {"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = [{"SpecialToken": {"id": token, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "type": "TemplateProcessing",
        "single": [start, text],
        "pair": [start, text, *second],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }


def _special_names(scaled: bool) -> list[str]:
    named = _NAMED_31 if scaled else _NAMED_3
    names, reserved = [], 0
    for place in range(_SPECIAL_COUNT):
        if place in named:
            names.append(f"<|{named[place]}|>")
        else:
            names.append(f"<|reserved_special_token_{reserved}|>")
            reserved += 1
    return names


def _byte_letters() -> dict[int, str]:
    """GPT-2's way to write any byte as a visible letter."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in visible}
    hidden = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()
