"""Which corpora a pretraining reads: those built by the app, or folders named by path; and each source's share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import streamlit as st

from core import paths
from core.errors import UserError
from core.launchers import corpora
from core.launchers.corpora import Corpora
from ui.i18n import t
from ui.parts.errors import plain, show_error

Part = Literal["corpus", "validation"]


def chosen(part: Part) -> tuple[Path, ...]:
    return tuple(Path(place) for place in st.session_state.get(_key(part), ()))


def choose(part: Part, folders: list[Path]) -> None:
    st.session_state[_key(part)] = [str(path) for path in dict.fromkeys(folders)]


def known() -> list[Path]:
    """Corpora of the workspace that hold token stores."""
    found = [folder for folder in sorted(paths.corpora().iterdir()) if folder.is_dir()]
    return [folder for folder in found if next(folder.rglob(f"*{corpora.SUFFIX}"), None) is not None]


def corpus_chooser() -> Corpora | None:
    """Draw it; what the chosen ones hold together, or None with the reason on the page."""
    _list("corpus")
    _add("corpus")
    if not chosen("corpus"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("Text files become a corpus on the Data page."), width="content")
            st.page_link("views/data.py", label=t("Build a corpus"), icon=":material/dataset:")
        return None
    try:
        return corpora.looked_at(chosen("corpus"))
    except UserError as error:
        show_error(error)
        return None


def validation_chooser() -> None:
    """Corpora that are only measured with; without any, rows of the others are kept aside."""
    with st.expander(t("Validation corpora of your own"), icon=":material/fact_check:"):
        st.caption(t("Never trained on; each source gets its perplexity. Without any, rows of each source are kept."))
        _list("validation")
        _add("validation")


def shares(data: Corpora) -> tuple[str, ...]:
    """Draw how much of each source a batch holds; NAME=SHARE, or nothing where sizes decide."""
    st.dataframe(
        [
            {t("Source"): name, t("rows"): rows, t("tokens"): data.tokens[name]}
            for name, rows in data.rows.items()
        ],
        hide_index=True,
    )  # fmt: skip
    st.caption(
        t(
            "Rows of up to {length} tokens, made with the tokenizer {name}.",
            length=f"{data.length:,}",
            name=plain(data.tokenizer or "–"),
        )
    )
    if len(data.rows) < 2 or not st.toggle(t("Choose the mix"), key="pretrain.mix", help=t("By size, if not chosen.")):
        return ()
    total = max(1, data.all_rows)
    made = []
    for name, rows in data.rows.items():
        share = st.number_input(
            plain(name),
            min_value=0.0,
            value=round(100 * rows / total, 1),
            step=1.0,
            format="%g",
            key=f"pretrain.share.{name}",
            help=t("Its part of every batch, in proportion to the others; 0 leaves it out"),
        )
        if share:
            made.append(f"{name}={share:g}")
    return tuple(made)


def _list(part: Part) -> None:
    for place in chosen(part):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":material/dataset: **{plain(place.name)}**", width="content")
            st.caption(plain(str(place.parent)), width="content")
            if st.button(
                "", icon=":material/close:", type="tertiary", key=f"{_key(part)}.drop.{place}", help=t("Take it out")
            ):
                choose(part, [other for other in chosen(part) if other != place])
                st.rerun()


def _add(part: Part) -> None:
    path, pick = f"{_key(part)}.path", f"{_key(part)}.pick"
    left = [folder.name for folder in known() if folder not in chosen(part)]

    def picked() -> None:
        if name := st.session_state[pick]:
            choose(part, [*chosen(part), paths.corpora() / name])
        st.session_state[pick] = None

    def named() -> None:
        place = st.session_state[path].strip()
        if place:
            choose(part, [*chosen(part), Path(place).expanduser()])
        st.session_state[path] = ""

    if left:
        st.selectbox(
            t("Add a corpus of this workspace"),
            left,
            None,
            key=pick,
            on_change=picked,
            placeholder=t("Choose one"),
        )
    st.text_input(t("…or the path of a folder with token stores on this machine"), key=path, on_change=named)


def _key(part: Part) -> str:
    return f"pretrain.{part}"
