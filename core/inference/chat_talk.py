"""One person's talk in a terminal: what the next answer is made with, and an answer shown as it is written."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field

from core.errors import UserError
from core.inference import chat
from core.inference.chat_export import told
from core.inference.chat_tree import Conversation, Message
from core.inference.decoding import Decoding
from core.inference.prompting import Form

LOOK_SECONDS = 0.04
STOP_SECONDS = 10
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""A model must not steer a person's terminal."""


@dataclass
class Terminal:
    model: str
    decoding: Decoding = field(default_factory=Decoding)
    system: str = ""
    conversation: str = ""
    """Empty until something is asked, so that looking around leaves nothing behind."""
    form: Form = "chat"
    listed: list[str] = field(default_factory=list)
    """The conversations that were listed last, which /open counts."""

    @property
    def way(self) -> chat.Way:
        return chat.Way(self.model, self.decoding, self.form)

    def ask(self, text: str) -> None:
        if not self.conversation:
            self.conversation = chat.create(self.system).id
        self.follow(chat.ask(self.conversation, text, self.way))

    def follow(self, answer: int, shown: int = 0) -> None:
        """Show an answer as it is written. Ctrl-C stops it and stays."""
        try:
            message = self._shown(answer, shown)
        except KeyboardInterrupt:
            chat.stop(answer)
            chat.wait(answer, STOP_SECONDS)
            message = _message(answer)
            print(flush=True)
        note(told(message))

    def kept(self) -> Conversation:
        """The conversation as it is kept. Raises UserError where nothing was said yet."""
        found = chat.read(self.conversation) if self.conversation else None
        if found is None:
            raise UserError("Nothing has been said yet.", remedy="Ask something first.")
        return found

    def show(self) -> None:
        """Print the branch that is shown, from its start."""
        for message in self.kept().messages:
            print(printable(f"> {message.text}" if message.role == "user" else message.text), flush=True)

    def _shown(self, answer: int, shown: int) -> Message:
        while True:
            message = _message(answer)
            print(printable(message.text[shown:]), end="", flush=True)
            shown = len(message.text)
            if not message.running:
                print(flush=True)
                return message
            time.sleep(LOOK_SECONDS)


def _message(answer: int) -> Message:
    found = chat.message(answer)
    if found is None:
        raise UserError("This conversation was deleted.", remedy="Start a new one.")
    return found


def printable(text: str) -> str:
    return CONTROLS.sub("", text) if sys.stdout.isatty() else text


def note(text: str) -> None:
    """What is no answer goes to stderr."""
    print(text, file=sys.stderr, flush=True)
