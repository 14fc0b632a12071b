"""An OpenAI-compatible server that answers at once and costs next to nothing: `python -m benchmarks._instant_stub`.

Prints its port. Reads requests off the sockets with as little as it takes, so that a benchmark measures who asks.
The answer names the text's first word as a person.
"""

from __future__ import annotations

import asyncio
import json

TYPE = b"Content-Type: application/json\r\n"
MODELS = json.dumps({"data": [{"id": "stub"}]}).encode()
BEFORE, BEHIND = b"\\nText: ", b"\\nAnswer:"
"""Around the text in a studio prompt, as JSON writes it."""
ANSWER = (
    b'{"choices": [{"finish_reason": "stop", "text": "person: %s", "message": {"role": "assistant",'
    b' "content": "person: %s"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}'
)


class Stub(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"post"):
            text = body.rsplit(BEFORE, 1)[-1].split(BEHIND, 1)[0]
            word = text.split(b" ", 1)[0]
            made = ANSWER % (word, word)
        else:
            made = MODELS if b"/v1/models" in head else b"{}"
        self._transport.write(b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: %d\r\n\r\n" % len(made) + made)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
