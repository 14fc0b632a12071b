"""The machines of a training: a hostfile as DeepSpeed and MPI read it, or a plain list of names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError

_NAME = re.compile(r"([A-Za-z0-9_-]+@)?[A-Za-z0-9_.:-]*[A-Za-z0-9_]")
_WRITE = "Write one machine a line: its name, then slots= and its number of GPUs, such as “node-1 slots=8”."


@dataclass(frozen=True)
class Node:
    """One machine: `slots` processes of the training run on it; None until preflight has counted its GPUs."""

    name: str
    slots: int | None = None
    cores: int | None = None
    """Processors, None where not known."""

    @property
    def address(self) -> str:
        """The name without a user's: what other machines connect to."""
        return self.name.rpartition("@")[2]


def read(file: Path) -> tuple[Node, ...]:
    """The machines in the file's order, the first of which starts the training. Raises UserError by line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            "The hostfile {file} can't be read: {why}.", remedy=_WRITE, file=file, why=error.strerror
        ) from error
    except UnicodeDecodeError as error:
        raise UserError("The hostfile {file} is not text in UTF-8.", remedy=_WRITE, file=file) from error
    found: dict[str, tuple[int, Node]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        node = _node(words)
        if node is None:
            raise UserError("Line {line} of {file} is no machine: “{text}”.", remedy=_WRITE,
                            line=number, file=file, text=line.strip()[:100])  # fmt: skip
        if node.address in found:
            raise UserError(
                "Line {line} of {file} names {name} again; it stands in line {first} already.",
                remedy="Name each machine once, and give its number of processes with slots=.",
                line=number,
                file=file,
                name=node.address,
                first=found[node.address][0],
            )
        found[node.address] = (number, node)
    if not found:
        raise UserError("The hostfile {file} names no machine.", remedy=_WRITE, file=file)
    return tuple(node for _, node in found.values())


def _node(words: list[str]) -> Node | None:
    name, *rest = words
    # a leading dash would be read as an option by ssh
    if not _NAME.fullmatch(name) or name.startswith("-"):
        return None
    if not rest:
        return Node(name)
    slots = re.fullmatch(r"slots=([1-9][0-9]{0,3})", rest[0])
    return Node(name, int(slots[1])) if slots and len(rest) == 1 else None
