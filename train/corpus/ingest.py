"""A shard's rows, one after the other: each with its place, its size in the file, and its text or why it has none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.launchers.corpus import Source
from train.corpus import sources, streams
from train.corpus.sources import Piece
from train.corpus.streams import BrokenOff
from train.corpus.template import MissingField, Template, template

ROWS = 64
"""Rows of Parquet that are held at a time."""


@dataclass(frozen=True, slots=True)
class Row:
    """`size`: bytes in its file; in Parquet, of the fields that are read. `bad`: why it is no document, or ""."""

    file: str
    offset: int
    size: int
    text: str
    bad: str = ""
    told: str = ""
    broken_bytes: bool = False
    """Whether bytes that are no text in its encoding were replaced by U+FFFD."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a piece held, measured where it was read, not row by row."""

    file: str
    bytes: int
    rows: int
    damage: UserError | None = None


def rows(source: Source, piece: Piece, limit: int) -> Iterator[Row | Read]:
    """All rows of a piece, then what was read of it. A damaged file ends early, and its Read says so."""
    made = template(source.text)
    path = Path(piece.file)
    try:
        changed = not sources.is_unchanged(piece)
    except OSError as error:
        yield Read(piece.file, 0, 0, streams.unreadable(path, error))
        return
    if changed:
        raise UserError(
            "{path} was changed while the corpus was built.",
            remedy="Let it be, then build into a new folder.",
            path=path,
        )
    if piece.format == "parquet":
        yield from _parquet(path, piece, made)
    elif piece.format == "txt" and source.documents == "file":
        yield from _file(path, source, limit, made)
    else:
        yield from _lines(path, source, piece, limit, made)


def fields(path: Path, format: str, encoding: str) -> list[str]:
    """The fields of a file's first row that can be read, for a person to choose from."""
    if format == "parquet":
        import pyarrow.parquet as parquet

        return list(parquet.read_schema(path).names)
    if format == "txt":
        return ["text"]
    for number, line in enumerate(streams.lines(streams.blocks(path), 1 << 20)):
        row = _row(line.raw or b"", encoding)
        if isinstance(row, dict):
            return list(map(str, row))
        if number > 100:
            break
    return []


def _lines(path: Path, source: Source, piece: Piece, limit: int, made: Template) -> Iterator[Row | Read]:
    packed = bool(streams.compression(path))
    begin = 0 if packed else streams.first_line_at(path, piece.start, piece.end)
    seen, count, damage = 0, 0, None
    if begin is not None:
        counted = _Counted(streams.blocks(path, begin))
        try:
            for line in streams.lines(counted, limit, begin):
                if not packed and line.offset >= piece.end:
                    break
                count += 1
                seen = line.offset + line.size - begin
                yield _of_line(piece, line, source.encoding, made)
        except BrokenOff as error:
            damage = error.why
        if packed:  # what was unpacked is measured apart from the lines that it was cut into
            seen = counted.bytes
    yield Read(piece.file, seen, count, damage)


class _Counted:
    """Blocks on their way, counted."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._source:
            self.bytes += len(block)
            yield block


def _of_line(piece: Piece, line: streams.Line, encoding: str, made: Template) -> Row:
    place = (piece.file, line.offset, line.size)
    if line.cut:
        return Row(*place, "", "cut_off")
    if line.raw is None:
        return Row(*place, "", "too_long", f"{line.size:,} bytes")
    raw = line.raw.rstrip(b"\r")
    if line.offset == 0:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if not raw.strip():
        return Row(*place, "", "empty")
    text, broken = _decoded(raw, encoding)
    if piece.format == "txt":
        return _filled(place, {"text": text}, made, broken)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Row(*place, text[:2000], "not_json", str(error)[:200], broken)
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, dict):
        return Row(*place, text[:2000], "not_json", type(row).__name__, broken)
    return _filled(place, row, made, broken)


def _filled(place: tuple[str, int, int], row: Mapping[str, Any], made: Template, broken: bool) -> Row:
    try:
        text = made.fill(row)
    except MissingField as error:
        shown = json.dumps(row, ensure_ascii=False, default=str)[:2000]
        return Row(*place, shown, "missing_field", str(error), broken)
    return Row(*place, text, "" if text else "empty", "", broken)


def _decoded(raw: bytes, encoding: str) -> tuple[str, bool]:
    try:
        return raw.decode(encoding), False
    except UnicodeDecodeError:
        return raw.decode(encoding, "replace"), True


def _row(raw: bytes, encoding: str) -> Any:
    try:
        return json.loads(raw.removeprefix(b"\xef\xbb\xbf").decode(encoding, "replace"))
    except (ValueError, RecursionError):
        return None


def _file(path: Path, source: Source, limit: int, made: Template) -> Iterator[Row | Read]:
    """A whole text file as one document."""
    held: list[bytes] = []
    seen, damage = 0, None
    try:
        for block in streams.blocks(path):
            seen += len(block)
            held = [*held, block] if seen <= limit else []
    except BrokenOff as error:
        damage = error.why
    place = (str(path), 0, seen)
    if damage is not None:
        yield Row(*place, "", "cut_off")
    elif seen > limit:
        yield Row(*place, "", "too_long", f"{seen:,} bytes")
    else:
        text, broken = _decoded(b"".join(held).removeprefix(b"\xef\xbb\xbf"), source.encoding)
        yield _filled(place, {"text": text}, made, broken)
    yield Read(str(path), seen, 1, damage)


def _parquet(path: Path, piece: Piece, made: Template) -> Iterator[Row | Read]:
    """Offsets are row numbers within the piece's row groups; a row's size is that of its strings as UTF-8."""
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    seen, count, damage = 0, 0, None
    try:
        # memory_map and pre_buffer off: pages come one by one, whatever a row group's size
        file = parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        names = [name for name in file.schema_arrow.names if name in made.fields or "." in "".join(made.fields)]
        groups = list(range(piece.start, piece.end))
        before = sum(file.metadata.row_group(number).num_rows for number in range(piece.start))
        for batch in file.iter_batches(batch_size=ROWS, row_groups=groups, columns=names):
            for name in names:
                column = batch.column(name)
                if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
                    seen += compute.sum(compute.binary_length(column)).as_py() or 0
            for row in batch.to_pylist():
                size = sum(len(value.encode("utf-8", "replace")) for value in row.values() if isinstance(value, str))
                yield _filled((piece.file, before + count, size), row, made, False)
                count += 1
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are of these
        damage = UserError(
            "{path} is damaged: it breaks off after row {count} ({why}).",
            remedy="What stands before that was read. Fetch the file again and build anew to have the rest.",
            path=path,
            count=count,
            why=" ".join(str(error).split())[:200],
        )
    yield Read(piece.file, seen, count, damage)
