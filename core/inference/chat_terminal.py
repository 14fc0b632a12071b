"""The chat in a terminal: streamed, every setting changed while it runs, kept where the page keeps its conversations.

What is asked and answered goes to stdout, everything else to stderr, so that a pipe gets the answers alone.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from core import models, settings
from core.errors import UserError
from core.inference import chat, client
from core.inference.chat import Conversation, Message
from core.inference.decoding import Decoding

LOOK_SECONDS = 0.04
STOP_SECONDS = 10
LISTED = 15
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""A model must not steer a person's terminal."""


class Left(Exception):
    """The person is done."""


@dataclass
class Terminal:
    """One person's talk: what the next answer is made with, and the conversation that it goes into."""

    model: str
    decoding: Decoding = field(default_factory=Decoding)
    system: str = ""
    conversation: str = ""
    """Empty until something is asked, so that looking around leaves nothing behind."""

    def take(self, line: str) -> None:
        """Do what a line says: a /command, or something to ask (`//` for one that starts with a slash)."""
        if line.startswith("/") and not line.startswith("//"):
            word, _, rest = line.partition(" ")
            if word not in COMMANDS:
                raise UserError("There is no command “{line}”.", remedy="/help lists them.", line=line[:80])
            COMMANDS[word].run(self, rest.strip())
            return
        if not self.conversation:
            self.conversation = chat.create(self.system).id
        self.follow(chat.ask(self.conversation, line.removeprefix("/"), self.model, self.decoding))

    def follow(self, answer: int, shown: int = 0) -> None:
        """Show an answer as it is written. Ctrl-C stops it and stays."""
        try:
            message = self._shown(answer, shown)
        except KeyboardInterrupt:
            chat.stop(answer)
            chat.wait(answer, STOP_SECONDS)
            message = self._message(answer)
            print(flush=True)
        _note(_facts(message))

    def kept(self) -> Conversation:
        """The conversation as it is kept. Raises UserError where nothing was said yet."""
        found = chat.read(self.conversation) if self.conversation else None
        if found is None:
            raise UserError("Nothing has been said yet.", remedy="Ask something first.")
        return found

    def _shown(self, answer: int, shown: int) -> Message:
        while True:
            message = self._message(answer)
            print(_printable(message.text[shown:]), end="", flush=True)
            shown = len(message.text)
            if not message.running:
                print(flush=True)
                return message
            time.sleep(LOOK_SECONDS)

    def _message(self, answer: int) -> Message:
        found = next((message for message in self.kept().messages if message.id == answer), None)
        if found is None:
            raise UserError("This conversation was deleted.", remedy="Start a new one.")
        return found


def converse(terminal: Terminal) -> None:
    """Read lines and do them until /quit or the end of input."""
    _note(f"{client.connect(terminal.model).model.title} · /help lists the commands, Ctrl-C stops an answer")
    for line in _lines():
        try:
            terminal.take(line)
        except Left:
            return
        except UserError as error:
            _note(f"error: {error}")


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
            _note(f"{known} = {'' if value is None else value}   {info.description}")


def _reset(terminal: Terminal, rest: str) -> None:
    terminal.conversation = ""
    _note("A new conversation begins; the settings stay. /history shows the ones before.")


def _system(terminal: Terminal, text: str) -> None:
    terminal.system = text
    if terminal.conversation:
        chat.set_system(terminal.conversation, text)
    _note("The system prompt is set." if text else "There is no system prompt now.")


def _model(terminal: Terminal, ref: str) -> None:
    if ref:
        terminal.model = client.connect(ref).model.ref
        _note(f"{models.resolve(ref).title} answers from now on.")
        return
    known = [(model.ref, model.title) for model in models.installed()]
    known += [(endpoint.ref, endpoint.name) for endpoint in settings.read().endpoints]
    for ref_, title in known:
        _note(f"{'*' if ref_ == terminal.model else ' '} {ref_}   {title}")
    if all(ref_ != terminal.model for ref_, _ in known):
        _note(f"* {terminal.model}")


def _retry(terminal: Terminal, rest: str) -> None:
    terminal.follow(chat.again(terminal.kept().id, terminal.model, terminal.decoding))


def _continue(terminal: Terminal, rest: str) -> None:
    before = terminal.kept().messages[-1]
    terminal.follow(chat.go_on(terminal.conversation, terminal.model, terminal.decoding), len(before.text))


def _history(terminal: Terminal, rest: str) -> None:
    for number, kept in enumerate(chat.conversations()[:LISTED], 1):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.changed))
        _note(f"{'*' if kept.id == terminal.conversation else ' '} {number:>2}  {when}  {_printable(kept.title)}")


def _open(terminal: Terminal, number: str) -> None:
    known = chat.conversations()[:LISTED]
    if not number.isdecimal() or not 1 <= int(number) <= len(known):
        raise UserError(
            "There is no conversation {number}.", remedy="/history shows them with their numbers.", number=number or "-"
        )
    chosen = known[int(number) - 1]
    terminal.conversation, terminal.system = chosen.id, chosen.system
    for message in terminal.kept().messages:
        print(_printable(f"> {message.text}" if message.role == "user" else message.text), flush=True)


def _save(terminal: Terminal, name: str) -> None:
    if not name:
        raise UserError("/save needs a file's name.", remedy="Write /save FILE.md.")
    path, told = Path(name).expanduser(), markdown(terminal.kept())
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(told)
    except FileExistsError:
        raise UserError("{path} is there already.", remedy="Choose another name.", path=path) from None
    except OSError as error:
        raise UserError(
            "{path} can't be written: {why}", remedy="Choose another place.", path=path, why=error.strerror or error
        ) from error
    _note(f"saved to {path.resolve()}")


def _help(terminal: Terminal, rest: str) -> None:
    width = max(len(command.form) for command in COMMANDS.values())
    for command in COMMANDS.values():
        _note(f"{command.form:<{width}}  {command.help}")
    _note("Ctrl-C stops an answer. A line that ends with \\ goes on in the next. // begins a text with a slash.")


def _quit(terminal: Terminal, rest: str) -> None:
    raise Left


COMMANDS = {
    "/set": Command("/set NAME VALUE", "change a decoding setting; without VALUE back to its default", _set),
    "/get": Command("/get [NAME]", "show the decoding settings", _get),
    "/system": Command("/system TEXT", "set the system prompt; without TEXT take it away", _system),
    "/model": Command("/model [NAME]", "let another model answer; without NAME list them", _model),
    "/retry": Command("/retry", "give another answer in place of the last", _retry),
    "/continue": Command("/continue", "go on with an answer that was cut or stopped", _continue),
    "/reset": Command("/reset", "begin a new conversation", _reset),
    "/history": Command("/history", "list the latest conversations, also those of the page", _history),
    "/open": Command("/open NUMBER", "go on with one of them", _open),
    "/save": Command("/save FILE.md", "write the conversation as Markdown", _save),
    "/help": Command("/help", "show this", _help),
    "/quit": Command("/quit", "leave; so does the end of input", _quit),
}


def markdown(talk: Conversation) -> str:
    """A conversation to read elsewhere: who said what, and how each answer came about."""
    parts = [f"# {talk.title or 'Conversation'}"]
    parts += [f"*System prompt:* {talk.system}"] if talk.system else []
    for message in talk.messages:
        if message.role == "user":
            parts += ["## You", message.text]
        else:
            parts += [f"## {message.facts.title or message.facts.model or 'Model'}", message.text]
            parts += [f"*{_facts(message)}*"]
    return "\n\n".join(parts) + "\n"


def _facts(message: Message) -> str:
    facts = message.facts
    if facts.error:
        return f"error: {UserError.from_dict(facts.error)}"
    rate = f"{facts.tokens / facts.seconds:.1f} tokens/s" if facts.seconds else ""
    first = f"first after {facts.first_token_seconds:.2f} s" if facts.first_token_seconds is not None else ""
    seed = f"seed {facts.seed}" if facts.seed is not None else ""
    how = {"length": "cut at its longest: /continue goes on", "cancelled": "stopped", "lost": "its process ended"}
    return ", ".join(filter(None, (f"{facts.tokens} tokens", rate, first, seed, how.get(message.finish, ""))))


def _unknown_setting(name: str) -> UserError:
    return UserError(
        "There is no setting “{name}”.",
        remedy="The settings are: {names}.",
        name=name[:80],
        names=", ".join(Decoding.model_fields),
    )


def _lines() -> Iterator[str]:
    """What is typed or piped in, without empty lines; a line that ends with a backslash goes on in the next."""
    live = sys.stdin.isatty()
    if live:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - editing and recalling lines
    elif hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    parts: list[str] = []
    while True:
        try:
            line = input(("… " if parts else "> ") if live else "")
        except EOFError:
            if text := "\n".join(parts).strip():
                yield text
            return
        except KeyboardInterrupt:
            if not live:
                raise
            parts = []
            _note("\n/quit leaves.")
            continue
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        text, parts = "\n".join([*parts, line]).strip(), []
        if text:
            yield text


def _printable(text: str) -> str:
    return CONTROLS.sub("", text) if sys.stdout.isatty() else text


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
