"""The rows of an Excel sheet, streamed. A workbook is a package: it is looked at before anything is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from core.errors import UserError
from core.extract.readers.docx import check_package

# what openpyxl lets through of a workbook's parts: SyntaxError is the XML parser's
_BROKEN_WORKBOOK = (
    zipfile.BadZipFile,
    zlib.error,
    SyntaxError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    ValueError,
)


def sheets(path: Path, sheet: str | None) -> tuple[tuple[str, ...], str]:
    """(all that have rows, the one asked for or the first)."""
    book, page = _sheet(path, sheet)
    found = tuple(one.title for one in book.worksheets), page.title
    book.close()
    return found


def records(path: Path, sheet: str | None) -> Iterator[tuple[int, list[str]]]:
    """Raises UserError where the sheet's own file breaks off: what stands behind that can't be found."""
    book, page = _sheet(path, sheet)
    line = 0
    try:
        page.reset_dimensions()  # what other programs wrote there is often wrong
        for line, record in enumerate(page.iter_rows(values_only=True), start=1):
            cells = ["" if value is None else str(value) for value in record]
            if any(cell.strip() for cell in cells):
                yield line, cells
    except _BROKEN_WORKBOOK as error:
        raise UserError(
            "{path} is damaged: its sheet “{sheet}” breaks off after line {line}.",
            remedy="Save it again as .xlsx, or as CSV.",
            path=path,
            sheet=page.title,
            line=line,
        ) from error
    finally:
        book.close()


def _sheet(path: Path, sheet: str | None):
    """(open workbook, its sheet). Sheets that hold nothing but a chart have no rows and are passed over."""
    import openpyxl

    try:
        with zipfile.ZipFile(path) as package:
            check_package(package, path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        names = [page.title for page in book.worksheets]
    except _BROKEN_WORKBOOK as error:
        raise UserError(
            "{path} is not an Excel workbook.", remedy="Save it again as .xlsx, or as CSV.", path=path
        ) from error
    if not names:
        book.close()
        raise UserError("{path} has no sheet with rows.", remedy="Choose a workbook with a table in it.", path=path)
    if sheet and sheet not in names:
        book.close()
        raise UserError(
            "{path} has no sheet “{sheet}”.", remedy="It has: {names}.", path=path, sheet=sheet, names=", ".join(names)
        )
    return book, book[sheet or names[0]]
