"""Where a text may be cut so that the tokens of the pieces are the tokens of the whole.

`Cuts.of(...)` reads it off a tokenizer's own definition, or answers None: then texts are tokenized whole.
Two kinds of places are known to be safe.

Between words, where the tokenizer's pattern always begins a new word and the word doesn't depend on what is before it:
before a single space between two other signs, between a letter and a punctuation mark, after a single line end.
This holds for the patterns in `PATTERNS`, which are compared to the letter: none of their alternatives goes on from
a non-space into a space, or from a letter into a mark; and none looks back.

Inside a word, between two characters that no entry of the vocabulary holds side by side: a merge across the place
would make such an entry, so byte pair encoding makes none, and then both sides are merged as they would be alone.
Bytes are looked at where the vocabulary is one of bytes: an entry may end or begin inside a character.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_AFTER_GPT2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {GPT2, _AFTER_GPT2 % "{1,3}", _AFTER_GPT2 % ""}
"""GPT-2's; Llama 3's and cl100k's; Qwen's."""

SPACE, LETTER, MARK, CJK, CJK_MARK = 1, 2, 4, 8, 16
_SPACES = [9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F]
_CJK = [(0x3041, 0x3097), (0x30A1, 0x30FB), (0x3400, 0x4DB6), (0x4E00, 0x9FD6), (0xAC00, 0xD7A4)]
"""Letters in every version of Unicode that is about; assigned since version 8 at the latest."""
_CJK_MARKS = "、。，：；？！…—～“”‘’「」『』（）《》〈〉【】"
_SUFFIX, _PREFIX = (0x200000, 0x300000), (0x400000, 0x500000)  # beyond all characters: 1 byte, 2 bytes of one
_BITS = 22


def _kinds() -> np.ndarray:
    made = np.zeros(0x110000, np.uint8)
    made[[*_SPACES, 0x205F, 0x3000]] = SPACE
    for code in range(0x21, 0x7F):
        made[code] = LETTER if chr(code).isalpha() else 0 if chr(code).isdigit() or chr(code) == "'" else MARK
    for start, end in _CJK:
        made[start:end] = CJK
    made[[ord(one) for one in _CJK_MARKS]] = CJK_MARK
    return made


@dataclass(frozen=True)
class Cuts:
    """`by_words`: words are told by a pattern of PATTERNS, and only what `_kinds` knows is cut inside them."""

    by_words: bool
    inside: bool
    """Whether words are cut inside, too."""
    unsafe: np.ndarray
    """A hashed set of pairs: True means that a pair may stand in a vocabulary entry; never False for one that does."""
    combinations: tuple[tuple[int, int], ...]
    """Which parts (0: whole character, 1 and 2: bytes of one) of left and right make up those pairs."""
    kinds: np.ndarray

    @classmethod
    def of(cls, definition: dict[str, Any]) -> Self | None:
        """`definition`: a `tokenizer.json`. None: not known to be safe."""
        model = definition["model"]
        plain = not (model.get("dropout") or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        if model.get("type") != "BPE" or not plain:
            return None
        if _is_byte_level(definition):
            pairs = _byte_pairs([_bytes_of(token) for token in model["vocab"]])
            # such a model takes a word that is an entry as it is; a word's piece could be one that merges don't reach
            return cls(True, not model.get("ignore_merges"), *_hashed(pairs), _kinds())
        alone = model.get("byte_fallback") or not model.get("fuse_unk")
        if split_prefix(definition) and alone and not model.get("ignore_merges"):
            pairs = {
                (0, ord(one), 0, ord(other))
                for token in model["vocab"]
                for one, other in zip(token.replace("▁", " "), token[1:].replace("▁", " "), strict=False)
            }
            return cls(False, True, *_hashed(pairs), np.zeros(0, np.uint8))
        return None

    def before(self, codes: np.ndarray) -> np.ndarray:
        """Ascending places of a text (as uint32 code points) before which it may be cut; 0 is not among them."""
        if len(codes) < 2:
            return np.zeros(0, np.int64)
        if not self.by_words:
            return np.flatnonzero(~self._unsafe(codes[:-1], codes[1:])) + 1
        kinds = self.kinds[codes]
        left, right = kinds[:-1], kinds[1:]
        word = (left & (LETTER | CJK) != 0) & (right & (MARK | CJK_MARK) != 0)
        single = (left != SPACE) & (codes[1:] == 32)
        single[:-1] &= kinds[2:] != SPACE
        word |= single
        word[1:] |= (kinds[:-2] != SPACE) & (codes[1:-1] == 10) & (kinds[2:] & (LETTER | CJK) != 0)
        if self.inside:
            maybe = np.flatnonzero((right == CJK) & (left >= CJK))
            word[maybe] = ~self._unsafe(codes[maybe], codes[maybe + 1])
        return np.flatnonzero(word) + 1

    def symbols(self, piece: str) -> str:
        """What the model itself is given for a piece, where that is known without the steps before it; else nothing.

        It is for ASCII letters with or without a space before them, which every pattern takes for one word; and for
        all pieces of a tokenizer that knows no words.
        """
        if not self.by_words:
            return piece.replace(" ", "▁")
        word = piece[1:] if piece[0] == " " else piece
        if not (word.isascii() and word.isalpha()):
            return ""
        return "Ġ" + word if word is not piece else word

    def _unsafe(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        found = np.zeros(len(left), bool)
        for before, after in self.combinations:
            found |= self.unsafe[_hash(_suffix(left, before), _prefix(right, after))]
        return found


def _is_byte_level(definition: dict[str, Any]) -> bool:
    """Byte-level, words by a pattern that is known."""
    if definition.get("normalizer") not in (None, {"type": "NFC"}):
        return False
    steps = definition.get("pre_tokenizer") or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return False
    before = [step for step in steps[:-1] if step.get("type") != "Digits"]
    if steps[-1].get("use_regex", True):
        return not before
    return len(before) == 1 and _splits_by_known_pattern(before[0])


def _splits_by_known_pattern(step: dict[str, Any]) -> bool:
    isolated = step.get("type") == "Split" and step.get("behavior") == "Isolated" and not step.get("invert")
    return isolated and step["pattern"].get("Regex") in PATTERNS


def split_prefix(definition: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """For SentencePiece's BPE, where spaces become ▁ and nothing else is split: the definition without the ▁ that is
    put in front of a text, and when it is put there: `always`, or `unless` the text begins with one."""
    normalizer, splitter = definition.get("normalizer"), definition.get("pre_tokenizer")
    steps = (normalizer or {}).get("normalizers", [])
    prepend = {"type": "Prepend", "prepend": "▁"}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    if splitter is None and steps == [prepend, replace]:
        return {**definition, "normalizer": replace}, "always"
    told = splitter or {}
    metaspace = normalizer is None and told.get("type") == "Metaspace" and told.get("replacement") == "▁"
    if metaspace and told.get("prepend_scheme") in ("first", "always") and not told.get("split", True):
        return {**definition, "pre_tokenizer": {**told, "prepend_scheme": "never"}}, "unless"
    return None


def _byte_pairs(tokens: list[bytes]) -> set[tuple[int, int, int, int]]:
    """(part, left, part, right) for each place inside a token where two three-byte characters may meet."""
    found = set()
    for token in tokens:
        for at in range(1, len(token)):
            if 0xE0 <= token[at] <= 0xEF:
                left, right = _left_part(token[:at]), _right_part(token[at:])
                if left and right:
                    found.add((*left, *right))
    return found


def _left_part(before: bytes) -> tuple[int, int] | None:
    tail = len(before) - len(before.rstrip(bytes(range(0x80, 0xC0))))
    if tail == len(before):  # it begins inside a character
        return (tail, _SUFFIX[tail - 1] + int.from_bytes(before, "big")) if tail <= 2 else None
    whole = tail == 2 and 0xE0 <= before[-3] <= 0xEF
    return (0, _code(before[-3:])) if whole else None


def _right_part(after: bytes) -> tuple[int, int] | None:
    if len(after) >= 3:
        return (0, _code(after[:3]))
    return (len(after), _PREFIX[len(after) - 1] + int.from_bytes(after, "big"))


def _code(three: bytes) -> int:
    return (three[0] & 15) << 12 | (three[1] & 63) << 6 | three[2] & 63


def _suffix(codes: np.ndarray, part: int) -> np.ndarray:
    """Numbers that stand for the last `part` UTF-8 bytes of three-byte characters; part 0: for themselves."""
    last, middle = 0x80 | codes & 63, 0x80 | codes >> 6 & 63
    return codes if part == 0 else _SUFFIX[0] + last if part == 1 else _SUFFIX[1] + (middle << 8 | last)


def _prefix(codes: np.ndarray, part: int) -> np.ndarray:
    first, middle = 0xE0 | codes >> 12, 0x80 | codes >> 6 & 63
    return codes if part == 0 else _PREFIX[0] + first if part == 1 else _PREFIX[1] + (first << 8 | middle)


def _hash(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    mixed = left.astype(np.uint32) * np.uint32(0x9E3779B1) + right.astype(np.uint32) * np.uint32(0x85EBCA77)
    return mixed >> np.uint32(32 - _BITS)


def _hashed(pairs: set[tuple[int, int, int, int]]) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    table = np.zeros(1 << _BITS, bool)
    if pairs:
        rows = np.array(sorted(pairs), np.int64)
        table[_hash(rows[:, 1], rows[:, 3])] = True
    return table, tuple(sorted({(one[0], one[2]) for one in pairs}))


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes with, as GPT-2 chose them."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


_ALPHABET = _byte_alphabet()


def _bytes_of(token: str) -> bytes:
    return bytes(_ALPHABET[one] for one in token if one in _ALPHABET)
