"""The chat in a terminal: streamed, every setting changed while it runs, kept where the page keeps its conversations.

What is asked and answered goes to stdout, everything else to stderr, so that a pipe gets the answers alone.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from core.errors import UserError
from core.inference import client
from core.inference.chat_commands import COMMANDS, Left
from core.inference.chat_talk import Terminal, note

__all__ = ["Terminal", "converse", "take"]


def converse(terminal: Terminal) -> None:
    """Read lines and do them until /quit or the end of input."""
    note(f"{client.connect(terminal.model).model.title} · /help lists the commands, Ctrl-C stops an answer")
    for line in _lines():
        try:
            take(terminal, line)
        except Left:
            return
        except UserError as error:
            note(f"error: {error}")


def take(terminal: Terminal, line: str) -> None:
    """Do what a line says: a /command, or something to ask (`//` for one that starts with a slash)."""
    if not line.startswith("/") or line.startswith("//"):
        terminal.ask(line.removeprefix("/"))
        return
    word, _, rest = line.partition(" ")
    if word not in COMMANDS:
        raise UserError("There is no command “{line}”.", remedy="/help lists them.", line=line[:80])
    COMMANDS[word].run(terminal, rest.strip())


def _lines() -> Iterator[str]:
    """What is typed or piped in, without empty lines; a line that ends with a backslash goes on in the next."""
    live = sys.stdin.isatty()
    if live:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - editing and recalling lines
    elif hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    parts: list[str] = []
    while True:
        try:
            line = input(("… " if parts else "> ") if live else "")
        except EOFError:
            if text := "\n".join(parts).strip():
                yield text
            return
        except KeyboardInterrupt:
            if not live:
                raise
            parts = []
            note("\n/quit leaves.")
            continue
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        text, parts = "\n".join([*parts, line]).strip(), []
        if text:
            yield text
