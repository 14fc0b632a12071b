"""A corpus's files, found and cut into shards: ranges of plain files, row groups of Parquet, whole .gz and .zst."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from core.errors import UserError
from core.launchers.corpus import Source
from train.corpus import streams
from train.corpus.template import template

Format = Literal["jsonl", "txt", "parquet"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "txt",
    ".text": "txt",
    ".md": "txt",
    ".parquet": "parquet",
    ".pq": "parquet",
}
UNPACKED = 4
"""How many bytes of text are expected of a compressed byte; only estimates and the grouping of small files use it."""


@dataclass(frozen=True)
class Piece:
    """What of a file a shard reads: bytes [start, end) of a plain file, row groups of Parquet, else all of it."""

    file: str
    format: Format
    start: int
    end: int
    size: int
    """Bytes of text expected."""
    stamp: int
    """When the file was last changed: it must not be another one when it is read."""


@dataclass(frozen=True)
class Shard:
    """What a worker reads at a time: pieces of one source, in its order."""

    number: int
    source: int
    pieces: tuple[Piece, ...]

    @property
    def name(self) -> str:
        return f"{self.number:05d}"

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)

    def told(self) -> dict:
        return asdict(self)


def files_of(source: Source) -> list[tuple[Path, Format]]:
    """The source's files in a fixed order. Raises UserError: a path without files, or files of an unknown kind."""
    _check_encoding(source)
    template(source.text)
    found: dict[Path, Format] = {}
    for text in source.path:
        given = Path(text).expanduser()
        if given.is_dir():
            inside = (path for path in sorted(given.rglob("*")) if path.is_file())
            paths = [path for path in inside if source.format != "auto" or _by_name(path)]
        elif given.is_file():
            paths = [given]
        else:
            paths = sorted(path for path in _matching(given) if path.is_file())
        if not paths:
            raise UserError(
                "The source “{name}” has no files at {path}.",
                remedy="Correct its path, or take the source out.",
                name=source.name,
                path=text,
            )
        found |= {path.absolute(): _format(source, path) for path in paths}
    return list(found.items())


def shards(sources: tuple[Source, ...], most: int) -> list[Shard]:
    """All sources as shards of about `most` bytes of text each. Small files share a shard; packed ones stay whole."""
    made: list[Shard] = []
    for number, source in enumerate(sources):
        held: list[Piece] = []
        for piece in (piece for path, kind in files_of(source) for piece in _pieces(source, path, kind, most)):
            if held and sum(one.size for one in held) + piece.size > most:
                made.append(Shard(len(made), number, tuple(held)))
                held = []
            held.append(piece)
        if held:
            made.append(Shard(len(made), number, tuple(held)))
    return made


def is_unchanged(piece: Piece) -> bool:
    return Path(piece.file).stat().st_mtime_ns == piece.stamp


def _matching(pattern: Path) -> Iterator[Path]:
    """What a pattern such as data/**/*.jsonl.zst names."""
    steps = pattern.parts
    fixed = next((place for place, step in enumerate(steps) if any(sign in step for sign in "*?[")), None)
    if fixed is None:
        return iter(())
    return Path(*steps[:fixed]).glob("/".join(steps[fixed:]))


def _check_encoding(source: Source) -> None:
    try:
        safe = codecs.lookup(source.encoding) is not None and "\n".encode(source.encoding) == b"\n"
    except LookupError:
        safe = False
    if not safe:
        raise UserError(
            "The source “{name}” can't be read in the encoding {encoding}.",
            remedy="Use utf-8, gb18030, latin-1 or another one that writes a line break as one byte; convert UTF-16.",
            name=source.name,
            encoding=source.encoding,
        )


def _by_name(path: Path) -> Format | None:
    name = path.with_suffix("") if streams.compression(path) else path
    return FORMATS.get(name.suffix.lower())


def _format(source: Source, path: Path) -> Format:
    kind = _by_name(path) if source.format == "auto" else source.format
    if kind is None or (kind == "parquet" and streams.compression(path)):
        raise UserError(
            "{path} is of a kind that can't be read.",
            remedy="Say its format, or save it as JSON lines or text (plain, .gz or .zst), or as Parquet.",
            path=path,
        )
    return kind


def _pieces(source: Source, path: Path, kind: Format, most: int) -> Iterator[Piece]:
    status = path.stat()
    size, stamp, place = status.st_size, status.st_mtime_ns, str(path)
    if kind == "parquet":
        yield from (
            Piece(place, kind, first, last, bytes_, stamp) for first, last, bytes_ in _row_groups(path, size, most)
        )
    elif streams.compression(path):
        yield Piece(place, kind, 0, size, size * UNPACKED, stamp)
    elif source.documents == "file" and kind == "txt":
        yield Piece(place, kind, 0, size, size, stamp)
    else:
        cuts = [*range(0, max(size, 1), most), size]
        yield from (Piece(place, kind, start, end, end - start, stamp) for start, end in pairwise(cuts))


def _row_groups(path: Path, size: int, most: int) -> Iterator[tuple[int, int, int]]:
    """(first row group, the one after the last, bytes), about `most` bytes each."""
    import pyarrow.parquet as parquet

    try:
        metadata = parquet.ParquetFile(path).metadata
        sizes = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    except (OSError, ValueError):  # damaged: said when it is read
        yield 0, 0, size
        return
    first, held = 0, 0
    for number, bytes_ in enumerate(sizes):
        if held and held + bytes_ > most:
            yield first, number, held
            first, held = number, 0
        held += bytes_
    yield first, len(sizes), held


def told(made: list[Shard]) -> str:
    """The shards as they are written down, to be compared with those of a rerun."""
    return json.dumps([shard.told() for shard in made], ensure_ascii=False)
