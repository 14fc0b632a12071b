"""The frame of every page, and the only list of pages."""

from __future__ import annotations

import streamlit as st

from ui.i18n import t
from ui.parts.errors import show_unexpected


def pages() -> dict[str, list]:
    """Navigation groups, in the person's language. One line a page: file, name, icon."""
    return {
        t("Work"): [
            _page("home", t("Home"), ":material/home:"),
            _page("chat", t("Chat"), ":material/chat:"),
            _page("extract", t("Extract"), ":material/data_object:"),
            _page("graph", t("Graph"), ":material/hub:"),
        ],
        t("Models"): [
            _page("models", t("Models"), ":material/deployed_code:"),
        ],
        t("System"): [
            _page("jobs", t("Jobs"), ":material/checklist:"),
            _page("settings", t("Settings"), ":material/settings:"),
        ],
    }


def _page(name: str, title: str, icon: str) -> st.Page:
    return st.Page(f"views/{name}.py", title=title, icon=icon, url_path=name, default=name == "home")


def main() -> None:
    st.set_page_config(page_title="KnowLM Studio", page_icon=":material/hub:", layout="wide")
    page = st.navigation(pages(), expanded=True)
    try:
        page.run()
    except Exception as error:  # noqa: BLE001 a page that fails says so calmly; the log has the rest
        show_unexpected(error)


main()
