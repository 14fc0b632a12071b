"""Texts of the shared page: in the visitor's language, told by the browser or by the request."""

from __future__ import annotations

import hashlib
import html

from core.errors import UserError
from ui.i18n import chinese


class Words:
    """`t` in one language."""

    def __init__(self, language: str) -> None:
        self.language = language

    def t(self, text: str, /, **values: object) -> str:
        template = chinese().get(text, text) if self.language == "zh" else text
        return template.format(**values) if values else template

    def error(self, error: UserError) -> str:
        return f"{self.t(error.problem).format(**error.values)} {self.t(error.remedy).format(**error.values)}"


def asked_for(header: str, forced: str = "auto") -> Words:
    """The words for an Accept-Language header, unless the page has one language."""
    if forced != "auto":
        return Words(forced)
    first = header.split(",")[0].strip().lower()
    return Words("zh" if first.startswith("zh") else "en")


class Labels:
    """Texts that the browser chooses the language of; Gradio takes them all at once, as `tables`."""

    LOCALES = ("en", "zh", "zh-CN", "zh-TW")

    def __init__(self, forced: str = "auto") -> None:
        self._forced = forced
        self.tables: dict[str, dict[str, str]] = {locale: {} for locale in self.LOCALES}

    def key(self, text: str, **values: object) -> str:
        """The key under which `tables` has the text. A hash: Gradio reads dots as levels."""
        name = "k" + hashlib.sha256(f"{text}{sorted(values.items())}".encode()).hexdigest()[:16]
        for locale, table in self.tables.items():
            language = self._forced if self._forced != "auto" else locale[:2]
            table[name] = Words(language).t(text, **values)
        return name


def harmless(text: str) -> str:
    """For Gradio's notices, which read HTML."""
    return html.escape(text, quote=False)
