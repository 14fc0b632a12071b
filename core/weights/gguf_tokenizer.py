"""A Hugging Face tokenizer as GGUF's keys: tokens, their kinds, merges or scores, special ids, chat template.

llama.cpp knows pre-tokenizers by name and refuses to guess, so ours are recognised by what
tokenizer.json says they do; an unknown one is refused, since a wrong one quietly spoils answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.weights.checkpoint import inside, read_json
from core.weights.meta_tokenizer import SPLIT

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_SPLITS = {SPLIT: "llama-bpe", SPLIT.replace("{1,3}", ""): "qwen2"}
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unk", "pad_token": "pad"}


@dataclass
class Vocabulary:
    model: str
    """gpt2 (byte-level BPE) or llama (sentencepiece)."""
    pre: str
    tokens: list[str]
    kinds: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    special: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool = False
    chat_template: str | None = None


def read_vocabulary(folder: Path, config: Mapping[str, Any], size: int) -> Vocabulary:
    """`size`: rows of the embedding; ids without a token become unused ones. Raises UserError."""
    tokenizer = read_json(inside(folder, "tokenizer.json")) if (folder / "tokenizer.json").exists() else None
    settings = read_json(inside(folder, "tokenizer_config.json")) if (folder / "tokenizer_config.json").exists() else {}
    if (folder / "tokenizer.model").exists():
        made = _sentencepiece(inside(folder, "tokenizer.model"))
    elif tokenizer and tokenizer.get("model", {}).get("type") == "BPE":
        made = _from_json(folder, tokenizer)
    else:
        raise UserError(
            "{folder} holds no tokenizer that can be exported.",
            remedy="Put tokenizer.json or tokenizer.model of the model there.",
            folder=folder,
        )
    _add_added(made, folder, tokenizer, settings, size)
    _fit(made, folder, size)
    _special_ids(made, config, settings)
    _ends(made, folder, tokenizer, settings)
    made.chat_template = _chat_template(folder, settings)
    return made


def _sentencepiece(path: Path) -> Vocabulary:
    from sentencepiece import SentencePieceProcessor

    try:
        pieces = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError("{file} is no sentencepiece model.", remedy="Download it again.", file=path) from error
    count = pieces.get_piece_size()
    kinds = []
    for number in range(count):
        if pieces.is_unknown(number):
            kinds.append(UNKNOWN)
        elif pieces.is_control(number):
            kinds.append(CONTROL)
        elif pieces.is_unused(number):
            kinds.append(UNUSED)
        else:
            kinds.append(BYTE if pieces.is_byte(number) else NORMAL)
    tokens = [pieces.id_to_piece(number) for number in range(count)]
    scores = [pieces.get_score(number) for number in range(count)]
    special = {"bos": pieces.bos_id(), "eos": pieces.eos_id(), "unk": pieces.unk_id(), "pad": pieces.pad_id()}
    found = {name: number for name, number in special.items() if number >= 0}
    return Vocabulary("llama", "default", tokens, kinds, scores, special=found, add_bos=True, add_space_prefix=True)


def _from_json(folder: Path, tokenizer: dict[str, Any]) -> Vocabulary:
    model = tokenizer["model"]
    names = {number: token for token, number in model["vocab"].items()}
    tokens = [names.get(number, "") for number in range(max(names) + 1)]
    if model.get("byte_fallback"):
        kinds = [BYTE if token.startswith("<0x") and len(token) == 6 else NORMAL for token in tokens]
        if model.get("unk_token") in model["vocab"]:
            kinds[model["vocab"][model["unk_token"]]] = UNKNOWN
        # sentencepiece numbers its pieces in the order in which it merges them
        scores = [-float(number) for number in range(len(tokens))]
        prefix = "▁" in json.dumps(tokenizer.get("normalizer") or {}, ensure_ascii=False) or "Metaspace" in json.dumps(
            tokenizer.get("pre_tokenizer") or {}
        )
        return Vocabulary("llama", "default", tokens, kinds, scores, add_space_prefix=prefix)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    pre = _pre_tokenizer(folder, tokenizer.get("pre_tokenizer"))
    return Vocabulary("gpt2", pre, tokens, [NORMAL] * len(tokens), merges=merges)


def _pre_tokenizer(folder: Path, described: dict[str, Any] | None) -> str:
    """llama.cpp's name for it."""
    described = described or {}
    steps = described.get("pretokenizers", []) if described.get("type") == "Sequence" else [described]
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        name = _SPLITS.get(steps[0].get("pattern", {}).get("Regex", ""))
        if name:
            return name
    raise UserError(
        "llama.cpp's name for the pre-tokenizer of {folder} is not known.",
        remedy="Export models of the LLaMA, Mistral, Qwen2 or Qwen3 families with their own tokenizer.",
        folder=folder,
    )


def _add_added(
    made: Vocabulary, folder: Path, tokenizer: dict[str, Any] | None, settings: dict[str, Any], size: int
) -> None:
    """Tokens that stand outside the model's own vocabulary: control ones and a person's own."""
    added: dict[int, tuple[str, bool]] = {}
    if (folder / "added_tokens.json").exists():
        added |= {number: (text, False) for text, number in read_json(inside(folder, "added_tokens.json")).items()}
    for number, entry in (settings.get("added_tokens_decoder") or {}).items():
        added[int(number)] = (entry["content"], bool(entry.get("special")))
    for entry in (tokenizer or {}).get("added_tokens", []):
        added[entry["id"]] = (entry["content"], bool(entry.get("special")))
    for number, (text, special) in sorted(added.items()):
        if number >= size:
            raise UserError(
                "The token “{token}” of {folder} has the number {number}, but the model has {size} rows.",
                remedy="The tokenizer belongs to another model: take the one that came with these weights.",
                token=text,
                folder=folder,
                number=number,
                size=size,
            )
        while len(made.tokens) <= number:
            made.tokens.append("")
            made.kinds.append(UNUSED)
        known = number < len(made.scores or ()) and made.kinds[number] in (UNKNOWN, CONTROL, BYTE)
        made.tokens[number] = text
        if not known:
            made.kinds[number] = CONTROL if special else USER_DEFINED


def _fit(made: Vocabulary, folder: Path, size: int) -> None:
    """As many tokens as the embedding has rows."""
    if len(made.tokens) > size:
        raise UserError(
            "The tokenizer of {folder} has {count} tokens, but the model has {size} rows.",
            remedy="The tokenizer belongs to another model: take the one that came with these weights.",
            folder=folder,
            count=len(made.tokens),
            size=size,
        )
    made.kinds += [UNUSED] * (size - len(made.kinds))
    made.tokens += [""] * (size - len(made.tokens))
    for number, token in enumerate(made.tokens):
        if token == "":
            made.tokens[number], made.kinds[number] = f"[PAD{number}]", UNUSED
    if made.scores is not None:
        made.scores += [-1000.0] * (size - len(made.scores))


def _special_ids(made: Vocabulary, config: Mapping[str, Any], settings: dict[str, Any]) -> None:
    numbers = {token: number for number, token in enumerate(made.tokens)}
    for key, name in _SPECIAL.items():
        token = settings.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        number = config.get(f"{key}_id")
        number = number[0] if isinstance(number, list) and number else number
        if token in numbers:
            made.special[name] = numbers[token]
        elif name not in made.special and isinstance(number, int) and 0 <= number < len(made.tokens):
            made.special[name] = number
    for name in ("bos", "eos"):
        if name in made.special and made.kinds[made.special[name]] == NORMAL:
            made.kinds[made.special[name]] = CONTROL


def _ends(made: Vocabulary, folder: Path, tokenizer: dict[str, Any] | None, settings: dict[str, Any]) -> None:
    """Whether the tokenizer itself puts bos before and eos after a text."""
    if tokenizer is not None:
        from tokenizers import Tokenizer

        ids = Tokenizer.from_file(str(inside(folder, "tokenizer.json"))).encode("a").ids
        made.add_bos = bool(ids) and ids[0] == made.special.get("bos")
        made.add_eos = bool(ids) and ids[-1] == made.special.get("eos")
    made.add_bos = bool(settings.get("add_bos_token", made.add_bos)) and "bos" in made.special
    made.add_eos = bool(settings.get("add_eos_token", made.add_eos)) and "eos" in made.special


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | None:
    if (folder / "chat_template.jinja").exists():
        return inside(folder, "chat_template.jinja").read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
    return template if isinstance(template, str) else None
