"""Markdown: what a reader sees of it, without its signs."""

from __future__ import annotations

import re
from pathlib import Path

from core.extract.readers._paper import Paper, Writer
from core.extract.readers.html import shown_text
from core.extract.readers.plain import decoded

SUFFIXES = (".md", ".markdown")
_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\n---\r?\n", re.DOTALL)


def read(path: Path) -> Paper:
    from markdown_it import MarkdownIt

    text = _FRONT_MATTER.sub("", decoded(path).removeprefix("\ufeff"), count=1)
    out, level, bullet, first = Writer(), 0, "", True
    cells: list[str] | None = None
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        kind = token.type
        if kind == "heading_open":
            level = int(token.tag[1:])
        elif kind in ("bullet_list_open", "ordered_list_open", "table_open"):
            first = True
        elif kind == "list_item_open":
            bullet = f"{token.info}{token.markup} " if token.info else "- "
        elif kind == "tr_open":
            cells = []
        elif kind == "tr_close":
            out.row(cells or [], first=first)
            cells, first = None, False
        elif kind in ("fence", "code_block"):
            out.block(token.content.rstrip())
        elif kind == "html_block":
            out.block(shown_text(token.content))
        elif kind == "inline" and cells is not None:
            cells.append(_words(token))
        elif kind == "inline":
            out.block(bullet + _words(token), level=level, line=bool(bullet) and not first)
            first, level, bullet = first and not bullet, 0, ""
    return out.paper()


def _words(token) -> str:
    shown = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            shown.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            shown.append("\n")
        elif child.type == "image":
            shown.append(_words(child))
    return "".join(shown)
