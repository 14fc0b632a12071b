"""The frame of every page, and the only list of pages."""

from __future__ import annotations

import streamlit as st

from core.paths import ASSETS
from ui.i18n import t

# A file: Material icons in the browser tab would be fetched from Google.
ICON = ASSETS / "icon.svg"


def pages() -> dict[str, list]:
    """Navigation groups, in the person's language. One line a page: file, name, icon."""
    return {
        t("Work"): [
            _page("home", t("Home"), ":material/home:"),
            _page("chat", t("Chat"), ":material/chat:"),
            _page("extract", t("Extract"), ":material/data_object:"),
            _page("review", t("Review"), ":material/rate_review:"),
            _page("graph", t("Graph"), ":material/hub:"),
            _page("evaluate", t("Evaluate"), ":material/fact_check:"),
        ],
        t("Models"): [
            _page("models", t("Models"), ":material/deployed_code:"),
            _page("recover", t("Recover"), ":material/healing:"),
            _page("train", t("Train"), ":material/model_training:"),
        ],
        t("System"): [
            _page("data", t("Data"), ":material/database:"),
            _page("jobs", t("Jobs"), ":material/checklist:"),
            _page("settings", t("Settings"), ":material/settings:"),
        ],
    }


def _page(name: str, title: str, icon: str) -> st.Page:
    return st.Page(f"views/{name}.py", title=title, icon=icon, url_path=name, default=name == "home")


def main() -> None:
    st.set_page_config(page_title="KnowLM Studio", page_icon=ICON, layout="wide")
    st.logo(ICON, size="large")
    page = st.navigation(pages(), expanded=True)
    page.run()  # what fails in it is shown by launch.py's on_script_error


main()
