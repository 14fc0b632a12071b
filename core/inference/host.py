"""`python -m core.inference.host REF`: one process, one model, one engine, served on loopback until unloaded.

Unloading is ending this process, so that all its memory comes back. It ends itself after `--idle`
seconds without a request.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import asdict, replace

from filelock import FileLock, Timeout

from core.errors import UserError
from core.inference import state
from core.inference.api import Service, application
from core.inference.engine import Options, choose
from core.models import resolve

IDLE_SECONDS = 15 * 60
LOCK_PATIENCE = 10


def main(argv: list[str]) -> None:
    """Never returns: the lock must not be free before the memory is, and only the kernel frees both in that order."""
    options = _arguments(argv)
    faulthandler.enable()  # a native crash leaves its name in the log
    lock = FileLock(state.lock_file())
    code = 1
    try:
        lock.acquire(timeout=LOCK_PATIENCE)
        code = _serve_one(options)
    except Timeout:
        print("another host holds the lock", file=sys.stderr)
    except Exception:  # noqa: BLE001 - it is in end.json already; here it goes into the log
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve_one(options: argparse.Namespace) -> int:
    record = state.Record(os.getpid(), options.start, options.ref, oom_kills=state.oom_kills())
    state.write(record)
    try:
        _serve(options, record)
    except UserError as error:
        state.write_end(error)
        return 1
    except Exception as error:
        state.write_end(
            UserError(
                "The model's process failed: {why}",
                remedy="Its log, host/host.log in the workspace, says more. Try another engine or another file.",
                why=f"{type(error).__name__}: {error}",
            )
        )
        raise
    state.clear()
    return 0


def _serve(options: argparse.Namespace, record: state.Record) -> None:
    model = resolve(options.ref)
    name, make, why = choose(model, options.engine or None)
    engine = make()
    started = time.monotonic()
    loaded = engine.load(model, Options(options.context, options.parallel, options.threads, options.device))
    print(f"loaded {model.ref} with {name} in {time.monotonic() - started:.1f} s", flush=True)
    secret = secrets.token_urlsafe(32)
    state.write_token(secret)
    door = socket.create_server(("127.0.0.1", 0))
    record = replace(
        record,
        address=f"http://127.0.0.1:{door.getsockname()[1]}",
        title=model.title,
        engine=name,
        why_engine=why,
        can={**asdict(engine.can), "device": loaded.device},
        context=loaded.context,
        parallel=loaded.parallel,
    )
    service = Service(engine, model, loaded, secret)
    with _until_stopped(service, options.idle):
        _run(service, door, record)
    engine.unload()


def _run(service: Service, door: socket.socket, record: state.Record) -> None:
    import uvicorn

    config = uvicorn.Config(
        application(service),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
        server_header=False,
    )
    server = uvicorn.Server(config)
    service.on_shutdown = lambda: setattr(server, "should_exit", True)
    state.write(record)  # the address goes last: its presence means ready
    server.run(sockets=[door])


@contextlib.contextmanager
def _until_stopped(service: Service, idle: float):
    """Watch for idleness, and make SIGTERM an orderly end."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(min(5, max(0.2, idle / 4))):
            if service.idle_for() > idle:
                print(f"unloaded after {idle:g} s without a request", flush=True)
                service.shut_down()

    signal.signal(signal.SIGTERM, lambda *_: service.shut_down())
    if idle > 0:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m core.inference.host")
    parser.add_argument("ref")
    parser.add_argument("--engine", default="")
    parser.add_argument("--start", default="")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds; 0: never")
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
