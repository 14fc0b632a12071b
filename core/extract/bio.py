"""Token and tag files as entities with offsets: BIO, and what is called so (IOB1, BIOES, BILOU).

One token a line, its tag in the last column (tab or spaces between), a blank line between sentences.
The text is the tokens joined by a space. One reading serves all: an entity ends before a tag that
opens one (B, S, U), after a tag that closes one (E, L, S, U), and where the type changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from core.errors import UserError
from core.records import Entity, Extraction

_OPENS, _CLOSES, _INSIDE = frozenset("BSU"), frozenset("ELSU"), frozenset("IM")
Token = tuple[str, str]
"""A token and its tag."""


def is_bio(lines: Iterable[str]) -> bool:
    """Whether most of these lines look like a token and its tag."""
    fits = [_tag_fits(_cut(line)[1]) for line in lines if line.strip()]
    return 2 * sum(fits) > len(fits)


def read(lines: Iterable[str], path: Path) -> Iterator[Extraction]:
    """A row a sentence, without ids. Raises UserError for a line that is no token and tag."""
    sentence: list[Token] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            token, tag = _cut(line)
            if not token or not _tag_fits(tag):
                raise UserError(
                    "Line {line} of {path} is not a token and its tag: {found}",
                    remedy="Write the token, a tab, and O or a tag such as B-person.",
                    line=number,
                    path=path,
                    found=line.strip()[:80],
                )
            if token != "-DOCSTART-":  # noqa: S105 - CoNLL's mark between documents
                sentence.append((token, tag))
        elif sentence:
            yield _extraction(sentence)
            sentence = []
    if sentence:
        yield _extraction(sentence)


def _cut(line: str) -> Token:
    """The first column and the last. Only a tab, or spaces where there is none, part columns: tokens hold odd ones."""
    columns = [cell.strip(" \r\n") for cell in line.split("\t")] if "\t" in line else line.strip(" \r\n").split(" ")
    return (columns[0], columns[-1]) if len(columns) > 1 else ("", "")


def _tag_fits(tag: str) -> bool:
    return tag == "O" or (len(tag) > 2 and tag[1] in "-_" and tag[0] in _OPENS | _CLOSES | _INSIDE)


def _extraction(sentence: list[Token]) -> Extraction:
    text = " ".join(token for token, _ in sentence)
    return Extraction("", text, entities=tuple(_entities(sentence, text)))


def _entities(sentence: list[Token], text: str) -> Iterator[Entity]:
    at, start, end, kind = 0, 0, 0, ""  # kind "": outside
    for token, tag in sentence:
        letter, wanted = tag[0], tag[2:]
        if kind and (letter in _OPENS or wanted != kind):
            yield Entity(text[start:end], kind, start, end)
            kind = ""
        if wanted and not kind:
            start, kind = at, wanted
        end = at + len(token)
        if kind and letter in _CLOSES:
            yield Entity(text[start:end], kind, start, end)
            kind = ""
        at = end + 1
    if kind:
        yield Entity(text[start:end], kind, start, end)
