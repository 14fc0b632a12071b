"""Small named things that a person keeps: one JSON file of the workspace, `{name: value}`, readable by them alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from filelock import FileLock

from core import paths
from core.errors import UserError
from core.inference.state import write_private

LONGEST_NAME = 60


@dataclass(frozen=True)
class Shelf:
    file: str

    def all(self) -> dict[str, Any]:
        """Raises UserError where the file can't be read; nothing of it is lost then."""
        path = paths.workspace() / self.file
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            kept = None
        if not isinstance(kept, dict):
            raise UserError(
                "{file} can't be read.", remedy="Correct it, or delete it: then there are only the ready-made ones.",
                file=path,
            )  # fmt: skip
        return kept

    def put(self, name: str, value: Any) -> str:
        """Keep a value under a name, in place of the one that had it; returns the name as it is kept."""
        name = " ".join(name.split())[:LONGEST_NAME]
        if not name:
            raise UserError("The name is empty.", remedy="Write a short name.")
        self._change(lambda kept: kept | {name: value})
        return name

    def remove(self, name: str) -> None:
        self._change(lambda kept: {other: value for other, value in kept.items() if other != name})

    def _change(self, change: Any) -> None:
        path = paths.workspace() / self.file
        with FileLock(f"{path}.lock"):
            text = json.dumps(change(self.all()), ensure_ascii=False, indent=2)
            try:
                write_private(path, text)
            except OSError as error:
                raise UserError(
                    "{file} can't be written: {why}",
                    remedy="Free some disk space, or check who may write there.",
                    file=path,
                    why=error.strerror or error,
                ) from error
