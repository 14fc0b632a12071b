"""A loopback OpenAI-compatible server whose answers are known, streamed or whole; it notes what it was asked.

It says “You said: …” word by word. A text with SLOW in it gets a hundred words, one each tenth of a second; one with
BROKEN an error 500; an extraction prompt the first capitalised word of its text as a person.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self._send({"data": [{"id": "stub", "max_model_len": 4096}]} if self.path == "/v1/models" else {}, 200)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        said = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        if "BROKEN" in said:
            self._send({"error": {"message": "the stub was told to fail"}}, 500)
            return
        words = _answer(said)
        if body.get("stream"):
            self._stream(words, slow="SLOW" in said, chat="messages" in body)
            return
        text = "".join(words)
        choice = {"finish_reason": "stop", "text": text, "message": {"role": "assistant", "content": text}}
        self._send({"choices": [choice], "usage": USAGE}, 200)

    def _stream(self, words: list[str], *, slow: bool, chat: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for word in words:
                self._event({"choices": [{"delta": {"content": word}} if chat else {"text": word}]})
                time.sleep(0.1 if slow else 0)
            self._event({"choices": [{"delta": {}, "text": "", "finish_reason": "stop"}]})
            self._event({"choices": [], "usage": USAGE})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.server.left.set()

    def _event(self, data: dict) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _send(self, body: dict, status: int) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None: ...


def _answer(said: str) -> list[str]:
    if "\nText: " in said:
        text = said.rsplit("\nText: ", 1)[1].split("\nAnswer:")[0]
        if "PROSE" in text:
            return ["I am a language model."]
        word = next((word.strip(".,") for word in text.split() if word[:1].isupper()), "")
        return [f"person: {word}" if word else "none"]
    return ["word "] * 100 if "SLOW" in said else ["You said: ", *(f"{word} " for word in said.split())]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict] = []
        self.left = threading.Event()
        """Set when a caller went away in the middle of an answer."""

    @property
    def ref(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1#stub"

    def handle_error(self, *_: Any) -> None: ...


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
