"""The versions of a person's schema: what changed from one to another, and bringing one back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import streamlit as st

from core.errors import UserError
from core.extract.schema_diff import Change, diff
from core.extract.schema_versions import STAMP, Version, save_version, versions
from ui.i18n import t
from ui.parts.errors import plain, show_error
from ui.parts.labels import distinct

SIGNS = {"added": "green", "removed": "red", "renamed": "blue", "changed": "orange"}
ICONS = {
    "added": ":material/add:",
    "removed": ":material/remove:",
    "renamed": ":material/arrow_forward:",
    "changed": ":material/edit:",
}


def history(place: Path, restored: Callable[[Path], None]) -> None:
    """Open the versions of that file; `restored` gets its path when an older one is the newest again."""
    st.dialog(t("Versions of this schema"), width="large")(_history)(place, restored)


def _history(place: Path, restored: Callable[[Path], None]) -> None:
    known = versions(place)
    if len(known) < 2:
        st.info(t("There is one version so far. Each save makes another."), icon=":material/history:")
        return
    labels = distinct({str(one.path): f"{_when(one)} · {one.hash}" for one in known})
    left, right = st.columns(2)
    by_path = {str(one.path): one for one in known}
    older = left.selectbox(
        t("From"), list(labels), 1, format_func=lambda path: labels.get(path, path), key="schema_history.older"
    )
    newer = right.selectbox(
        t("To"), list(labels), 0, format_func=lambda path: labels.get(path, path), key="schema_history.newer"
    )
    try:
        changes(diff(by_path[older].schema, by_path[newer].schema))
        if by_path[older] != known[0] and st.button(
            t("Go back to the version of {when}", when=_when(by_path[older])),
            icon=":material/settings_backup_restore:",
            key="schema_history.restore",
            help=t("It becomes the newest version; nothing is lost."),
        ):
            save_version(by_path[older].schema, place)
            restored(place)
            st.rerun()
    except UserError as error:
        show_error(error)


def changes(made: Sequence[Change]) -> None:
    """A line a change: how, what, and the words before and after."""
    if not made:
        st.caption(t("No difference."))
    for one in made:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(_how(one), icon=ICONS[one.how], color=SIGNS[one.how])  # type: ignore[arg-type]
            st.markdown(f"{_what(one)} **{plain(one.name)}**", width="content")
            if one.how in ("renamed", "changed") and (one.before or one.after):
                st.caption(f"{plain(one.before or '–')} → {plain(one.after or '–')}")
            elif one.before or one.after:
                st.caption(plain(one.after or one.before))


def _how(one: Change) -> str:
    return {"added": t("added"), "removed": t("removed"), "renamed": t("renamed"), "changed": t("changed")}[one.how]


def _what(one: Change) -> str:
    return {
        "entity": t("Entity type"),
        "relation": t("Relation"),
        "attribute": t("Attribute"),
        "event": t("Event"),
        "role": t("Role"),
        "example": t("Example"),
        "language": t("Language"),
    }[one.what]


def _when(one: Version) -> str:
    return datetime.strptime(one.when, STAMP).strftime("%Y-%m-%d %H:%M:%S")
