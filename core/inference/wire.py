"""The OpenAI-compatible shapes on the wire: requests read, answers written, errors both ways.

Beyond OpenAI's fields ours take `top_k`, `repetition_penalty`, `beams`, `grammar` (GBNF) and `adapter`
(false: the base of a loaded adapter answers alone). Answers carry `knowlm` (seed, seconds); errors
carry `knowlm` with the whole UserError.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from core.errors import UserError
from core.inference.decoding import Decoding
from core.inference.engine import Finish, Generation, HostGone, Piece, PromptTooLong

SERVER = "knowlm-studio"
MOST_STOPS = 16
_KINDS = {kind.__name__: kind for kind in (UserError, HostGone, PromptTooLong)}
_NEUTRAL: dict[str, tuple] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "echo": (None, False),
    "suffix": (None, ""),
    "logprobs": (None, False, 0),
    "tools": (None, []),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
}
"""OpenAI fields that change the answer and that we don't do, with the values that ask for nothing."""


@dataclass(frozen=True)
class Asked:
    generation: Generation
    stream: bool
    usage: bool
    """Whether a stream ends with its counts (`stream_options.include_usage`)."""


def read_request(body: dict[str, Any], *, chat: bool) -> Asked:
    """Raises UserError for what is wrong or not supported."""
    for name, neutral in _NEUTRAL.items():
        if body.get(name) not in neutral:
            raise UserError(
                "The field “{field}” is not supported here.",
                remedy="Leave it out. To shape an answer, send a grammar in GBNF.",
                field=name,
            )
    generation = Generation(
        decoding=_decoding(body),
        prompt=None if chat else _prompt(body),
        messages=_messages(body) if chat else (),
        grammar=text_field(body, "grammar") if body.get("grammar") is not None else None,
        stop=_stops(body.get("stop")),
        adapter=body.get("adapter") is not False,
        model=str(body.get("model") or ""),
    )
    options = body.get("stream_options")
    usage = isinstance(options, dict) and options.get("include_usage") is True
    return Asked(generation, body.get("stream") is True, usage)


def _decoding(body: dict[str, Any]) -> Decoding:
    given = {name: body[name] for name in Decoding.model_fields if body.get(name) is not None}
    if body.get("max_completion_tokens") is not None:
        given["max_tokens"] = body["max_completion_tokens"]
    try:
        return Decoding(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            "The setting {name} can't be {value}: {why}.",
            remedy="Choose a value within its bounds.",
            name=first["loc"][0] if first["loc"] else "",
            value=str(first["input"])[:80],
            why=first["msg"],
        ) from error


def _prompt(body: dict[str, Any]) -> str:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return clean(prompt[0])
    return text_field(body, "prompt")


def _messages(body: dict[str, Any]) -> tuple[dict[str, str], ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages")
    return tuple(_message(message) for message in messages)


def _message(message: Any) -> dict[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise _wrong("messages")
    content = message.get("content")
    if isinstance(content, list):  # OpenAI's parts; ours read text only
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise _wrong("messages")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise _wrong("messages")
    return {"role": message["role"], "content": clean(content)}


def _stops(stop: Any) -> tuple[str, ...]:
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > MOST_STOPS or not all(isinstance(text, str) for text in stops):
        raise _wrong("stop")
    return tuple(clean(text) for text in stops if text)


def text_field(body: dict[str, Any], name: str) -> str:
    if not isinstance(body.get(name), str):
        raise _wrong(name)
    return clean(body[name])


def _wrong(name: str) -> UserError:
    return UserError(
        "The field “{field}” is missing or of a wrong form.",
        remedy="Send it as the OpenAI API takes it.",
        field=name,
    )


def clean(text: str) -> str:
    """Half a surrogate pair is no character and no tokenizer takes it: U+FFFD stands for it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass
class Reply:
    """An answer under way, written whole or as a stream of events."""

    model: str
    chat: bool
    parts: list[str] = field(default_factory=list)
    end: Piece = field(default_factory=Piece)
    started: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    made: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def take(self, piece: Piece) -> None:
        if piece.text:
            self.parts.append(piece.text)
            if self.first_token is None:
                self.first_token = time.monotonic() - self.started
        if piece.finish:
            self.end = piece

    def whole(self) -> dict[str, Any]:
        text = "".join(self.parts)
        content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        finish = self.end.finish or "cancelled"
        return self._shape(content, finish) | {"usage": self._usage(), "knowlm": self._ours()}

    def opening(self) -> str:
        return event(self._shape({"delta": {"role": "assistant", "content": ""}})) if self.chat else ": begun\n\n"

    def event(self, piece: Piece) -> str:
        content: dict[str, Any] = {"text": piece.text}
        if self.chat:
            content = {"delta": {"content": piece.text} if piece.text else {}}
        return event(self._shape(content, piece.finish, chunk=True))

    def usage_event(self) -> str:
        shape = self._shape({}, chunk=True) | {"choices": [], "usage": self._usage(), "knowlm": self._ours()}
        return event(shape)

    def _shape(self, content: dict[str, Any], finish: Finish | None = None, *, chunk: bool = False) -> dict[str, Any]:
        streamed = chunk or "delta" in content
        kind = ("chat.completion.chunk" if streamed else "chat.completion") if self.chat else "text_completion"
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{self.id}",
            "object": kind,
            "created": self.made,
            "model": self.model,
            "choices": [{"index": 0, **content, "logprobs": None, "finish_reason": finish}],
        }

    def _usage(self) -> dict[str, int]:
        prompt, tokens = self.end.prompt_tokens, self.end.tokens
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}

    def _ours(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.started
        return {"seed": self.end.seed, "seconds": seconds, "first_token_seconds": self.first_token}


def event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def error_body(error: UserError, code: str = "invalid_request") -> dict[str, Any]:
    ours = {"kind": type(error).__name__, **error.to_dict()}
    return {"error": {"message": str(error), "type": "invalid_request_error", "code": code, "knowlm": ours}}


def read_error(body: Any) -> UserError | None:
    """The UserError in an error of ours; None for anyone else's."""
    ours = body["error"].get("knowlm") if isinstance(body, dict) and isinstance(body.get("error"), dict) else None
    if not isinstance(ours, dict) or "problem" not in ours:
        return None
    return _KINDS.get(ours.get("kind", ""), UserError).from_dict(ours)
