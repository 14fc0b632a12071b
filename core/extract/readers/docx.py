"""Word documents: paragraphs, headings by their style, lists, tables; text that was deleted or is hidden left out.

The package is looked at before anything is unpacked, and read as a stream of XML events: no tree, no entities.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from core.errors import UserError
from core.extract.readers._paper import Paper, Writer

SUFFIXES = (".docx", ".docm")
BODY, STYLES = "word/document.xml", "word/styles.xml"
LARGEST_PART = 256 << 20
"""Bytes a part may have unpacked. The text of a 500-page book takes about 15 MB as XML."""
MOST_PACKED = 250
"""Times its packed size a part may have unpacked: XML is packed ten- to thirtyfold, a bomb thousandfold."""
SMALL = 4 << 20
"""Bytes below which no part is looked at for that."""
_BLOCK = 1 << 16
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
_FALLBACK = "http://schemas.openxmlformats.org/markup-compatibility/2006 Fallback"
_BROKEN = (zipfile.BadZipFile, zlib.error, expat.ExpatError, KeyError, EOFError, NotImplementedError, RuntimeError)
_OLD_CONTAINER = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""What old Word files start with, and new ones that are encrypted."""

Attributes = dict[str, str]


def read(path: Path) -> Paper:
    if _head(path) == _OLD_CONTAINER:
        raise UserError(
            "{path} is locked with a password, or in Word's old format.",
            remedy="Open it in a word processor and save it as .docx without a password.",
            path=path,
        )
    try:
        with zipfile.ZipFile(path) as package:
            check_package(package, path)
            styles = _Styles()
            if STYLES in package.namelist():
                with package.open(STYLES) as part:
                    _parse(part, styles.start, styles.end)
            body = _Body(styles.levels())
            with package.open(BODY) as part:
                _parse(part, body.start, body.end, body.text)
    except _BROKEN as error:
        raise UserError(
            "{path} is no Word document, or it is damaged.",
            remedy="Open it in a word processor and save it again as .docx.",
            path=path,
        ) from error
    return body.out.paper()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def check_package(package: zipfile.ZipFile, path: Path) -> None:
    """Raises UserError for a package that would unpack to more than a document ever is."""
    for part in package.infolist():
        packed = max(1, part.compress_size)
        if part.file_size > LARGEST_PART or (part.file_size > SMALL and part.file_size > MOST_PACKED * packed):
            raise UserError(
                "{path} would unpack to an implausible size ({size} MB of {packed} KB): it was not opened.",
                remedy="If you trust it, open it in the program it is from and save it again.",
                path=path,
                size=part.file_size >> 20,
                packed=packed >> 10,
            )


def _parse(part: IO[bytes], start: Callable, end: Callable, text: Callable | None = None) -> None:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = _no_doctype
    if text is not None:
        parser.CharacterDataHandler = text
    while block := part.read(_BLOCK):
        parser.Parse(block, False)
    parser.Parse(b"", True)


def _no_doctype(*_: Any) -> None:
    raise expat.ExpatError("a document type, which no Word document has")


def _local(name: str) -> str:
    """`p` for a paragraph of either namespace; "" for what is not WordprocessingML."""
    space, _, local = name.rpartition(" ")
    return local if space in (_W, _STRICT) else ""


def _value(attributes: Attributes, name: str = "val") -> str:
    return attributes.get(f"{_W} {name}") or attributes.get(f"{_STRICT} {name}") or ""


class _Styles:
    """Which styles are headings: by their outline level, by their English name, or by the style they are based on."""

    def __init__(self) -> None:
        self._current = ""
        self._level: dict[str, int] = {}
        self._based: dict[str, str] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        local = _local(name)
        if local == "style":
            self._current = _value(attributes, "styleId")
        elif not self._current:
            return
        elif local == "name":
            words = _value(attributes).lower().split()
            if words == ["title"]:
                self._level[self._current] = 1
            elif len(words) == 2 and words[0] == "heading" and words[1].isdigit():
                self._level[self._current] = int(words[1])
        elif local == "outlineLvl" and _value(attributes).isdigit() and int(_value(attributes)) < 9:
            self._level.setdefault(self._current, int(_value(attributes)) + 1)
        elif local == "basedOn":
            self._based[self._current] = _value(attributes)

    def end(self, name: str) -> None:
        if _local(name) == "style":
            self._current = ""

    def levels(self) -> dict[str, int]:
        found = dict(self._level)
        for style in self._based:
            over, seen = style, set()
            while over not in found and over in self._based and over not in seen:
                seen.add(over)
                over = self._based[over]
            if over in found:
                found[style] = found[over]
        return found


class _Body:
    def __init__(self, levels: dict[str, int]) -> None:
        self.out = Writer()
        self._levels = levels
        self._text: list[str] = []
        self._reading = self._hidden = self._listed = self._after_item = False
        self._level = 0
        self._skipped = 0
        self._tables: list[list[str]] = []
        """Of each open table the cells of the open row."""
        self._cells: list[list[str]] = []
        self._first = True

    def start(self, name: str, attributes: Attributes) -> None:
        local = _local(name)
        if self._skipped or name == _FALLBACK or local in ("del", "moveFrom"):
            self._skipped += 1
        elif local == "p":
            self._level, self._listed = 0, False
        elif local == "pStyle":
            self._level = self._levels.get(_value(attributes), 0)
        elif local == "outlineLvl" and _value(attributes).isdigit():
            self._level = int(_value(attributes)) + 1 if int(_value(attributes)) < 9 else 0
        elif local == "numPr":
            self._listed = True
        elif local == "r":
            self._hidden = False
        elif local == "vanish" and _value(attributes) not in ("0", "false"):
            self._hidden = True
        elif local == "t":
            self._reading = not self._hidden
        elif local in ("tab", "ptab") and not attributes:  # a tab stop's definition has attributes
            self._text.append("\t")
        elif local in ("br", "cr"):
            self._text.append("\n")
        elif local == "noBreakHyphen":
            self._text.append("-")
        elif local == "tbl":
            self._tables.append([])
            self._first = len(self._tables) == 1 or self._first
        elif local == "tr" and self._tables:
            self._tables[-1] = []
        elif local == "tc":
            self._cells.append([])

    def text(self, data: str) -> None:
        if self._reading and not self._skipped:
            self._text.append(data)

    def end(self, name: str) -> None:
        local = _local(name)
        if self._skipped:
            self._skipped -= 1
        elif local == "t":
            self._reading = False
        elif local == "p":
            self._paragraph("".join(self._text))
            self._text = []
        elif local == "tc" and self._cells and self._tables:
            self._tables[-1].append(" ".join(self._cells.pop()))
        elif local == "tr" and self._tables:
            self._row(self._tables[-1])
        elif local == "tbl" and self._tables:
            self._tables.pop()

    def _paragraph(self, text: str) -> None:
        if self._cells:
            self._cells[-1].append(text)
            return
        item = self._listed and not self._level and bool(text.strip())
        self.out.block(("- " if item else "") + text.strip(), level=self._level, line=item and self._after_item)
        self._after_item = item

    def _row(self, cells: list[str]) -> None:
        if self._cells:  # a table inside a cell
            self._cells[-1].append(" | ".join(cell for cell in cells if cell.strip()))
            return
        self.out.row(cells, first=self._first)
        self._first = self._after_item = False
