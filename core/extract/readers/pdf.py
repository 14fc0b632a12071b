"""PDF: the text of its pages, put together from printed lines; pages that are pictures or broken are counted."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.extract.readers import _lines
from core.extract.readers._paper import Paper

SUFFIXES = (".pdf",)


def read(path: Path) -> Paper:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # each oddity of a file would be a line of the job's log
    with path.open("rb") as file:
        try:
            reader = PdfReader(file)
            # many files are encrypted only against changes, and open with no password
            if reader.is_encrypted and not reader.decrypt(""):
                raise FileNotDecryptedError
            count = len(reader.pages)
        except (FileNotDecryptedError, DependencyError) as error:
            raise UserError(
                "{path} is locked with a password.",
                remedy="Open it with its password and save or print it as a PDF without one.",
                path=path,
            ) from error
        except (PyPdfError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise UserError(
                "{path} is no PDF, or it is damaged.",
                remedy="Open it in a PDF viewer and print it as a new PDF.",
                path=path,
            ) from error
        texts, unread = [], []
        for number in range(count):
            try:
                texts.append(reader.pages[number].extract_text().replace("\0", ""))
            except Exception:  # noqa: BLE001 pypdf raises whatever a broken page leads it to
                texts.append("")
                unread.append(number + 1)
        titles = _titles(reader)
    made = _lines.flow(texts, titles)
    empty = tuple(number for number, text in enumerate(texts, 1) if not text.strip() and number not in unread)
    return replace(made, empty_pages=empty, unread_pages=tuple(unread))


def _titles(reader: Any) -> dict[int, dict[str, int]]:
    """Of each page, counted from 0, the headings that the file's outline names, folded, with their levels."""
    found: dict[int, dict[str, int]] = {}
    try:
        waiting = [(entry, 1) for entry in reader.outline]
        while waiting:
            entry, level = waiting.pop()
            if isinstance(entry, list):
                waiting += [(one, level + 1) for one in entry]
            elif (page := reader.get_destination_page_number(entry)) is not None:
                found.setdefault(page, {})[_lines.folded(str(entry.title))] = level
    except Exception:  # noqa: BLE001 an outline is worth no page
        return found
    return found
