"""One text at once: the answer as records in their sentence, and folded under it what was really asked and said."""

from __future__ import annotations

import time

import streamlit as st

from core.extract.calls import Options
from core.records import Extraction
from ui.i18n import language as page_language
from ui.i18n import t
from ui.parts.attempt import Attempt
from ui.parts.errors import plain, show_error
from ui.parts.evidence import evidence_and_table
from ui.parts.model_choice import ModelChoice
from ui.parts.preflight import duration
from ui.parts.schema_choice import SchemaChoice

TEXT = "extract.text"
SAMPLE = "extract.sample"
"""Which sample sentence was asked for, and how often one was."""
ATTEMPT = "extract.attempt"
COMPARE = "extract.compare"
LONGEST = 20_000
TICK = 0.4

SENTENCES = {
    "en": "Marie Curie was born in Warsaw in 1867 and later taught physics at the Sorbonne in Paris.",
    "zh": "屠呦呦1930年出生于浙江宁波，后来在中国中医研究院发现了青蒿素。",
}


def text_area() -> str:
    """The text to read; a sample sentence is one click away."""
    area = st.container()
    with st.container(horizontal=True):
        for code, label in (("en", t("An English sentence")), ("zh", t("A Chinese sentence"))):
            st.button(label, icon=":material/science:", key=f"extract.sentence.{code}", on_click=_sample, args=(code,))
    code, times = st.session_state.get(SAMPLE, ("", 0))
    return area.text_area(
        t("Text"),
        SENTENCES.get(code, ""),
        # a new field for each sample: of the old one, a click that comes at once would bring back the old text
        key=f"{TEXT}.{times}",
        height=170,
        max_chars=LONGEST,
        placeholder=SENTENCES[page_language()],
        label_visibility="collapsed",
        persist_state="session",
    )


def _sample(code: str) -> None:
    st.session_state[SAMPLE] = (code, st.session_state.get(SAMPLE, ("", 0))[1] + 1)


def start_button(
    text: str, schema: SchemaChoice | None, model: ModelChoice, *, anyway: bool, asking: Options | None = None
) -> None:
    attempt = st.session_state.get(ATTEMPT)
    running = attempt is not None and not attempt.over
    compare = model.model.format == "adapter" and st.toggle(
        t("Compare with its base alone"),
        key=COMPARE,
        persist_state="session",
        help=t("Asks twice, with the same prompt: with the adapter and without it."),
    )
    pressed = st.button(
        t("Extract anyway") if anyway else t("Extract"),
        type="secondary" if anyway else "primary",
        icon=":material/play_arrow:",
        disabled=not text.strip() or schema is None or running,
        key="extract.one",
        help=None if text.strip() else t("Type a text first."),
    )
    if pressed and schema is not None:
        st.session_state[ATTEMPT] = Attempt(
            text, schema.schema, schema.tasks, model.model, anyway, compare=compare, options=asking or Options()
        ).start()
        st.rerun()


def result() -> None:
    """The last attempt: how far it is, or its records. Polls only while it runs."""
    attempt = st.session_state.get(ATTEMPT)
    if attempt is not None:
        st.fragment(_result, run_every=None if attempt.over else TICK)(attempt, attempt.over)


def _result(attempt: Attempt, over: bool) -> None:
    if attempt.over and not over:
        st.rerun()
    if not attempt.over:
        _progress(attempt)
    elif attempt.error is not None:
        show_error(attempt.error)
    elif attempt.extraction is not None:
        _records(attempt, attempt.extraction)
    _asked(attempt)


def _progress(attempt: Attempt) -> None:
    loading = attempt.state == "loading"
    said = t("Loading {model}…", model=plain(attempt.model.title)) if loading else t("Reading the text…")
    st.progress(attempt.share, text=f"{said} {duration(time.monotonic() - attempt.began)}")
    if st.button(t("Stop"), icon=":material/stop_circle:", key="extract.one.stop"):
        attempt.stop()


def _records(attempt: Attempt, extraction: Extraction) -> None:
    if attempt.without is None:
        _found(extraction, f"extract.one.{attempt.began}")
    else:
        with_it, alone = st.columns(2, gap="medium")
        with with_it:
            st.markdown(f"**{t('With the adapter')}**")
            _found(extraction, f"extract.one.{attempt.began}")
        with alone:
            st.markdown(f"**{t('Its base alone')}**")
            _found(attempt.without, f"extract.one.alone.{attempt.began}")
    own = [call for call in attempt.calls if call.adapter]
    tokens = sum(call.tokens for call in own)
    busy = sum(call.seconds for call in own)
    told = [attempt.model.title, t("{time} in all", time=duration(attempt.seconds))]
    if busy:
        told.append(t("{n} tokens, {rate} per second", n=tokens, rate=f"{tokens / busy:.0f}"))
    st.caption(" · ".join(map(plain, told)))


def _found(extraction: Extraction, key: str) -> None:
    if extraction.error is not None:
        show_error(extraction.error)
    elif not (extraction.entities or extraction.relations or extraction.events):
        st.info(t("The model found nothing of these types in the text."), icon=":material/search_off:")
    evidence_and_table(extraction, key=key)


def _asked(attempt: Attempt) -> None:
    if not attempt.calls:
        return
    with st.expander(t("The exact prompt and the raw answer"), icon=":material/terminal:"):
        for call in list(attempt.calls):
            st.caption(t("Prompt"))
            st.code(call.prompt, language=None, wrap_lines=True)
            st.caption(t("Answer") if call.adapter else t("Answer of its base alone"))
            st.code(call.answer or " ", language=None, wrap_lines=True)
