"""How the model is asked: dialect, examples, wording, words of one's own; and the exact prompt with its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from core.errors import UserError
from core.extract import asking, calls, dialects
from core.extract.calls import Options
from core.extract.prompt_run import prompts
from core.extract.schema import Schema
from core.inference import client
from core.models import Model
from ui.i18n import t
from ui.parts.errors import plain, show_error
from ui.parts.schema_choice import SchemaChoice, task_name

SHOWN = 4_000
"""Characters of the text that the preview reads."""


def asking_form(text: Callable[[], str], schema: SchemaChoice | None, model: Model) -> Options:
    """Folded until wanted: the controls, then what will be sent. `text` gives a text to show it with."""
    box = st.expander(t("How the model is asked"), icon=":material/terminal:", key="extract.asking", on_change="rerun")
    if schema is None:
        return _chosen(None, model)
    with box:
        options = _chosen(schema.schema, model, draw=bool(box.open))
        if box.open:
            _preview(text(), schema, model, options)
    return options


def fill(asked: Mapping[str, Any]) -> None:
    """Choose what an earlier request had."""
    kept = {"dialect": dialects.AUTO, "examples": "auto", "instruction": "", "wording": 0}
    for name, usual in kept.items():
        value = asked.get(name)
        st.session_state[f"extract.asking.{name}"] = usual if value in (None, "") else value


def _chosen(schema: Schema | None, model: Model, *, draw: bool = False) -> Options:
    """What was chosen; kept while the expander is closed."""
    if draw and schema is not None:
        _controls(schema, model)
    kept = st.session_state.get
    dialect = str(kept("extract.asking.dialect") or dialects.AUTO)
    name = calls.dialect_of(model, Options(dialect=dialect))
    examples = kept("extract.asking.examples")
    wording = int(kept("extract.asking.wording") or 0)
    return Options(
        dialect=dialect,
        examples=None if examples in (None, "auto") else int(examples),
        instruction=str(kept("extract.asking.instruction") or "").strip(),
        wording=wording if wording < dialects.find(name).VARIANTS else 0,
    )


def _controls(schema: Schema, model: Model) -> None:
    left, right = st.columns(2)
    dialect = left.selectbox(
        t("Dialect"),
        [dialects.AUTO, *dialects.names()],
        format_func=lambda name: _dialect_name(name, model),
        key="extract.asking.dialect",
        persist_state="session",
        help=t("The form of questions and answers. A model understands best the one it was trained with."),
    )
    usual = asking.shown(schema, Options(), model)
    right.selectbox(
        t("Example sentences"),
        ["auto", *range(len(schema.examples) + 1)],
        format_func=lambda count: t("usual ({n})", n=usual) if count == "auto" else str(count),
        key="extract.asking.examples",
        persist_state="session",
        help=t("Shown to models that were not trained for extraction; those that together show most types come first."),
    )
    variants = dialects.find(calls.dialect_of(model, Options(dialect=dialect))).VARIANTS
    if variants > 1:
        st.selectbox(
            t("Wording"),
            list(range(variants)),
            format_func=lambda number: t("Wording {n}", n=number + 1),
            key="extract.asking.wording",
            persist_state="session",
        )
    own = st.text_area(
        t("Instruction of your own"),
        key="extract.asking.instruction",
        height=68,
        max_chars=8000,
        persist_state="session",
        placeholder=t("Empty: the dialect's. {format} becomes what answers look like."),
    )
    if asking.leaves_training(own, model, calls.dialect_of(model, Options(dialect=dialect))):
        st.warning(t(asking.OWN_WORDS.problem) + " " + t(asking.OWN_WORDS.remedy), icon=":material/warning:")


def _dialect_name(name: str, model: Model) -> str:
    if name == dialects.AUTO:
        return t("the model's own ({name})", name=model.card.dialect)
    return {
        "studio": t("studio"),
        "zhixi": t("zhixi"),
        "oneke": t("oneke"),
    }.get(name, name)


def _preview(text: str, schema: SchemaChoice, model: Model, options: Options) -> None:
    if not text.strip():
        st.caption(t("With a text chosen, the exact prompt stands here."))
        return
    count = _counter(model)
    try:
        made = prompts(text[:SHOWN], schema.schema, schema.tasks, options, model, count=count)
    except UserError as error:
        show_error(error)
        return
    name = calls.dialect_of(model, options)
    form = calls.form(model, name)
    told = t("sent as it is") if form == "raw" else t("sent as a message through the model's chat template")
    st.caption(f"{t('The exact prompts for the first text: {n}', n=len(made))} · {plain(name)} · {told}")
    if count is None and model.format != "remote":
        st.caption(t("Tokens are counted once the model is loaded."))
    for number, one in enumerate(made, start=1):
        counted = f" · {t('{n} tokens', n=f'{one.tokens:,}')}" if one.tokens is not None else ""
        st.caption(f"{number}. {task_name(one.task)}: {plain(', '.join(one.types))}{counted}")
        st.code(one.prompt, language=None, wrap_lines=True, height=260)


def _counter(model: Model) -> Callable[[str], int | None] | None:
    """Only of a model that answers on this machine already: a preview loads nothing and asks no server."""
    if model.format == "remote":
        return None
    now = client.status()
    if now.state != "ready" or model.ref not in now.answers:
        return None
    try:
        return client.connect(model.ref).count
    except UserError:
        return None
