"""Files that a person attaches, as text: any text file in whatever encoding, and Excel sheets as lines with tabs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract import tables
from core.extract.encodings import encoding_of
from core.inference.chat import File

TYPES = (
    *("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "xml", "html", "yaml", "yml", "toml", "ini", "log", "tex"),
    *("py", "js", "ts", "java", "c", "cpp", "h", "rs", "go", "sh", "sql", "ttl", "nt", "xlsx", "xlsm"),
)
LARGEST_MB = 20
"""More than any model's context holds; what really fits is counted in tokens before it is sent."""
_SHEETS = (".xlsx", ".xlsm")


def attached(dropped: Any) -> File:
    """Raises UserError for what is no text."""
    name = Path(dropped.name.replace("\\", "/")).name
    with tempfile.TemporaryDirectory(prefix="knowlm-attached-") as folder:
        path = Path(folder) / f"file{Path(name).suffix.lower()}"
        path.write_bytes(dropped.getvalue())
        text = _sheet(path) if path.suffix in _SHEETS else _text(path)
    if "\0" in text:
        raise UserError("{name} is not a text file.", remedy="Save it as text, and attach that.", name=name)
    if not text.strip():
        raise UserError("{name} is empty.", remedy="Attach a file with text in it.", name=name)
    return File(name, text)


def _text(path: Path) -> str:
    return path.read_text(encoding=encoding_of(path), errors="replace")


def _sheet(path: Path) -> str:
    layout = tables.layout_of(path)
    lines = [layout.columns] if layout.header else []
    lines += [tuple(row.cells.get(column, "") for column in layout.columns) for row in tables.rows(layout)]
    return "\n".join("\t".join(" ".join(cell.split()) for cell in line) for line in lines)
