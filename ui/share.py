"""`python -m ui.share`: the shared page's process, told what to do by `python -m core share` (core/serve/share.py)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core import settings
from core.errors import UserError
from core.serve import lifetime
from core.serve.guard import Hosts
from core.serve.share import ADDRESS, PUBLIC, ShareRequest
from core.serve.upstream import Upstream

GRACE = 1
LARGEST = 2 << 20
"""Bytes of a request beyond those of the longest text: a conversation comes with each of its messages."""
_ends: list[Callable[[], None]] = []
"""How to end in order, once the page is being served."""


def main() -> None:
    say = _speaker()
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True, name="stdin").start()
    try:
        with tempfile.TemporaryDirectory(prefix="knowlm-share-") as scratch:
            # set before Gradio is imported: it reads them then
            os.environ |= {"GRADIO_TEMP_DIR": scratch, "GRADIO_ANALYTICS_ENABLED": "False"}
            _share(ShareRequest(**told["request"]), told["login"], told["password"], say)
    except UserError as error:
        say(error=error.to_dict())
    os._exit(0)  # all is put away; threads of Gradio's MCP client would hold the process back


def _share(request: ShareRequest, login: bool, password: str, say: Callable[..., None]) -> None:
    from ui.sharing.room import Room

    def log(line: str) -> None:
        say(log=line)

    with contextlib.ExitStack() as ending:
        listening = ending.enter_context(lifetime.listening(request.host, request.port))
        ref = request.model or settings.read().default_model
        upstream = Upstream(ref, engine=request.engine, name=request.name, log=log)
        upstream.open()
        ending.callback(upstream.close)
        room = Room(upstream, request, log)
        port = listening.getsockname()[1]
        door = _door(room, login, password, port, log)

        def opened() -> None:
            address = lifetime.address(request.host, port)
            say(log=f"{ADDRESS}{address}", address=address)
            log(f"it shares {upstream.model.title}, licence: {upstream.model.card.license or 'not declared'}")
            if request.tunnel:
                log(f"{PUBLIC}{_tunnel(door, port)}")

        lifetime.serve(door, listening, room.desk.close, lifespan="on", grace=GRACE, opened=opened, ends=_ends)
        say(requests=room.requests, tokens=room.tokens)


def _door(room: Any, login: bool, password: str, port: int, log: Callable[[str], None]) -> Any:
    import fastapi
    import gradio as gr

    from ui.sharing.door import Door
    from ui.sharing.login import login_page
    from ui.sharing.page import page
    from ui.sharing.visitors import Checker
    from ui.sharing.words import Labels

    wanted, model = room.wanted, room.upstream.model
    labels = Labels(wanted.language)
    blocks = page(room, labels)
    blocks.queue(max_size=None, default_concurrency_limit=None, api_open=False)  # the room has the places and the queue
    app = gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        "/",
        auth_dependency=_name_of,
        allowed_paths=[],
        blocked_paths=[str(Path("/").resolve())],
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        run_history=False,
        footer_links=["api"],
        mcp_server=wanted.mcp,
        i18n=gr.I18n(**labels.tables),
    )
    hosts = Hosts(wanted.host, wanted.allow_host)
    largest = LARGEST + 16 * wanted.characters
    door = Door(app, hosts, needed=login, largest=largest, checker=Checker(password), log=log)
    door.show_login = partial(login_page, language=wanted.language, title=model.title, licence=model.card.license)
    if blocks.mcp_server_obj is not None:
        _as_we_need_it(blocks.mcp_server_obj, _own_client(door, wanted.host, port))
    return door


def _as_we_need_it(mcp: Any, client: Callable[[], Any]) -> None:
    """Gradio's MCP server with our client, and with records as JSON instead of Python's way to print them."""
    mcp._get_or_create_client = client
    shown = mcp.postprocess_output_data

    def as_json(data: Any, root: str) -> Any:
        return shown(
            [json.dumps(one, ensure_ascii=False) if isinstance(one, dict | list) else one for one in data], root
        )

    mcp.postprocess_output_data = as_json


def _name_of(request: Any) -> str:
    from core.serve.guard import WHO

    return request.scope[WHO].shown


def _own_client(door: Any, host: str, port: int) -> Callable[[], Any]:
    """Gradio's MCP server calls its own page over HTTP as a stranger; this lets it in."""
    lock = threading.Lock()
    made: list[Any] = []

    def client() -> Any:
        from gradio_client import Client

        from ui.sharing.visitors import Sealed, Visitor

        with lock:
            if not made:
                everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the address to reach ourselves at
                seal = door.sealed.write(Visitor("mcp"))
                # token False: the owner's Hugging Face token, if one is saved here, stays where it is
                options: dict[str, Any] = {"headers": {Sealed.OWN.decode(): seal}, "token": False}
                options |= {"httpx_kwargs": {"trust_env": False}}
                made.append(
                    Client(
                        lifetime.address(everywhere.get(host, host), port), verbose=False, download_files=False,
                        analytics_enabled=False, _skip_components=False, **options,
                    )
                )  # fmt: skip
            return made[0]

    return client


def _end_with_stdin() -> None:
    """Whoever started us closes it, or is gone: an end while Gradio is still being imported is one at once."""
    sys.stdin.read()
    if not _ends:
        os._exit(0)
    for end in _ends:
        end()


def _tunnel(door: Any, port: int) -> str:
    """A public address through Gradio's servers. Only where it was asked for."""
    from gradio.networking import setup_tunnel

    try:
        address = setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except Exception as error:  # noqa: BLE001 - whatever it was, the page itself goes on
        return f"none: the tunnel could not be opened ({error})"
    door.answer_to(urlsplit(address).hostname or "")
    return address.replace("http://", "https://", 1)


def _speaker() -> Callable[..., None]:
    """Lines of JSON to who started us. What libraries print goes to stderr instead."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lock = threading.Lock()

    def say(**what: Any) -> None:
        with lock, contextlib.suppress(BrokenPipeError):
            out.write(json.dumps(what) + "\n")
            out.flush()

    return say


if __name__ == "__main__":
    main()
