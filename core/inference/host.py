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
from dataclasses import asdict, fields, replace
from typing import Any

from filelock import FileLock, Timeout

from core.errors import UserError
from core.inference import state
from core.inference.adapters import base_folder, based
from core.inference.api import Service, application
from core.inference.engine import Loaded, Options, choose
from core.models import Model, resolve

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
    asked = {name: value for name, value in asdict(_asked(options)).items() if value}
    record = state.Record(
        os.getpid(), options.start, options.ref, options=asked, purpose=options.purpose, oom_kills=state.oom_kills()
    )
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
    asked = _asked(options)
    model = based(resolve(options.ref), asked)
    name, engine, loaded, why = _loaded(model, options, asked)
    secret = secrets.token_urlsafe(32)
    state.write_token(secret)
    door = socket.create_server(("127.0.0.1", 0))
    folder = base_folder(model, asked) if engine.can.adapters else None
    record = replace(
        record,
        address=f"http://127.0.0.1:{door.getsockname()[1]}",
        engine=name,
        why_engine=why,
        base=str(folder or ""),
    )
    service = Service(engine, model, loaded, secret)
    record = _told(record, service)
    service.on_adapted = lambda: state.write(_told(record, service))
    with _until_stopped(service, options.idle):
        _run(service, door, record)
    engine.unload()


def _loaded(model: Model, options: argparse.Namespace, asked: Options) -> tuple[str, Any, Loaded, str]:
    """(engine's name, engine, what came of it, why this one): the usual one where the one for many texts can't."""
    named = options.engine or None
    name, make, why = choose(model, named, asked, options.purpose)
    usual = choose(model, named, asked)
    started = time.monotonic()
    engine = make()
    try:
        loaded = engine.load(model, asked)
    except UserError as error:
        if usual[0] == name:
            raise
        print(f"{name} can't: {error}", flush=True)
        name, make, why = usual
        engine = make()
        loaded = engine.load(model, asked)
    print(f"loaded {model.ref} with {name} in {time.monotonic() - started:.1f} s", flush=True)
    return name, engine, loaded, why


def _told(record: state.Record, service: Service) -> state.Record:
    """The record with what the service says of itself now."""
    return replace(
        record,
        ref=service.model.ref,
        title=service.model.title,
        can={**asdict(service.engine.can), "device": service.loaded.device},
        context=service.loaded.context,
        parallel=service.loaded.parallel,
        facts=[asdict(fact) for fact in service.loaded.facts],
        answers=[service.model.ref, *service.others],
    )


def _asked(options: argparse.Namespace) -> Options:
    return Options(**{option.name: getattr(options, option.name) for option in fields(Options)})


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
    parser.add_argument("--purpose", choices=("chat", "batch"), default="chat")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds; 0: never")
    for option in fields(Options):
        parser.add_argument(f"--{option.name}", type=type(option.default), default=option.default)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
