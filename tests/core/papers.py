"""Writes small document files as other programs do: PDFs with text in English and Chinese, Word documents."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def _cmap(chars: set[str]) -> bytes:
    codes = sorted(f"<{ord(char):04x}>" for char in chars)
    lists = [codes[start : start + 100] for start in range(0, len(codes), 100)]
    ranges = "\n".join(
        f"{len(some)} beginbfchar {' '.join(f'{code} {code}' for code in some)} endbfchar" for some in lists
    )
    return f"""/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def
1 begincodespacerange <0000> <FFFF> endcodespacerange
{ranges}
endcmap end end""".encode()


def pdf(
    path: Path, pages: Sequence[Sequence[str]], titles: Sequence[tuple[str, int]] = (), password: str | None = None
) -> Path:
    """A page a sequence of lines; a page without any is a picture's. `titles`: the outline, with pages from 0."""
    from pypdf import PdfWriter
    from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, NumberObject

    def name(**entries):
        return DictionaryObject({NameObject(f"/{key}"): value for key, value in entries.items()})

    writer = PdfWriter()
    cmap = DecodedStreamObject()
    cmap.set_data(_cmap({char for lines in pages for line in lines for char in line}))
    descendant = name(
        Type=NameObject("/Font"),
        Subtype=NameObject("/CIDFontType2"),
        BaseFont=NameObject("/X"),
        DW=NumberObject(1000),
        CIDSystemInfo=name(),
    )
    font = name(
        Type=NameObject("/Font"),
        Subtype=NameObject("/Type0"),
        BaseFont=NameObject("/X"),
        Encoding=NameObject("/Identity-H"),
        DescendantFonts=ArrayObject([writer._add_object(descendant)]),
        ToUnicode=writer._add_object(cmap),
    )
    shared = writer._add_object(font)
    for lines in pages:
        page = writer.add_blank_page(595, 842)
        page[NameObject("/Resources")] = name(Font=name(F=shared))
        drawn = ["BT /F 10 Tf 12 TL 50 800 Td"]
        drawn += [f"<{line.encode('utf-16-be').hex()}> Tj T*" for line in lines]
        content = DecodedStreamObject()
        content.set_data("\n".join([*drawn, "ET"]).encode())
        page[NameObject("/Contents")] = writer._add_object(content)
    for title, number in titles:
        writer.add_outline_item(title, number)
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    writer.write(path)
    return path


def docx(path: Path, body: str, styles: str = "", *, doctype: str = "") -> Path:
    """`body`: WordprocessingML inside w:body."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("[Content_Types].xml", "<Types/>")
        package.writestr("word/styles.xml", f'<w:styles xmlns:w="{W}">{styles}</w:styles>')
        package.writestr(
            "word/document.xml", f'{doctype}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
        )
    return path


def paragraph(text: str, style: str = "", *, listed: bool = False) -> str:
    about = f'<w:pStyle w:val="{style}"/>' if style else ""
    about += "<w:numPr/>" if listed else ""
    return f'<w:p><w:pPr>{about}</w:pPr><w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'
