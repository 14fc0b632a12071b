"""Which texts are left out: the rules of quality.yaml, one function each, and the word lists of harmful content.

A rule looks at a text and gives the value that is over its limit (`0.31 > 0.2`), or None. To add one: a function
here under its name, and its limit with the reasons in words/quality.yaml.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.launchers.corpus import QUALITY
from train.corpus import signs
from train.corpus.harmful import WordList, word_lists
from train.corpus.signs import Signs

FOLDER = QUALITY.parent
_URL = re.compile(r"(?:https?://|www\.)[^\s，。；、）)\]>\"']+")
_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")
_COMMON = frozenset(re.findall(r"\w+", "the of and to in is that for was with on as are at by it from be have this"))
_FUNCTION = re.compile("[的了是在和不有我这他就也而之于以其为与因所者且由将被把从到着过吗呢吧]")
_SENTENCE_END = re.compile(r"""[.!?。！？…:：;；][)\]"'”’」』）]*$""")
_SPACED = re.compile("(?<=[\u4e00-\u9fff])[ \t\u3000](?=[\u4e00-\u9fff])")
_SAMPLED = 1 << 16
"""Characters of a text that the costlier rules look at."""


@dataclass(frozen=True)
class Text:
    """A text and what several rules ask of it; `language` is zh, en or ""."""

    text: str
    signs: Signs
    language: str
    declared: str = "auto"

    @cached_property
    def beginning(self) -> str:
        return self.text[:_SAMPLED]

    @cached_property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.beginning.splitlines() if line.strip()]

    @cached_property
    def words(self) -> list[str]:
        return _WORD.findall(self.beginning)


@dataclass(frozen=True)
class Drop:
    rule: str
    told: str


Limits = dict[str, Any]
Rule = Callable[[Text, Limits], str | None]


def looked_at(text: str, declared: str) -> Text:
    seen = signs.signs(text)
    return Text(text, seen, declared if declared != "auto" else seen.language, declared)


def judge(text: Text, limits: dict[str, Limits], lists: tuple[WordList, ...], *, quality: bool) -> Drop | None:
    """The first rule that drops the text."""
    if quality:
        for name, rule in RULES.items():
            if name in limits and (told := rule(text, limits[name])) is not None:
                return Drop(name, told)
    if lists and "harmful" in limits:
        bounds = limits["harmful"]
        for one in lists:
            told = one.found(text.text, distinct=int(bounds["distinct"]), per_1000=float(bounds["per_1000"]))
            if told is not None:
                return Drop(f"harmful:{one.kind}", told)
    return None


def read_limits(file: Path | None) -> dict[str, Limits]:
    """{rule: its limits}, from our file or a person's own. Raises UserError: unreadable, unknown rules, no numbers."""
    import yaml

    place = file or QUALITY
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
        known = {**RULES, "harmful": None}
        unknown = [str(name) for name in content if name not in known]
        made = {str(name): {key: value for key, value in one.items() if key not in ("en", "zh")}
                for name, one in content.items()}  # fmt: skip
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise UserError(
            "The rules {file} can't be read: {why}.",
            remedy="Copy train/corpus/words/quality.yaml and change numbers in the copy.",
            file=place,
            why=" ".join(str(error).split())[:200],
        ) from error
    if unknown:
        raise UserError(
            "The rules {file} hold “{name}”, which is no rule.",
            remedy="The rules are: {known}.",
            file=place,
            name=unknown[0],
            known=", ".join(known),
        )
    ours = made if file is None else read_limits(None)
    for name, one in made.items():
        if one.keys() != ours[name].keys() or not all(map(_is_limit, one.values())):
            raise UserError(
                "The rule “{name}” in {file} has not the limits that it needs: {needed}.",
                remedy="Copy train/corpus/words/quality.yaml and change numbers in the copy.",
                name=name,
                file=place,
                needed=", ".join(ours[name]),
            )
    return made


def read_lists(folder: Path | None) -> tuple[WordList, ...]:
    return word_lists(folder or FOLDER)


def fingerprint(rules: Path | None, words: Path | None) -> str:
    """Of all that is judged by: a rerun with other words or limits is another corpus."""
    digest = hashlib.sha256((rules or QUALITY).read_bytes())
    for path in sorted((words or FOLDER).glob("*.txt")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _is_limit(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) <= {"en", "zh", "other"} and all(map(_is_limit, value.values()))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _over(value: float, most: float) -> str | None:
    return f"{value:.3g} > {most:g}" if value > most else None


def _under(value: float, least: float) -> str | None:
    return f"{value:.3g} < {least:g}" if value < least else None


def _broken_characters(text: Text, limits: Limits) -> str | None:
    return _over(text.signs.share(signs.LOST), limits["most"])


def _too_short(text: Text, limits: Limits) -> str | None:
    least = limits["least"].get(text.language or "other", limits["least"].get("other", 0))
    return _under(text.signs.counts[signs.HAN] if text.language == "zh" else text.signs.letters, least)


def _few_letters(text: Text, limits: Limits) -> str | None:
    counts = text.signs.counts
    return _under((text.signs.letters + counts[signs.ZH_MARK]) / text.signs.filled, limits["least"])


def _many_digits(text: Text, limits: Limits) -> str | None:
    return _over(text.signs.share(signs.DIGIT), limits["most"])


def _many_links(text: Text, limits: Limits) -> str | None:
    if "://" not in text.beginning and "www." not in text.beginning:
        return None
    return _over(sum(map(len, _URL.findall(text.beginning))) / len(text.beginning), limits["most"])


def _repetition(text: Text, limits: Limits) -> str | None:
    raw = text.beginning.encode("utf-8", "replace")
    return _over(len(raw) / len(zlib.compress(raw, 1)), limits["most"]) if len(raw) >= limits["from"] else None


def _repeated_lines(text: Text, limits: Limits) -> str | None:
    if len(text.lines) < limits["from"]:
        return None
    once = sum(map(len, set(text.lines)))
    return _over(1 - once / sum(map(len, text.lines)), limits["most"])


def _no_sentences(text: Text, limits: Limits) -> str | None:
    if len(text.lines) < limits["from"]:
        return None
    ended = sum(_SENTENCE_END.search(line[-8:]) is not None for line in text.lines)
    return _under(ended / len(text.lines), limits["least"])


def _other_language(text: Text, limits: Limits) -> str | None:
    if text.declared not in ("en", "zh"):
        return None
    kind = signs.HAN if text.declared == "zh" else signs.LATIN
    return _under(text.signs.of_letters(kind), limits["least"].get(text.declared, 0))


def _few_common_words(text: Text, limits: Limits) -> str | None:
    if text.language != "en" or len(text.words) < limits["from"]:
        return None
    return _under(len(_COMMON.intersection(word.lower() for word in text.words[:2000])), limits["least"])


def _odd_words(text: Text, limits: Limits) -> str | None:
    if text.language != "en" or len(text.words) < limits["from"]:
        return None
    mean = sum(map(len, text.words)) / len(text.words)
    return _under(mean, limits["least"]) or _over(mean, limits["most"])


def _few_function_words(text: Text, limits: Limits) -> str | None:
    return _per_han(text, len(_FUNCTION.findall(text.text)), limits)


def _no_punctuation(text: Text, limits: Limits) -> str | None:
    return _per_han(text, text.signs.counts[signs.ZH_MARK], limits)


def _per_han(text: Text, count: int, limits: Limits) -> str | None:
    han = text.signs.counts[signs.HAN]
    return _under(count / han, limits["least"]) if text.language == "zh" and han >= limits["from"] else None


def _spaced_out(text: Text, limits: Limits) -> str | None:
    han = text.signs.counts[signs.HAN]
    if text.language != "zh" or han < limits["from"]:
        return None
    return _over(len(_SPACED.findall(text.text)) / han, limits["most"])


RULES: dict[str, Rule] = {
    "broken_characters": _broken_characters,
    "other_language": _other_language,
    "too_short": _too_short,
    "few_letters": _few_letters,
    "many_digits": _many_digits,
    "many_links": _many_links,
    "few_function_words": _few_function_words,
    "no_punctuation": _no_punctuation,
    "spaced_out": _spaced_out,
    "few_common_words": _few_common_words,
    "odd_words": _odd_words,
    "repeated_lines": _repeated_lines,
    "no_sentences": _no_sentences,
    "repetition": _repetition,
}
"""In the order in which they are asked: the first that drops a text is the one it is counted under."""
