"""What a corpus is to be made of: files dropped or named, each with its text, language and weight; or the sample."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import streamlit as st
from pydantic import ValidationError

from core import operation
from core.errors import UserError
from core.launchers.corpus import Kind, Language, LookRequest, Source
from core.operation import Silent
from core.paths import ASSETS
from ui.i18n import t
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.pickers import keep_upload
from ui.parts.train_data import own_name

STATE = "data.sources"
SAMPLES: dict[str, tuple[Path, Language]] = {"sample-en": (ASSETS / "samples" / "corpus" / "en.jsonl", "en"),
           "sample-zh": (ASSETS / "samples" / "corpus" / "zh.jsonl", "zh")}  # fmt: skip
KINDS = ["jsonl", "ndjson", "json", "txt", "md", "parquet", "gz", "zst"]
TEXTS = ("content", "text", "body", "article", "document", "正文", "内容")
TITLES = ("title", "headline", "标题", "题目")


def sources_chooser() -> tuple[Source, ...]:
    """Draw the list; the sources that are complete, in their order."""
    made = [source for number, given in enumerate(list(_given())) if (source := _one(number, given)) is not None]
    _add()
    if not _given():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("Nothing at hand?"), width="content")
            if st.button(
                t("Sample: twelve English and twelve Chinese texts"), icon=":material/science:", key="data.sample"
            ):
                for name, (path, language) in SAMPLES.items():
                    add(str(path), name=name, language=language)
                st.rerun()
    if len({source.name for source in made}) < len(made):
        st.caption(f":red[:material/error:] {t('Each source needs a name of its own.')}")
        return ()
    return tuple(made) if len(made) == len(_given()) else ()


def add(path: str, *, name: str = "", language: Language = "auto") -> None:
    """Put a source on the list, its text guessed from the fields of its first row."""
    taken = {one["name"] for one in _given()}
    stem = name or re.sub(r"[^\w.-]+", "-", own_name(Path(path).name).split(".")[0]).strip("-.")[:50] or "source"
    free = next(one for number in range(1, 10_000) if (one := stem if number == 1 else f"{stem}-{number}") not in taken)
    number = st.session_state["data.number"] = st.session_state.get("data.number", 0) + 1
    given = {"id": number, "name": free, "path": path, "language": language, "text": guessed_text(path)}
    st.session_state[STATE] = [*_given(), given]


def guessed_text(path: str) -> str:
    """`{title}\\n{content}`, or whatever the fields are called there."""
    names = fields(path)
    text = next((name for name in TEXTS if name in names), names[0] if names else "text")
    title = next((name for name in TITLES if name in names), "")
    return f"{{{title}?}}\\n{{{text}}}" if title else f"{{{text}}}"


def fields(path: str) -> tuple[str, ...]:
    """The fields of the first row; none where it can't be read, which is said when it is looked at."""
    try:
        asked = LookRequest(sources=(Source(name="source", path=(path,), text="{text?}"),), documents=1)
        return operation.find("corpus look").run(asked, Silent()).sources[0].fields  # type: ignore[attr-defined, no-any-return]
    except (UserError, ValidationError, OSError):
        return ()


def _given() -> list[dict[str, Any]]:
    return st.session_state.setdefault(STATE, [])


def _one(number: int, given: dict[str, Any]) -> Source | None:
    key = f"data.source.{given['id']}"
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":material/table: **{plain(own_name(Path(given['path']).name))}**", width="stretch")
            if st.button("", icon=":material/close:", type="tertiary", key=f"{key}.drop", help=t("Take it out")):
                del _given()[number]
                st.rerun()
        name, language, weight = st.columns([2, 1, 1])
        values: dict[str, Any] = {"path": given["path"]}
        with name:
            values["name"] = st.text_input(t("Name"), given["name"], key=f"{key}.name", max_chars=64).strip()
        with language:
            values["language"] = _choice("language", Language, given["language"], f"{key}.language")
        with weight:
            values["weight"] = st.number_input(
                t("Weight"), min_value=0.01, value=1.0, step=0.5, key=f"{key}.weight", help=_help("weight")
            )
        text, more = st.columns([3, 1], vertical_alignment="bottom")
        with text:
            values["text"] = st.text_input(t("Text"), given["text"], key=f"{key}.text", help=_help("text"))
        with more, st.popover(t("More"), icon=":material/tune:"):
            values["format"] = _choice("format", Kind, "auto", f"{key}.format")
            values["documents"] = st.selectbox(
                t("Documents"),
                ["line", "file"],
                format_func=lambda one: {"line": t("a line each"), "file": t("a file each")}[one],
                key=f"{key}.documents",
                help=_help("documents"),
            )
            values["encoding"] = st.text_input(t("Encoding"), "utf-8", key=f"{key}.encoding", help=_help("encoding"))
    given |= {"name": values["name"]}
    try:
        return Source(**values)
    except UserError as error:
        show_error(error)
    except ValidationError as error:
        wrong = ", ".join(t(str(one["loc"][0]).capitalize()) for one in error.errors(include_url=False))
        st.caption(f":red[:material/error:] {t('This can not be used: {fields}', fields=plain(wrong))}")
    return None


def _choice(field: str, kind: Any, default: str, key: str) -> Any:
    options = list(get_args(kind))
    label = {"language": t("Language"), "format": t("Format")}[field]
    return st.selectbox(
        label, options, options.index(default), format_func=lambda one: _shown(one), key=key, help=_help(field)
    )


def _shown(choice: str) -> str:
    return {
        "auto": t("by itself"),
        "zh": t("Chinese"),
        "en": t("English"),
        "jsonl": t("JSON lines"),
        "txt": t("Text"),
        "parquet": "Parquet",
    }.get(choice, choice)


def _help(field: str) -> str:
    return t(Source.model_fields[field].description or "")


def _add() -> None:
    round_ = st.session_state.setdefault("data.round", 0)
    dropped = st.file_uploader(
        t("Files with texts"),
        type=KINDS,
        accept_multiple_files=True,
        key=f"data.upload.{round_}",
        help=t("JSON lines, text or Parquet, plain or packed (.gz, .zst); each becomes a source. Large ones by path."),
    )
    if dropped:
        with errors_shown():
            for one in dropped:
                try:
                    add(str(keep_upload(one)), name=re.sub(r"[^\w.-]+", "-", one.name.split(".")[0]).strip("-.")[:50])
                except OSError as error:
                    raise UserError(
                        "The file {name} could not be kept in the workspace: {why}.",
                        remedy="Free some space on that disk, or choose another workspace.",
                        name=one.name,
                        why=error.strerror or error,
                    ) from error
            st.session_state["data.round"] = round_ + 1  # an empty uploader for the next ones
            st.rerun()

    def named() -> None:
        place = st.session_state["data.path"].strip()
        if place:
            add(str(Path(place).expanduser()))
        st.session_state["data.path"] = ""

    st.text_input(
        t("…or a path: a file, a folder, or a pattern such as data/*.jsonl.zst"), key="data.path", on_change=named
    )
