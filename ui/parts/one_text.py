"""One text at once: the answer as records in their sentence, and folded under it what was really asked and said."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import streamlit as st

from core.errors import UserError
from core.extract.one import extract_text
from core.inference import client as host
from core.records import Extraction
from ui.i18n import language as page_language
from ui.i18n import t
from ui.parts.errors import log_unexpected, plain, show_error
from ui.parts.evidence import evidence
from ui.parts.model_choice import ModelChoice
from ui.parts.preflight import duration
from ui.parts.schema_choice import SchemaChoice

TEXT = "extract.text"
ATTEMPT = "extract.attempt"
LONGEST = 20_000
TICK = 0.4

SENTENCES = {
    "en": "Marie Curie was born in Warsaw in 1867 and later taught physics at the Sorbonne in Paris.",
    "zh": "屠呦呦1930年出生于浙江宁波，后来在中国中医研究院发现了青蒿素。",
}


@dataclass(frozen=True)
class Call:
    """One question to the model and its answer."""

    prompt: str
    answer: str
    tokens: int
    seconds: float


class Recorder:
    """A client that keeps what passes through it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def complete(self, prompt: str, *args: Any, **options: Any) -> Any:
        return self._kept(prompt, self._client.complete(prompt, *args, **options))

    def chat(self, messages: list[dict], *args: Any, **options: Any) -> Any:
        prompt = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
        return self._kept(prompt, self._client.chat(messages, *args, **options))

    def _kept(self, prompt: str, answer: Any) -> Any:
        self.calls.append(Call(prompt, answer.text, answer.tokens, answer.seconds))
        return answer


@dataclass
class Attempt:
    """Runs in a thread of its own, so that the page stays alive while a model loads and answers."""

    text: str
    schema: SchemaChoice
    model: ModelChoice
    anyway: bool
    state: Literal["loading", "extracting", "done", "failed"] = "loading"
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    extraction: Extraction | None = None
    error: UserError | None = None
    calls: list[Call] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed")

    def start(self) -> Attempt:
        threading.Thread(target=self._run, name="one text", daemon=True).start()
        return self

    def _run(self) -> None:
        try:
            recorder = Recorder(host.connect(self.model.model.ref))
            self.calls, self.state, begun = recorder.calls, "extracting", time.monotonic()
            self.extraction = extract_text(
                recorder, self.text, self.schema.schema, self.schema.tasks, run_anyway=self.anyway
            )
            self.seconds, self.state = time.monotonic() - begun, "done"
        except UserError as error:
            self.error, self.state = error, "failed"
        except Exception as error:  # noqa: BLE001 a thread's errors reach nobody else
            place = log_unexpected(error)
            self.error = UserError(
                "Extracting failed in an unexpected way.", remedy="The details are in {file}.", file=place
            )
            self.state = "failed"


def text_area() -> str:
    """The text to read; a sample sentence is one click away."""
    area = st.container()
    with st.container(horizontal=True):
        for code, label in (("en", t("An English sentence")), ("zh", t("A Chinese sentence"))):
            if st.button(label, icon=":material/science:", key=f"extract.sentence.{code}", type="tertiary"):
                st.session_state[TEXT] = SENTENCES[code]
    return area.text_area(
        t("Text"),
        key=TEXT,
        height=170,
        max_chars=LONGEST,
        placeholder=SENTENCES[page_language()],
        label_visibility="collapsed",
        persist_state="session",
    )


def start_button(text: str, schema: SchemaChoice | None, model: ModelChoice, *, anyway: bool) -> None:
    running = (attempt := st.session_state.get(ATTEMPT)) is not None and not attempt.over
    pressed = st.button(
        t("Extract anyway") if anyway else t("Extract"),
        type="secondary" if anyway else "primary",
        icon=":material/play_arrow:",
        disabled=not text.strip() or schema is None or running,
        key="extract.one",
        help=None if text.strip() else t("Type a text first."),
    )
    if pressed and schema is not None:
        st.session_state[ATTEMPT] = Attempt(text, schema, model, anyway).start()
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
        said = (
            t("Loading {model}…", model=plain(attempt.model.model.title))
            if attempt.state == "loading"
            else t("Reading the text…")
        )
        st.progress(
            0.0 if attempt.state == "loading" else 0.5, text=f"{said} {duration(time.monotonic() - attempt.started)}"
        )
    elif attempt.error is not None:
        show_error(attempt.error)
    elif attempt.extraction is not None:
        _records(attempt, attempt.extraction)


def _records(attempt: Attempt, extraction: Extraction) -> None:
    if extraction.error is not None:
        show_error(extraction.error)
    if not (extraction.entities or extraction.relations or extraction.events):
        st.info(t("The model found nothing of these types in the text."), icon=":material/search_off:")
    evidence(extraction, key="extract.one.evidence")
    tokens = sum(call.tokens for call in attempt.calls)
    busy = sum(call.seconds for call in attempt.calls)
    told = [attempt.model.model.title, t("{time} in all", time=duration(attempt.seconds))]
    if busy:
        told.append(t("{n} tokens, {rate} per second", n=tokens, rate=f"{tokens / busy:.0f}"))
    st.caption(" · ".join(map(plain, told)))
    with st.expander(t("The exact prompt and the raw answer"), icon=":material/terminal:"):
        for call in attempt.calls:
            st.caption(t("Prompt"))
            st.code(call.prompt, language=None, wrap_lines=True)
            st.caption(t("Answer"))
            st.code(call.answer or " ", language=None, wrap_lines=True)
