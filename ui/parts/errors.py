"""Errors as a person reads them: what happened, what to do; the traceback stays in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

import streamlit as st

from core import paths
from core.errors import UserError
from ui.i18n import error_text, t

_log = logging.getLogger("knowlm.ui")


def show_error(error: UserError | Mapping) -> None:
    """The problem and its remedy, in the person's language."""
    problem, remedy = error_text(error)
    st.error(f"**{plain(problem)}**\n\n{plain(remedy)}", icon=":material/error:")


@contextmanager
def errors_shown() -> Iterator[None]:
    """A UserError inside is shown in place; whatever follows on the page is still drawn."""
    try:
        yield
    except UserError as error:
        show_error(error)


def show_unexpected(error: Exception) -> bool:
    """A calm message that names the log. Returns True: Streamlit draws no traceback of its own."""
    if isinstance(error, UserError):
        show_error(error)
        return True
    place = log_unexpected(error)
    st.error(
        f"**{t('Something went wrong on this page.')}**\n\n"
        + t(
            "Nothing that is running was stopped. Reload the page; if it comes back, the details are in {file}.",
            file=f"`{place}`",
        ),
        icon=":material/error:",
    )
    return True


def log_unexpected(error: Exception) -> Path:
    place = paths.workspace() / "app.log"
    handler = RotatingFileHandler(place, maxBytes=1_000_000, backupCount=1, encoding="utf-8", delay=True)
    try:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        handler.handle(
            _log.makeRecord(
                _log.name, logging.ERROR, "", 0, "page failed", (), (type(error), error, error.__traceback__)
            )
        )
    finally:
        handler.close()
    return place


def plain(text: str) -> str:
    """Text of a person, a model or a file as Markdown that shows it and does nothing else."""
    escaped = "".join("\\" + letter if letter in r"\`*_{}[]<>()#+-.!|~:$&" else letter for letter in text)
    return escaped.replace("\n", "  \n")
