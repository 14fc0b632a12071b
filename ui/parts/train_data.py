"""Which files a training reads: dropped, named by path, or the example; shown as a list that can be shortened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from core import resources
from core.errors import UserError
from core.paths import ASSETS
from ui.i18n import error_text, t
from ui.parts.errors import plain, show_error
from ui.parts.pickers import keep_upload

EXAMPLE = ASSETS / "samples" / "train_example.jsonl"
KINDS = ["json", "jsonl", "ndjson", "csv", "tsv"]
KEPT = re.compile(r"\b[0-9a-f]{16}-(?=\S)")
Part = Literal["data", "validation"]


def chosen(part: Part) -> tuple[Path, ...]:
    return tuple(Path(place) for place in st.session_state.get(_key(part), ()))


def is_example() -> bool:
    return chosen("data") == (EXAMPLE,)


def data_chooser() -> None:
    _list("data")
    _add("data")
    if not chosen("data"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("Nothing at hand?"), width="content")
            if st.button(
                t("Example: 30 sentences with their relations"), icon=":material/science:", key="train.example"
            ):
                choose("data", [EXAMPLE])
                st.rerun()


def validation_chooser() -> None:
    """Files that are only measured with; without any, a share of the data is kept aside."""
    with st.expander(t("Validation files of your own"), icon=":material/fact_check:"):
        st.caption(
            t("Rows that are never trained on and tell whether training helped. Without files, a share is kept aside.")
        )
        _list("validation")
        _add("validation")


def choose(part: Part, files: list[Path]) -> None:
    st.session_state[_key(part)] = [str(path) for path in dict.fromkeys(files)]


def _list(part: Part) -> None:
    for place in chosen(part):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            icon = ":material/folder:" if place.is_dir() else ":material/table:"
            st.markdown(f"{icon} **{plain(own_name(place.name))}**", width="content")
            st.caption(_facts(place), width="content")
            if st.button(
                "", icon=":material/close:", type="tertiary", key=f"{_key(part)}.drop.{place}", help=t("Take it out")
            ):
                choose(part, [other for other in chosen(part) if other != place])
                st.rerun()


def _add(part: Part) -> None:
    round_ = st.session_state.setdefault(f"{_key(part)}.round", 0)
    dropped = st.file_uploader(
        t("Files with training rows") if part == "data" else t("Files with validation rows"),
        type=KINDS,
        accept_multiple_files=True,
        key=f"{_key(part)}.upload.{round_}",
        help=t(
            "Alpaca (instruction, input, output), ShareGPT, OpenAI messages, IEPile, InstructIE, prompt and "
            "completion, or your own records. JSON, JSON lines or CSV; it stays on this machine."
        ),
    )
    if dropped:
        try:
            choose(part, [*chosen(part), *(keep_upload(one) for one in dropped)])
        except OSError as error:
            show_error(
                UserError(
                    "The file {name} could not be kept in the workspace: {why}.",
                    remedy="Free some space on that disk, or choose another workspace.",
                    name=", ".join(one.name for one in dropped),
                    why=error.strerror or error,
                )
            )
            return
        st.session_state[f"{_key(part)}.round"] = round_ + 1  # an empty uploader for the next ones
        st.rerun()
    path = f"{_key(part)}.path"

    def named() -> None:
        place = st.session_state[path].strip()
        if place:
            choose(part, [*chosen(part), Path(place).expanduser()])
        st.session_state[path] = ""

    st.text_input(t("…or the path of a file or folder on this machine"), key=path, on_change=named)


def own_name(name: str) -> str:
    """A dropped file's own name, without the hash under which it is kept; also in `NAME:LINE`."""
    return KEPT.sub("", name)


def why(where: str, why: dict[str, Any]) -> str:
    """Why a row was refused (a UserError's `to_dict()`), and the remedy; without the place, which stands beside it."""
    problem, remedy = error_text(why)
    return f"{problem.removeprefix(where).lstrip(':： ')} {remedy}"


def _facts(place: Path) -> str:
    if place == EXAMPLE:
        return t("30 rows, made for this app")
    if place.is_dir():
        return t("folder")
    try:
        return resources.size(place.stat().st_size)
    except OSError:
        return f":red[{t('not there')}]"


def _key(part: Part) -> str:
    return f"train.{part}"
