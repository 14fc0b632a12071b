"""What every server of ours for other people does around its work: listen, end on a signal, unload what it loaded."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from core import models
from core.errors import UserError
from core.inference import client

GRACE = 3
"""Seconds that answers under way have to end once the server is told to."""


def serve(
    app: Any,
    listening: socket.socket,
    end_work: Callable[[], None],
    *,
    lifespan: Literal["on", "off"] = "off",
    grace: int = GRACE,
    opened: Callable[[], None] | None = None,
    ends: list[Callable[[], None]] | None = None,
) -> None:
    """Serve an ASGI application until Ctrl-C, TERM, or one of `ends` is called, which gets the way to end it.

    `end_work` ends what is computed for callers; `opened` runs in a thread of its own once it is served.
    """
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # `ended_by_signals` does, and ends the model's work with it

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started and opened is not None:
                threading.Thread(target=opened, daemon=True, name="opened").start()

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan=lifespan,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=grace,
        timeout_keep_alive=30,
        limit_concurrency=512,
    )
    server = Server(config)

    def end() -> None:
        server.force_exit = server.should_exit  # asked twice: at once
        server.should_exit = True
        end_work()

    if ends is not None:
        ends.append(end)
    with ended_by_signals(end):
        server.run(sockets=[listening])


@contextlib.contextmanager
def ended_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and TERM call `end`. Who listened for them before (a job's worker) hears of them afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []

    def hear(number: int, frame: Any) -> None:
        heard.append(number)
        end()

    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in dict.fromkeys(heard):
        handler = before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, None)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket there. Raises UserError if the address or the port can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        raise UserError(
            "The server can't listen on {host}:{port}: {why}.",
            remedy="Choose another port with --port, or an address of this machine with --host.",
            host=host,
            port=port,
            why=getattr(error, "strerror", None) or error,
        ) from error
    with made:
        yield made


@contextlib.contextmanager
def unloaded_at_the_end(model: models.Model) -> Iterator[None]:
    """What was loaded only for the server is unloaded with it, unless somebody uses it by then."""
    local = model.format != "remote"
    before = client.status() if local else None
    try:
        yield
    finally:
        if before is not None and not (before.state in ("ready", "loading") and before.model == model.ref):
            until = time.monotonic() + GRACE  # what our callers asked is only just being stopped
            while (now := client.status()).busy and time.monotonic() < until:
                time.sleep(0.1)
            if now.model == model.ref and now.state in ("ready", "loading") and not now.busy:
                if before.state == "ready" and before.pid == now.pid:  # our adapter had joined what was there
                    client.load(before.model)
                else:
                    client.unload()


def address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
