"""The shared page itself: two tabs, and the same functions for programs (API and MCP). Its texts are Gradio's i18n.

What visitors, texts and models write never becomes HTML: the chat renders no Markdown, and what it and notices are
given is escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NoReturn

import gradio as gr
from gradio.i18n import I18nData

from core.errors import UserError
from core.extract import schema as schemas
from core.inference.engine import Piece
from core.serve.guard import WHO
from ui.sharing import results, types
from ui.sharing.room import Room, Waiting
from ui.sharing.visitors import Visitor
from ui.sharing.words import Labels, Words, asked_for, harmless

OWN = "own"
ALL = "all"
FIRST = "people-and-organisations-en"


def page(room: Room, labels: Labels) -> gr.Blocks:
    title = room.upstream.model.title
    with gr.Blocks(title=f"{title} · KnowLM Studio", analytics_enabled=False) as blocks:
        _head(room, labels)
        with gr.Tabs():
            _chat_tab(room, labels)
            _extract_tab(room, labels)
        _functions(room)
    return blocks


def _head(room: Room, labels: Labels) -> None:
    def t(text: str, **values: object) -> I18nData:
        return I18nData(labels.key(text, **values))

    model = room.upstream.model
    gr.Markdown(f"# {_plain(model.title)}")
    licence = _plain(model.card.license) or "–"
    gr.Markdown(t("Licence of the model: {licence}", licence=licence))
    gr.Markdown(t("What a model writes can be wrong. Whoever runs this page can read what is written here."))


def _chat_tab(room: Room, labels: Labels) -> None:
    def t(text: str, **values: object) -> I18nData:
        return I18nData(labels.key(text, **values))

    with gr.Tab(t("Chat")):
        talk = gr.Chatbot(
            label=t("Conversation"), render_markdown=False, sanitize_html=True, allow_tags=False, buttons=["copy"],
            feedback_options=None, height="55vh",
        )  # fmt: skip
        message = gr.Textbox(
            label=t("Message"), lines=2, max_length=room.wanted.characters, placeholder=t("Write something…")
        )
        status = gr.Textbox(show_label=False, container=False, interactive=False, lines=1)
        with gr.Row():
            send = gr.Button(t("Send"), variant="primary")
            stop = gr.Button(t("Stop"))
            clear = gr.Button(t("New conversation"))
        with gr.Accordion(t("Settings"), open=False):
            system = gr.Textbox(label=t("System prompt"), lines=2, max_length=room.wanted.characters)
            temperature = gr.Slider(0, 2, 0, step=0.05, label=t("Temperature"))
            longest = room.wanted.max_tokens
            tokens = gr.Slider(1, longest, min(512, longest), step=1, label=t("Longest answer, in tokens"))

        async def talk_on(
            said: str | None, before: list[dict[str, Any]], system: str | None, temperature: float, tokens: float,
            request: gr.Request,
        ) -> AsyncGenerator[tuple[Any, Any, str]]:  # fmt: skip
            words = _words(room, request)
            said, system = said or "", system or ""
            if not said.strip():
                yield gr.skip(), gr.skip(), words.t("Write something first.")
                return
            messages = [*_messages(before), {"role": "user", "content": said}]
            told = [{"role": "system", "content": system}] if system.strip() else []
            answer = ""
            yield "", _drawn(messages), words.t("Waiting…")
            try:
                pieces = room.chat(_who(request), told + messages, temperature=temperature, max_tokens=int(tokens))
                async with aclosing(pieces):
                    async for piece in pieces:
                        if isinstance(piece, Waiting):
                            yield gr.skip(), gr.skip(), _waiting(piece, words)
                            continue
                        answer += piece.text
                        shown = [*messages, {"role": "assistant", "content": answer}] if answer else messages
                        yield gr.skip(), _drawn(shown), _ended(piece, words)
            except UserError as error:
                _tell(words, error)

        inputs = [message, talk, system, temperature, tokens]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        runs: list[Any] = [
            trigger(talk_on, inputs, [message, talk, status], **private) for trigger in (send.click, message.submit)
        ]
        stop.click(None, cancels=runs, **private)
        clear.click(lambda: ([], ""), None, [talk, status], cancels=runs, **private)  # js= would need eval


def _extract_tab(room: Room, labels: Labels) -> None:
    def t(text: str, **values: object) -> I18nData:
        return I18nData(labels.key(text, **values))

    with gr.Tab(t("Extract")):
        with gr.Row():
            with gr.Column():
                text = gr.Textbox(label=t("Text"), lines=8, max_length=room.wanted.characters)
                choices: list[Any] = [(_named(one), one.name) for one in schemas.ready_made()]
                which = gr.Dropdown([*choices, (t("My own types"), OWN)], value=FIRST, label=t("What to look for"))
                own = gr.Textbox(
                    label=t("My own types, one a line"),
                    info=t("name: description; for relations name (head → tail), for events name (role, role)"),
                    lines=4, max_length=room.wanted.characters, visible=False,
                )  # fmt: skip
                tasks: list[Any] = [
                    (t("All of them"), ALL), (t("Entities"), "ner"), (t("Relations"), "re"), (t("Events"), "ee"),
                ]  # fmt: skip
                task = gr.Radio(tasks, value=ALL, label=t("Task"))
                with gr.Row():
                    start = gr.Button(t("Extract"), variant="primary")
                    stop = gr.Button(t("Stop"))
                status = gr.Textbox(show_label=False, container=False, interactive=False, lines=1)
            with gr.Column():
                marked = gr.HighlightedText(label=t("In the text"), show_legend=False, combine_adjacent=False)
                tables = [
                    gr.Dataframe(label=label, interactive=False, wrap=True, visible=False, datatype="str")
                    for label in (t("Entities"), t("Relations"), t("Events"))
                ]
                with gr.Accordion("JSON", open=False):
                    raw = gr.JSON(show_label=False)
        which.change(
            lambda which: gr.update(visible=which == OWN), which, own, api_visibility="private", show_progress="hidden"
        )

        async def read(
            text: str | None, which: str, own: str | None, task: str, request: gr.Request
        ) -> AsyncGenerator[tuple[Any, ...]]:
            words = _words(room, request)
            nothing = [gr.skip()] * (2 + len(tables))
            yield (words.t("Waiting…"), *nothing)
            try:
                items = room.extract(_who(request), _body(text or "", which, own or "", task))
                async with aclosing(items):
                    async for item in items:
                        if isinstance(item, Waiting):
                            yield (_waiting(item, words), *nothing)
                        else:
                            yield _shown(item, words)
            except UserError as error:
                _tell(words, error)

        shown = [status, marked, *tables, raw]
        run = start.click(read, [text, which, own, task], shown, api_visibility="private", show_progress="hidden")
        stop.click(None, cancels=[run], api_visibility="private")


def _functions(room: Room) -> None:
    """What programs call. Their names, docstrings and annotations are what API and MCP clients are shown."""

    async def extract(
        text: str, request: gr.Request, schema: str = FIRST, tasks: str = ""
    ) -> AsyncGenerator[dict[str, Any]]:
        """Extract entities, relations and events from a text. Offsets count Unicode codepoints, half open.

        Args:
            text: The text to read.
            schema: A ready-made schema's name (see schemas), or a schema as JSON.
            tasks: ner, re or ee, several with commas; empty does all that the schema has types for.
        """
        body = {"text": text, "schema": _parsed(schema), "tasks": [one.strip() for one in tasks.split(",") if one]}
        try:
            items = room.extract(_who(request), body)
            async with aclosing(items):
                async for item in items:
                    if not isinstance(item, Waiting):
                        yield item
        except UserError as error:
            _tell(Words("en"), error, escaped=False)

    async def chat(
        message: str, request: gr.Request, system: str = "", temperature: float = 0.0, max_tokens: int = 512
    ) -> AsyncGenerator[str]:
        """Ask the model; the answer comes as it grows.

        Args:
            message: What to say to it.
            system: How it should behave; may be empty.
            temperature: 0 always takes the likeliest token; higher is more varied.
            max_tokens: The longest answer, in tokens.
        """
        messages = [{"role": "system", "content": system}] if system.strip() else []
        messages.append({"role": "user", "content": message})
        answer = ""
        try:
            pieces = room.chat(_who(request), messages, temperature=temperature, max_tokens=max_tokens)
            async with aclosing(pieces):
                async for piece in pieces:
                    if isinstance(piece, Piece) and piece.text:
                        answer += piece.text
                        yield answer
        except UserError as error:
            _tell(Words("en"), error, escaped=False)
        if not answer:
            yield answer

    async def listed() -> list[str]:
        """The names of the ready-made schemas."""
        return [one.name for one in schemas.ready_made()]

    listed.__name__ = "schemas"  # what MCP calls it
    for function in (extract, chat, listed):
        gr.api(function, api_name=function.__name__)


def _who(request: gr.Request) -> Visitor:
    assert request.request is not None  # noqa: S101 - Gradio hands on the request that joined its queue
    return request.request.scope[WHO]


def _words(room: Room, request: gr.Request) -> Words:
    assert request.request is not None  # noqa: S101
    return asked_for(request.request.headers.get("accept-language", ""), room.wanted.language)


def _tell(words: Words, error: UserError, *, escaped: bool = True) -> NoReturn:
    said = words.error(error)
    raise gr.Error(harmless(said) if escaped else said, title=words.t("Not done"), print_exception=False) from error


def _waiting(item: Waiting, words: Words) -> str:
    return words.t("{count} before you…", count=item.before - 1) if item.before > 1 else words.t("At work…")


def _ended(piece: Piece, words: Words) -> str:
    if piece.finish is None:
        return words.t("At work…")
    told = words.t("{count} tokens", count=piece.tokens)
    return f"{told} · {words.t('cut at its longest length')}" if piece.finish == "length" else told


def _drawn(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """For the chat, which reads HTML also where it renders no Markdown."""
    return [message | {"content": harmless(message["content"])} for message in messages]


def _messages(before: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The conversation as the browser sent it: whatever it holds, only plain texts of the two sides are taken."""
    found = []
    for message in before or []:
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if message.get("role") in ("user", "assistant") and isinstance(content, str):
            found.append({"role": message["role"], "content": html.unescape(content)})
    return found


def _body(text: str, which: str, own: str, task: str) -> dict[str, Any]:
    if which != OWN:
        return {"text": text, "schema": which, "tasks": [] if task == ALL else [task]}
    if task == ALL:
        raise UserError("Your own types need a task.", remedy="Choose entities, relations or events.")
    return {"text": text, "schema": types.schema_of(own, task), "tasks": [task]}  # type: ignore[arg-type]


def _parsed(schema: str) -> Any:
    if not schema.lstrip().startswith(("{", "[")):
        return schema
    try:
        return json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise UserError(
            "The schema is not JSON: {why}.", remedy="Correct it, or name a ready-made one.", why=error
        ) from error


def _shown(found: dict[str, Any], words: Words) -> tuple[Any, ...]:
    rows = results.tables(found, words)
    tables = [gr.update(value=table.rows, headers=table.headers, visible=bool(table.rows)) for table in rows]
    spans, colours = results.marked(found)
    warnings = [words.error(UserError.from_dict(one)) for one in found["provenance"]["warnings"]]
    said = [words.t("{count} records", count=sum(len(table.rows) for table in rows)), *warnings]
    return (" · ".join(said), gr.update(value=spans, color_map=colours), *tables, found)


def _named(schema: schemas.Schema) -> str:
    tongue = {"zh": "中文", "en": "English"}.get(schema.language, schema.language)
    return f"{schema.title or schema.name} · {tongue}"


def _plain(text: str) -> str:
    return "".join("\\" + letter if letter in r"\`*_{}[]<>()#+-.!|~:$&" else letter for letter in text)
