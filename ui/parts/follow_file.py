"""The rows of a file of JSON lines that grows; read anew only where it has."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

Rows = tuple[dict[str, Any], ...]


def rows_of(file: Path) -> Rows:
    """Rows with a step; a line that is just being written is left out."""
    try:
        state = file.stat()
    except OSError:
        return ()
    return _rows(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _rows(file: Path, _changed: int, _size: int) -> Rows:
    made = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
                float(row["step"])
            except (ValueError, KeyError, TypeError):
                continue
            made.append(row)
    return tuple(made)
