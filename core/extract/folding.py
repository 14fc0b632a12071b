"""What may differ between an answer's words and the text's, and how well the two fit nonetheless.

Two folds, each with the way back to the unfolded characters. `spelling`: case, width, composed or combining
accents, white space and invisible characters don't count. `loosely`: nor do traditional and simplified Chinese
characters, hyphens (a word broken at a line's end), the middle dots of names, and the kinds of quotes and stops.
Digits and letters always count: 1985 never stands for 1986.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from core.extract.script import simplified

_ALIKE = {ord(a): b for a, b in zip("“”„‟«»「」『』‘’‚‛′。、﹑", '""""""""""\'\'\'\'\'.,,', strict=True)}
_DROPPED = frozenset("-‐‑‒–—―−·•・‧∙⋅")
_INVISIBLE = frozenset(("Cf", "Cc", "Cs"))

# what a character costs of the fit where it differs; a whole word in capitals still fits by 0.9
_CASE, _SCRIPT, _GAP, _MARK = 0.1, 0.2, 0.1, 0.3


@dataclass(frozen=True, slots=True)
class Folded:
    """`origins[i]`: where the folded character i stood in the unfolded text."""

    text: str
    origins: tuple[int, ...]

    def places(self, words: Folded) -> list[tuple[int, int]]:
        """Where these words stand in the unfolded text, whole characters only, in order."""
        made, at = [], self.text.find(words.text) if words.text else -1
        while at >= 0:
            end = at + len(words.text)
            whole = at == 0 or self.origins[at - 1] != self.origins[at]
            if whole and (end == len(self.text) or self.origins[end] != self.origins[end - 1]):
                made.append((self.origins[at], self.origins[end - 1] + 1))
            at = self.text.find(words.text, at + 1)
        return made


def spelling(text: str) -> Folded:
    chars: list[str] = []
    origins: list[int] = []
    for position, char in enumerate(text):
        for folded in _spelled(char):
            chars.append(folded)
            origins.append(position)
    return Folded("".join(chars), tuple(origins))


def loosely(text: str) -> Folded:
    folded = spelling(text)
    chars = simplified(folded.text.translate(_ALIKE))
    kept = [number for number, char in enumerate(chars) if char not in _DROPPED]
    return Folded("".join(chars[number] for number in kept), tuple(folded.origins[number] for number in kept))


def fit(words: str, found: str) -> float:
    """How well an answer's words fit those found for them, in [0, 1]: 1.0 to the letter, less for each character
    in another case, width or script and for each gap or mark that one of them lacks."""
    if words == found:
        return 1.0
    one, other = loosely(words), loosely(found)
    if one.text != other.text or not one.text:
        return 0.0
    cost = 0.0
    for here, there in zip(one.origins, other.origins, strict=True):
        if words[here] != found[there]:
            cost += _CASE if _spelled(words[here]) == _spelled(found[there]) else _SCRIPT
    spaces = abs(words.count(" ") - found.count(" "))
    marks = abs(sum(char in _DROPPED for char in words) - sum(char in _DROPPED for char in found))
    cost += _GAP * spaces + _MARK * marks
    return round(min(0.99, max(0.0, 1 - cost / len(one.text))), 3)


@lru_cache(maxsize=8192)
def _spelled(char: str) -> str:
    if char.isascii():
        return "" if char <= " " else char.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    return "".join(one for one in folded if not one.isspace() and unicodedata.category(one) not in _INVISIBLE)
