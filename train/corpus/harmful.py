"""Word lists of harmful content: files that a person can read and edit, each kind with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError

_KIND = re.compile(r"\[([\w-]{1,40})\]\s*(.*)")


@dataclass(frozen=True)
class WordList:
    """The phrases of one kind in one language; of Latin ones only whole words count."""

    kind: str
    why: str
    phrases: tuple[str, ...]

    def found(self, text: str, *, distinct: int, per_1000: float) -> str | None:
        """The phrases found, where there are enough different ones close enough together; else None."""
        lowered = text.lower()
        counts = {phrase: _count(phrase, lowered) for phrase in self.phrases if phrase in lowered}
        found = [phrase for phrase, count in counts.items() if count]
        total = sum(counts.values())
        if len(found) < distinct or total * 1000 < per_1000 * len(text):
            return None
        return ", ".join(found[:8])


def word_lists(folder: Path) -> tuple[WordList, ...]:
    """All lists of a folder's .txt files. Raises UserError: none, or a phrase before the first kind."""
    made = [one for path in sorted(folder.glob("*.txt")) for one in _read(path)]
    if not made:
        raise UserError(
            "There is no word list in {folder}.",
            remedy="Copy train/corpus/words there and edit its .txt files, or switch the rule off.",
            folder=folder,
        )
    return tuple(made)


def _read(path: Path) -> list[WordList]:
    made: list[tuple[str, str, list[str]]] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "The word list {file} can't be read: {why}.",
            remedy="Save it as UTF-8 text.",
            file=path,
            why=str(error)[:200],
        ) from error
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        if head := _KIND.fullmatch(line):
            made.append((head[1], head[2], []))
        elif made:
            made[-1][2].append(line.lower())
        else:
            raise UserError(
                "Line {line} of {file} belongs to no kind.",
                remedy="Write the kind in brackets above its phrases, and why it is left out: [gambling] advertising.",
                line=number,
                file=path,
            )
    return [WordList(kind, why, tuple(dict.fromkeys(phrases))) for kind, why, phrases in made if phrases]


def _count(phrase: str, text: str) -> int:
    if not phrase.isascii():
        return text.count(phrase)
    return len(re.findall(rf"(?<![a-z0-9]){re.escape(phrase)}(?![a-z0-9])", text))
