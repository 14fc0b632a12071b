"""A loopback OpenAI-compatible server that answers at once, in its own process, and logs every prompt it was sent.

`python -m tests.core.extract_stub LOG` prints its port. The answer names the text's first capitalised
word as a person; a text with BROKEN in it gets an error 500, one with PROSE an answer in no format,
one with SLOW waits half a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


class Stub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log = Path("stub.log")

    def do_GET(self) -> None:
        self._send({"data": [{"id": "stub"}]} if self.path == "/v1/models" else {}, 200)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        text = prompt.rsplit("\nText: ", 1)[-1].split("\nAnswer:")[0]
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(text) + "\n")
        if "SLOW" in text:
            time.sleep(0.5)
        if "BROKEN" in text:
            self._send({"error": {"message": "the stub was told to fail"}}, 500)
            return
        word = next((word.strip(".,") for word in text.split() if word[:1].isupper()), "")
        answer = "I am a language model." if "PROSE" in text else f"person: {word}" if word else "none"
        choice = {"finish_reason": "stop", "text": answer, "message": {"role": "assistant", "content": answer}}
        self._send({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}, 200)

    def _send(self, body: dict, status: int) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def running(log: Path) -> Iterator[str]:
    """A stub process; yields its model reference."""
    command = [sys.executable, "-m", "tests.core.extract_stub", str(log)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}  # killed clients make it complain
    with subprocess.Popen(command, cwd=PROJECT, text=True, **pipes) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1#stub"
        finally:
            process.kill()


def asked(log: Path) -> list[str]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def main() -> None:
    Stub.log = Path(sys.argv[1])
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 64
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
