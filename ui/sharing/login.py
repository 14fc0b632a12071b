"""The page that asks a visitor for the password: plain HTML, no scripts, nothing from elsewhere."""

from __future__ import annotations

import html

from ui.sharing.words import asked_for

_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font-family: system-ui, sans-serif; margin: 15vh auto; max-width: 22rem; padding: 0 1rem;
  color-scheme: light dark; color: CanvasText; background: Canvas }}
input, button {{ box-sizing: border-box; width: 100%; padding: .6rem; margin: .3rem 0; font: inherit }}
.wrong {{ color: #d55e00 }} small {{ opacity: .8 }}
</style></head><body><h1>{title}</h1>{wrong}
<form method="post" action="/login"><input type="hidden" name="username" value="visitor">
<label>{label}<input type="password" name="password" autocomplete="current-password" autofocus required></label>
<button>{enter}</button></form><small>{licence}</small></body></html>"""


def login_page(accept_language: str, state: str, *, language: str = "auto", title: str = "", licence: str = "") -> str:
    words = asked_for(accept_language, language)
    t = words.t
    wrong = f'<p class="wrong" role="alert">{html.escape(t("The password is wrong."))}</p>' if state == "wrong" else ""
    texts = {
        "title": title or "KnowLM Studio",
        "label": t("Password or token"),
        "enter": t("Enter"),
        "licence": t("Licence of the model: {licence}", licence=licence or t("not declared")),
    }
    return _PAGE.format(
        language=words.language, wrong=wrong, **{name: html.escape(text) for name, text in texts.items()}
    )
