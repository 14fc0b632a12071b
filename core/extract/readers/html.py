"""HTML: what a browser would show of a page: no scripts, no styles, nothing that is hidden by an attribute."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract.encodings import encoding_of
from core.extract.readers._paper import Paper, Writer

SUFFIXES = (".html", ".htm", ".xhtml")

_UNSEEN = frozenset(
    (
        *("head", "script", "style", "template", "noscript", "iframe", "object", "svg", "math", "canvas"),
        *("audio", "video", "select", "datalist", "textarea"),
    )
)
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div"),
        *("dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("header", "hgroup", "hr", "legend", "li", "main", "menu", "nav", "ol", "p", "pre", "section", "summary"),
        *("table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    )
)
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[a-zA-Z][\w-]*)")
_CLOSED_BY_OTHERS = frozenset(
    (
        *("p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "colgroup", "rt"),
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "path"),
    )
)
DEEPEST = 10_000
"""Elements inside one another; a page never has so many."""


def read(path: Path) -> Paper:
    raw = path.read_bytes()
    return _paper(raw.decode(_encoding(path, raw), "replace"), path)


def shown_text(markup: str) -> str:
    return _paper(markup, None).text


def _encoding(path: Path, raw: bytes) -> str:
    found = encoding_of(path)
    declared = _CHARSET.search(raw[:4096])
    if found.startswith("utf") or declared is None:  # marks and valid UTF-8 are surer than what a page says
        return found
    try:
        return codecs.lookup(declared.group(1).decode("ascii")).name
    except LookupError:
        return found


def _paper(markup: str, path: Path | None) -> Paper:
    from selectolax.lexbor import LexborHTMLParser

    _check_depth(markup, path)
    walk, depth = _Walk(), 0
    node: Any = LexborHTMLParser(markup).body
    while node is not None:
        opened = walk.enter(node)
        child = node.first_child if opened else None
        if child is not None:
            node, depth = child, depth + 1
            continue
        if opened:
            walk.leave(node.tag)
        while depth and node.next is None:
            node, depth = node.parent, depth - 1
            walk.leave(node.tag)
        node = node.next if depth else None
    return walk.end()


def _check_depth(markup: str, path: Path | None) -> None:
    """Raises UserError for what would take a parser the square of its depth; no page is like that."""
    depth = 0
    for tag in _TAG.finditer(markup):
        if tag["name"].lower() not in _CLOSED_BY_OTHERS:
            depth = max(0, depth - 1) if tag["end"] else depth + 1
        if depth > DEEPEST:
            raise UserError(
                "{path} nests its elements more than {limit} deep.",
                remedy="Save the page again from a browser, or as text.",
                path=path or "HTML",
                limit=DEEPEST,
            )


class _Walk:
    """Text gathers until a block starts or ends; a row's cells gather until the row does."""

    def __init__(self) -> None:
        self._out, self._text = Writer(), [""]
        self._level, self._bullet, self._pre = 0, "", 0
        self._rows: list[list[str]] = []
        self._first = True

    def enter(self, node: Any) -> bool:
        """Whether what is inside is to be read."""
        tag = node.tag
        if tag == "-text":
            self._text.append(node.text_content or "" if self._pre else _SPACE.sub(" ", node.text_content or ""))
            return False
        if tag in _UNSEEN or tag.startswith(("-", "_", "!")) or "hidden" in node.attributes:
            return False
        if tag in _BLOCKS:
            self._flush()
        if tag == "br":
            self._text.append("\n")
        elif tag == "img":
            self._text.append(_SPACE.sub(" ", node.attributes.get("alt") or ""))
        elif tag in _LEVELS:
            self._level = _LEVELS[tag]
        elif tag == "pre":
            self._pre += 1
        elif tag in ("ul", "ol", "table"):
            self._first = True
        elif tag == "li":
            self._bullet = "- "
        elif tag == "tr":
            self._rows.append([])
        return True

    def leave(self, tag: str) -> None:
        if tag in ("td", "th") and self._rows:
            self._rows[-1].append(self._taken())
        elif tag in _BLOCKS:
            self._flush()
        if tag == "tr" and self._rows:
            cells = self._rows.pop()
            if self._rows:  # a table inside a cell
                self._text.append(" | ".join(cell for cell in cells if cell) + "\n")
            else:
                self._out.row(cells, first=self._first)
                self._first = False
        elif tag in _LEVELS:
            self._level = 0
        elif tag == "pre":
            self._pre -= 1
        elif tag == "li":
            self._bullet = ""

    def end(self) -> Paper:
        self._flush()
        return self._out.paper()

    def _flush(self) -> None:
        if self._rows:  # blocks inside a cell are pieces of its text
            self._text.append(" ")
            return
        text = self._taken()
        if text:
            line = bool(self._bullet) and not self._first
            self._out.block(self._bullet + text, level=self._level, line=line)
            self._first, self._bullet = self._first and not self._bullet, ""

    def _taken(self) -> str:
        text = "".join(self._text)
        self._text = [""]
        if self._pre:
            return text.strip("\n")
        return "\n".join(_SPACE.sub(" ", line).strip() for line in text.split("\n")).strip()
