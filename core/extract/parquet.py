"""The rows of a Parquet file, row group by row group, a few hundred at a time; only the columns that are wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import UserError

ROWS = 500  # decoded at once
_BUFFER = 1 << 20  # bytes of a column read at once: row groups may be larger than the memory


def columns(path: Path) -> tuple[str, ...]:
    with _open(path) as file:
        return tuple(file.schema_arrow.names)


def count(path: Path) -> int:
    with _open(path) as file:
        return file.metadata.num_rows


def rows(path: Path, only: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    with _open(path) as file:
        for batch in file.iter_batches(batch_size=ROWS, columns=list(only) if only is not None else None):
            yield from batch.to_pylist()


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Raises UserError, also where the file breaks off later."""
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            "{path} is not a Parquet file, or it is damaged ({why}).",
            remedy="Write it again, or save the table as CSV.",
            path=path,
            why=str(error).splitlines()[0][:200],
        ) from error
