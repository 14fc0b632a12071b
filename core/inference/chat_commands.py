"""The commands of the chat in a terminal: `/set temperature 0.3`, `/edit`, `/versions`, `/search` and their kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from core import models, settings
from core.errors import UserError
from core.inference import chat, chat_search, client, presets
from core.inference.chat_export import as_json, markdown
from core.inference.chat_talk import Terminal, note, printable
from core.inference.decoding import Decoding
from core.inference.prompting import Form

LISTED = 15
FIRST_WORDS = 60


class Left(Exception):
    """The person is done."""


@dataclass(frozen=True)
class Command:
    form: str
    help: str
    run: Callable[[Terminal, str], None]


def _set(terminal: Terminal, rest: str) -> None:
    name, _, value = rest.replace("=", " ", 1).partition(" ")
    given = {} if not value.strip() else {name: value.strip()}
    if name not in Decoding.model_fields:
        raise _unknown_setting(name)
    kept = terminal.decoding.model_dump(exclude={name})
    try:
        terminal.decoding = Decoding.model_validate(kept | given)
    except ValidationError as error:
        raise UserError(
            "The setting {name} can't be {value}: {why}.",
            remedy="Choose a value within its bounds.",
            name=name,
            value=value.strip()[:80],
            why=error.errors()[0]["msg"],
        ) from error
    _get(terminal, name)


def _get(terminal: Terminal, name: str) -> None:
    if name and name not in Decoding.model_fields:
        raise _unknown_setting(name)
    for known, info in Decoding.model_fields.items():
        if name in ("", known):
            value = getattr(terminal.decoding, known)
            note(f"{known} = {'' if value is None else value}   {info.description}")


def _reset(terminal: Terminal, rest: str) -> None:
    terminal.conversation = ""
    note("A new conversation begins; the settings stay. /history shows the ones before.")


def _system(terminal: Terminal, text: str) -> None:
    terminal.system = text
    if terminal.conversation:
        chat.set_system(terminal.conversation, text)
    note("The system prompt is set." if text else "There is no system prompt now.")


def _model(terminal: Terminal, ref: str) -> None:
    if ref:
        terminal.model = client.connect(ref).model.ref
        note(f"{models.resolve(ref).title} answers from now on.")
        return
    known = [(model.ref, model.title) for model in models.installed()]
    known += [(endpoint.ref, endpoint.name) for endpoint in settings.read().endpoints]
    for ref_, title in known:
        note(f"{'*' if ref_ == terminal.model else ' '} {ref_}   {title}")
    if all(ref_ != terminal.model for ref_, _ in known):
        note(f"* {terminal.model}")


def _form(terminal: Terminal, name: str) -> None:
    known: tuple[Form, ...] = get_args(Form)
    if name:
        chosen = next((form for form in known if form == name), None)
        if chosen is None:
            raise UserError(
                "There is no way of asking “{name}”.", remedy="There are: {names}.", name=name, names=", ".join(known)
            )
        terminal.form = chosen
    for form in known:
        note(f"{'*' if form == terminal.form else ' '} {form}")


def _preset(terminal: Terminal, name: str) -> None:
    if name.startswith("="):
        note(f"saved as {presets.save(name[1:], terminal.decoding)}")
        return
    if name:
        terminal.decoding = presets.named(name)
        _get(terminal, "")
        return
    for known, decoding in (presets.READY | presets.own()).items():
        told = ", ".join(f"{key} {value}" for key, value in decoding.model_dump(exclude_defaults=True).items())
        note(f"{'*' if decoding == terminal.decoding else ' '} {known}   {told}")


def _retry(terminal: Terminal, rest: str) -> None:
    terminal.follow(chat.again(terminal.kept().id, terminal.way))


def _edit(terminal: Terminal, text: str) -> None:
    if not text:
        raise UserError("/edit needs the new text.", remedy="Write /edit TEXT.")
    asked = [message for message in terminal.kept().messages if message.role == "user"]
    terminal.follow(chat.edit(terminal.conversation, asked[-1].id, text, terminal.way, input_text=asked[-1].input))


def _versions(terminal: Terminal, number: str) -> None:
    """Of the last question and of its answer, numbered through."""
    kept = terminal.kept()
    asked = next(message for message in reversed(kept.messages) if message.role == "user")
    answers = kept.versions(kept.messages[-1]) if kept.messages[-1].role == "assistant" else ()
    known = [*answers, *(other for other in kept.versions(asked) if other.id != asked.id)]
    if number:
        if not number.isdecimal() or not 1 <= int(number) <= len(known):
            raise UserError(
                "There is no version {number}.", remedy="/versions shows them with their numbers.", number=number
            )
        chat.choose(kept.id, known[int(number) - 1].id)
        terminal.show()
        return
    for place, message in enumerate(known, 1):
        mark = "*" if message.id == kept.messages[-1].id else " "
        words = " ".join(message.text.split())[:FIRST_WORDS]
        note(f"{mark} {place:>2}  {'asked: ' if message.role == 'user' else ''}{printable(words)}")


def _continue(terminal: Terminal, rest: str) -> None:
    before = terminal.kept().messages[-1]
    terminal.follow(chat.go_on(terminal.conversation, terminal.way), len(before.text))


def _search(terminal: Terminal, words: str) -> None:
    if not words:
        raise UserError("/search needs words to look for.", remedy="Write /search WORDS.")
    found = chat_search.search(words)[:LISTED]
    terminal.listed = [place.conversation for place in found]
    for number, place in enumerate(found, 1):
        note(printable(f"  {number:>2}  {place.title[:FIRST_WORDS]}: …{place.before}{place.words}{place.after}…"))
    note("/open NUMBER goes there." if found else "Nothing was found.")


def _history(terminal: Terminal, rest: str) -> None:
    known = chat.conversations()[:LISTED]
    terminal.listed = [kept.id for kept in known]
    for number, kept in enumerate(known, 1):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.changed))
        note(f"{'*' if kept.id == terminal.conversation else ' '} {number:>2}  {when}  {printable(kept.title)}")


def _open(terminal: Terminal, number: str) -> None:
    known = terminal.listed or [kept.id for kept in chat.conversations()[:LISTED]]
    chosen = chat.read(known[int(number) - 1]) if number.isdecimal() and 1 <= int(number) <= len(known) else None
    if chosen is None:
        raise UserError(
            "There is no conversation {number}.", remedy="/history shows them with their numbers.", number=number or "-"
        )
    terminal.conversation, terminal.system = chosen.id, chosen.system
    terminal.show()


def _save(terminal: Terminal, name: str) -> None:
    if not name:
        raise UserError("/save needs a file's name.", remedy="Write /save FILE.md.")
    path = Path(name).expanduser()
    told = (as_json if path.suffix.lower() == ".json" else markdown)(terminal.kept())
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(told)
    except FileExistsError:
        raise UserError("{path} is there already.", remedy="Choose another name.", path=path) from None
    except OSError as error:
        raise UserError(
            "{path} can't be written: {why}", remedy="Choose another place.", path=path, why=error.strerror or error
        ) from error
    note(f"saved to {path.resolve()}")


def _help(terminal: Terminal, rest: str) -> None:
    width = max(len(command.form) for command in COMMANDS.values())
    for command in COMMANDS.values():
        note(f"{command.form:<{width}}  {command.help}")
    note("Ctrl-C stops an answer. A line that ends with \\ goes on in the next. // begins a text with a slash.")


def _quit(terminal: Terminal, rest: str) -> None:
    raise Left


COMMANDS = {
    "/set": Command("/set NAME VALUE", "change a decoding setting; without VALUE back to its default", _set),
    "/get": Command("/get [NAME]", "show the decoding settings", _get),
    "/system": Command("/system TEXT", "set the system prompt; without TEXT take it away", _system),
    "/model": Command("/model [NAME]", "let another model answer; without NAME list them", _model),
    "/form": Command("/form [NAME]", "how to ask: chat (the model's template), raw (plain text) or alpaca", _form),
    "/preset": Command(
        "/preset [NAME]", "take decoding settings by name; /preset =NAME saves them; alone it lists", _preset
    ),
    "/retry": Command("/retry", "give another answer in place of the last, which stays a version", _retry),
    "/edit": Command("/edit TEXT", "ask this in place of the last question", _edit),
    "/versions": Command(
        "/versions [NUMBER]", "list the versions of the last question and answer, or go to one", _versions
    ),
    "/continue": Command("/continue", "go on with an answer that was cut or stopped", _continue),
    "/reset": Command("/reset", "begin a new conversation", _reset),
    "/history": Command("/history", "list the latest conversations, also those of the page", _history),
    "/search": Command("/search WORDS", "look for words in all conversations", _search),
    "/open": Command("/open NUMBER", "go on with one that was listed", _open),
    "/save": Command("/save FILE", "write the conversation: FILE.md to read, FILE.json with every version", _save),
    "/help": Command("/help", "show this", _help),
    "/quit": Command("/quit", "leave; so does the end of input", _quit),
}


def _unknown_setting(name: str) -> UserError:
    return UserError(
        "There is no setting “{name}”.",
        remedy="The settings are: {names}.",
        name=name[:80],
        names=", ".join(Decoding.model_fields),
    )
