"""Whether a model or its prompt saw a gold text: in training files, in its schema's examples, in the review's splits.

What a model was trained on is known where our trainer made it: its folder, or the training of its name in the
workspace, holds `request.json`, which names the files (and what it went on from). Texts are compared by their letters
and digits alone, so a text counts as seen however the prompt around it was written.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex

from core import models, paths
from core.errors import UserError
from core.extract import schema as schemas
from core.extract import tables
from core.extract.review import splits
from core.extract.schema import Schema

_REST = regex.compile(r"(?:\\[nrt]|[^\p{L}\p{N}])+")
_ESCAPED = regex.compile(r"\\u([0-9a-fA-F]{4})")
_WINDOW = 12
"""Letters that a text is looked for by; shorter texts are too common to say anything, and must be a whole cell."""
_READ = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
TRAININGS = "trainings"
REQUEST = "request.json"


@dataclass
class Seen:
    """`texts`: of each gold text that was seen, where. `known`: what was looked through; empty: nothing is known."""

    texts: dict[str, str] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)

    def add(self, texts: Iterable[str], where: str) -> None:
        for text in texts:
            self.texts.setdefault(text, where)


class Gold:
    """Gold texts, to be found inside others."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._by_letters: dict[str, list[str]] = {}
        for text in texts:
            self._by_letters.setdefault(letters(text), []).append(text)
        self._by_letters.pop("", None)
        self._windows: dict[str, list[str]] = {}
        for whole in self._by_letters:
            if len(whole) >= _WINDOW:
                self._windows.setdefault(whole[:_WINDOW], []).append(whole)

    def inside(self, text: str) -> Iterator[str]:
        """The gold texts that this one holds."""
        told = letters(text)
        if told in self._by_letters:
            yield from self._by_letters[told]
        for at in range(len(told) - _WINDOW + 1):
            for whole in self._windows.get(told[at : at + _WINDOW], ()):
                if len(whole) < len(told) and told.startswith(whole, at):
                    yield from self._by_letters[whole]


def letters(text: str) -> str:
    if "\\u" in text:  # JSON inside a prompt, as some programs write it
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return _REST.sub("", unicodedata.normalize("NFKC", text)).casefold()


def seen(texts: Iterable[str], provenance: Mapping[str, Any], files: Iterable[Path] = ()) -> Seen:
    """`provenance`: of a run's first row. `files`: training files that the model is said to have seen."""
    texts = list(texts)
    gold, found = Gold(texts), Seen()
    _given_away(texts, found)
    schema = schema_of(provenance)
    if schema is not None and provenance.get("examples"):
        found.known.append(f"examples of the schema {schema.name}")
        for example in schema.examples:
            found.add(gold.inside(example.text), f"examples of the schema {schema.name}")
    named = dict.fromkeys(_named(files))
    for folder in _trainings(str(provenance.get("model") or "")):
        named |= dict.fromkeys(_files_of(folder))
    for file in named:
        found.known.append(str(file))
        for text in _texts(file):
            found.add(gold.inside(text), file.name)
    return found


def _given_away(texts: Iterable[str], found: Seen) -> None:
    """Texts that the review gave to training or to prompts, for ever: no gold for any model."""
    hashes = {text: splits.text_hash(text) for text in texts}
    known = splits.known(hashes.values())
    for split in ("train", "few-shot"):
        found.add((text for text, hash in hashes.items() if known.get(hash) == split), f"split {split} of Review")


def _named(files: Iterable[Path]) -> Iterator[Path]:
    for file in files:
        if not file.exists():
            raise UserError("There is no file {path}.", remedy="Check the name and the folder.", path=file)
        yield from _inside(file)


def _inside(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(file for file in place.rglob("*") if file.suffix.lower() in _READ and file.is_file())
    return [place] if place.is_file() else []


def schema_of(provenance: Mapping[str, Any]) -> Schema | None:
    """The schema that the run was asked with, found by its hash among those that are here."""
    wanted = provenance.get("schema_hash")
    if not wanted:
        return None
    places = [*sorted(schemas.READY_MADE.glob("*.json")), *sorted((paths.workspace() / "schemas").glob("*.json"))]
    for place in places:
        try:
            known = schemas.load(place)
        except UserError:
            continue
        if known.hash == wanted:
            return known
    return None


def _trainings(ref: str) -> list[Path]:
    """Folders of trainings that made the model, the last one first."""
    if not ref or ref.startswith(("http://", "https://")):
        return []
    places = [paths.workspace() / TRAININGS / ref.split("/")[0]]
    try:
        path = models.resolve(ref).path
    except UserError:
        path = None
    if path is not None:
        folder = path if path.is_dir() else path.parent
        places += [folder, folder.parent, paths.workspace() / TRAININGS / folder.name]
    return [place for place in dict.fromkeys(places) if (place / REQUEST).is_file()]


def _files_of(folder: Path, depth: int = 0) -> Iterator[Path]:
    """The training files of a training, and of what it went on from."""
    try:
        asked = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(asked, dict):
        return
    data = asked.get("data")
    for place in data if isinstance(data, list) else []:
        yield from _inside(Path(str(place)))
    if depth < 8:
        if isinstance(adapter := asked.get("adapter"), str) and (Path(adapter) / REQUEST).is_file():
            yield from _files_of(Path(adapter), depth + 1)
        for earlier in _trainings(str(asked.get("base") or "")):
            if earlier != folder:
                yield from _files_of(earlier, depth + 1)


def _texts(file: Path) -> Iterator[str]:
    """Every text of every row, whatever its field."""
    try:
        for row in tables.rows(tables.layout_of(file)):
            yield from row.cells.values()
    except UserError:
        return  # a file that can't be read now; the training read what it could
