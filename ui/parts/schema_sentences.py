"""A schema's example sentences as a person edits them: the sentence, and a line a type of what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.extract import schema_rows
from core.extract.schema import Example, Schema, Task
from ui.i18n import t

COUNT = "schema_editor.sentences"
MOST = 12


@dataclass(frozen=True)
class Sentence:
    """As drawn. `before`: the example that it was, None where it is new."""

    text: str
    lines: dict[Task, str]
    before: Example | None


def draw(schema: Schema) -> list[Sentence]:
    """The schema's sentences, and those that were added; one without a text is taken out."""
    st.caption(
        t(
            "Models that were not trained for extraction are shown these. Two or three do: one with much in it, "
            "one with nothing. A line a type: `person: Ada || Bob`, a relation `knows: Ada | Bob`, "
            "an event `meeting: met | who: Ada | place: Rome`."
        )
    )
    added = st.session_state.setdefault(COUNT, 0)
    made = [_one(number, schema, example) for number, example in enumerate(schema.examples)]
    made += [_one(len(schema.examples) + number, schema, None) for number in range(added)]
    full = len(made) >= MOST
    st.button(
        t("Add a sentence"), icon=":material/add:", key="schema_editor.sentence.add", disabled=full, on_click=_more
    )
    return made


def start() -> None:
    """No added sentences yet: the editor has just been opened."""
    st.session_state[COUNT] = 0


def _more() -> None:
    st.session_state[COUNT] = st.session_state.get(COUNT, 0) + 1


def read(schema: Schema, before: Schema, sentences: Sequence[Sentence]) -> list[dict[str, Any]]:
    """The examples as the file holds them. Raises UserError where one that was changed can't be read.

    One that was left alone is kept but for the types that are gone.
    """
    made = []
    for one in sentences:
        if not one.text.strip():
            continue
        known = one.before
        if known is not None and known.text == one.text and schema_rows.example_lines(before, known) == one.lines:
            made += schema_rows.kept_examples(schema, [known])
        else:
            made.append(schema_rows.example_of(schema, one.text, one.lines))
    return made


def _one(number: int, schema: Schema, example: Example | None) -> Sentence:
    lines = schema_rows.example_lines(schema, example) if example else {}
    tasks: tuple[Task, ...] = schema.tasks or ("ner", "re", "ee")
    with st.container(border=True):
        text = st.text_area(
            t("Sentence {n}", n=number + 1),
            example.text if example else "",
            key=f"schema_editor.sentence.{number}",
            height=68,
        )
        columns = st.columns(len(tasks))
        told: dict[Task, str] = {}
        for task, column in zip(tasks, columns, strict=True):
            label = {"ner": t("Entities"), "re": t("Relations"), "ee": t("Events")}[task]
            key = f"schema_editor.sentence.{number}.{task}"
            told[task] = column.text_area(label, lines.get(task, ""), key=key, height=100)
    return Sentence(text, told, example)
