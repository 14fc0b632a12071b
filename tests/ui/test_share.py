"""The shared page as the process it is, asked with Gradio's own client and by plain HTTP; its model is a stub."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError, AuthenticationError

from core import paths, settings
from core.errors import UserError
from core.serve import share_password, tokens
from core.serve.share import ADDRESS, ShareRequest, needs_login
from tests.core import serve_stub
from ui.sharing import results, types
from ui.sharing.visitors import TRIES, Checker, Sealed, Visitor, Visits
from ui.sharing.words import Words

PASSWORD = "correct horse battery"
PEOPLE = '{"entities": [{"name": "person", "description": "a human being"}]}'
JSON_RPC = {"accept": "application/json, text/event-stream"}


@dataclass
class Shared:
    process: subprocess.Popen
    url: str
    home: Path
    stub: serve_stub.Server

    def client(self, secret: str = PASSWORD) -> Client:
        options: Any = {"verbose": False, "download_files": False, "analytics_enabled": False}
        return Client(self.url, auth=("visitor", secret), httpx_kwargs={"timeout": 60}, **options)

    def http(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=60)

    def mcp(self, method: str, **params: Any) -> httpx.Response:
        with self.http(authorization=f"Bearer {PASSWORD}", **JSON_RPC) as http:
            return http.post("/gradio_api/mcp/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """`python -m core share` with a password in the environment and a token for Ada, two requests at once a visitor."""
    home = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWLM_STUDIO_HOME", str(home))
        patch.setenv("TOKEN", tokens.add("Ada", per_minute=2, per_day=0))
        environment = {**os.environ, share_password.VARIABLE: PASSWORD, "PYTHONUNBUFFERED": "1"}
        with serve_stub.running() as stub:
            words = [
                "--model",
                stub.ref,
                "--port",
                "0",
                "--per-minute",
                "100",
                "--per-visitor",
                "2",
                "--characters",
                "500",
            ]
            command = [sys.executable, "-m", "core", "share", *words]
            pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            with subprocess.Popen(command, cwd=paths.PROJECT, env=environment, text=True, **pipes) as process:
                lines = []
                for line in process.stdout or ():
                    lines.append(line)
                    if ADDRESS in line:
                        break
                assert lines and ADDRESS in lines[-1], "".join(lines)
                try:
                    yield Shared(process, lines[-1].partition(ADDRESS)[2].strip(), home, stub)
                finally:
                    process.kill()


def test_a_stranger_is_shown_the_login_and_nothing_else(shared: Shared) -> None:
    with shared.http() as http:
        page = http.get("/", headers={"accept": "text/html", "accept-language": "zh-CN,zh;q=0.9"})
        assert page.status_code == 401 and "密码或令牌" in page.text and "<script" not in page.text
        for path in ("/config", "/gradio_api/info", "/gradio_api/mcp/schema", "/gradio_api/queue/data?session_hash=x"):
            assert http.get(path).status_code == 401, path
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert http.post("/gradio_api/mcp/", json=call, headers=JSON_RPC).status_code == 401
        forged = {**JSON_RPC, Sealed.HEADER.decode(): Sealed().write(Visitor("mcp"))}
        assert http.post("/gradio_api/mcp/", json=call, headers=forged).status_code == 401
    with pytest.raises(AuthenticationError):
        shared.client("wrong horse")


def test_other_hosts_and_other_sites_are_refused(shared: Shared) -> None:
    with shared.http(authorization=f"Bearer {PASSWORD}") as http:
        assert http.get("/config").status_code == 200
        assert http.get("/config", headers={"host": "evil.example"}).status_code == 403
        assert http.get("/config", headers={"origin": "http://evil.example"}).status_code == 403


def test_no_file_of_this_machine_can_be_read_and_none_be_left(shared: Shared) -> None:
    with shared.http(authorization=f"Bearer {PASSWORD}") as http:
        page = http.get("/")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for path in ("/gradio_api/file=/etc/hostname", "/file=/etc/hostname", "/gradio_api/proxy=http://x.hf.space/",
                     "/monitoring", "/gradio_api/runs", "/gradio_api/dev/reload", "/static/..%2f..%2fcli"):  # fmt: skip
            assert http.get(path).status_code in (403, 404), path
        assert http.post("/gradio_api/upload", files={"files": b"x"}).status_code == 404
        assert http.post("/gradio_api/call/chat", content=iter([b"{}"])).status_code == 411
        assert http.post("/gradio_api/call/chat", content=b"x" * (4 << 20)).status_code == 413


def test_gradios_client_chats_and_extracts_with_codepoint_offsets(shared: Shared) -> None:
    library = shared.client()
    job = library.submit("hello 😀 𠮷", api_name="/chat")
    assert job.result(30) == "You said: hello 😀 𠮷 "
    text = "  𠮷 was seen. Ada Lovelace wrote."
    found = library.predict(text, PEOPLE, "ner", api_name="/extract")
    [entity] = found["entities"]
    assert (entity["text"], text[entity["start"] : entity["end"]]) == ("Ada", "Ada")
    assert "general-news-zh" in library.predict(api_name="/schemas")
    with pytest.raises(AppError, match="no ready-made schema"):
        library.predict("Ada", "/etc/hostname", "", api_name="/extract")
    with pytest.raises(AppError, match="too long: 501 characters, of at most 500"):
        library.predict("a" * 501, api_name="/chat")


def test_cancelling_ends_the_computation(shared: Shared) -> None:
    shared.stub.left.clear()
    job = shared.client().submit("SLOW", api_name="/chat")
    until = time.monotonic() + 20
    while not job.outputs() and time.monotonic() < until:
        time.sleep(0.05)
    job.cancel()
    assert shared.stub.left.wait(8)


def test_who_leaves_ends_the_computation(shared: Shared) -> None:
    shared.stub.left.clear()
    with shared.http(authorization=f"Bearer {PASSWORD}") as http:
        number = http.post("/gradio_api/call/chat", json={"data": ["SLOW", "", 0, 50]}).json()["event_id"]
        with http.stream("GET", f"/gradio_api/call/chat/{number}") as answer:
            assert "word" in next(line for line in answer.iter_lines() if line.startswith("data: "))
    assert shared.stub.left.wait(8)  # of the ten seconds that it would take


def test_a_visitor_has_so_many_requests_and_no_more(shared: Shared) -> None:
    library = shared.client()
    slow = [library.submit("SLOW", api_name="/chat") for _ in range(2)]
    until = time.monotonic() + 20
    while not all(job.outputs() for job in slow) and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(AppError, match="2 requests waiting or running"):
        library.predict("hello", api_name="/chat")
    for job in slow:
        job.cancel()
    named = shared.client(os.environ["TOKEN"])  # another person, with a limit of her own
    assert [named.predict("a", api_name="/chat") for _ in range(2)] == ["You said: a "] * 2
    with pytest.raises(AppError, match="2 times a minute"):
        named.predict("a", api_name="/chat")
    tokens.revoke("Ada")
    with pytest.raises(httpx.HTTPStatusError):
        named.predict("a", api_name="/chat")


def test_mcp_lists_and_calls_the_same_functions(shared: Shared) -> None:
    answer = shared.mcp("tools/list")
    assert answer.status_code == 200, answer.text
    tools = {tool["name"]: tool for tool in _event(answer)["result"]["tools"]}
    assert set(tools) == {"extract", "chat", "schemas"}
    assert "codepoints" in tools["extract"]["description"]
    assert tools["extract"]["inputSchema"]["properties"]["text"]["description"] == "The text to read."
    called = _event(shared.mcp("tools/call", name="extract", arguments={"text": "Ada wrote.", "schema": PEOPLE}))
    assert json.loads(called["result"]["content"][0]["text"])["entities"][0]["text"] == "Ada"


def _event(answer: httpx.Response) -> dict[str, Any]:
    return json.loads(next(line for line in answer.text.splitlines() if line.startswith("data: "))[6:])


def test_beyond_this_machine_it_needs_a_password_or_a_token(workspace: Path) -> None:
    assert needs_login(ShareRequest()) is False
    for beyond in ({"host": "0.0.0.0"}, {"allow_host": ("kg.example",)}, {"tunnel": True}):  # noqa: S104
        with pytest.raises(UserError, match="only with a password or a token"):
            needs_login(ShareRequest(**beyond))
    share_password.keep(PASSWORD)
    assert needs_login(ShareRequest(tunnel=True)) is True
    settings.write(settings.Settings(offline=True))
    with pytest.raises(UserError, match="offline"):
        needs_login(ShareRequest(tunnel=True))


def test_only_a_hash_of_the_password_is_kept(workspace: Path) -> None:
    with pytest.raises(UserError, match="too short"):
        share_password.keep("short")
    share_password.keep(PASSWORD)
    file = workspace / "share.json"
    assert PASSWORD not in file.read_text() and file.stat().st_mode & 0o077 == 0
    assert share_password.matches(PASSWORD, share_password.stored())
    assert not share_password.matches(PASSWORD + " ", share_password.stored())
    assert not share_password.matches(PASSWORD, "") and not share_password.matches("", share_password.stored())
    share_password.forget()
    assert share_password.stored() == "" and not share_password.is_set()


def test_who_guesses_has_to_wait_and_the_right_password_is_found_without_cost(workspace: Path) -> None:
    now = 0.0
    checker = Checker(share_password.hashed(PASSWORD), clock=lambda: now)
    assert checker.visitor("here", PASSWORD) == Visitor("here")
    for _ in range(TRIES):
        assert checker.visitor("there", "wrong") is None
    with pytest.raises(UserError, match="Too many wrong passwords"):
        checker.visitor("there", "another")
    assert checker.visitor("here", PASSWORD)
    now = 61.0
    assert checker.visitor("there", "wrong") is None


def test_without_a_token_an_address_has_the_pages_limit(workspace: Path) -> None:
    visits = Visits(per_minute=2, at_once=1)
    for _ in range(2):
        with visits.visit(Visitor("here")), contextlib.suppress(UserError), visits.visit(Visitor("here")):
            pytest.fail("two at once")
    with pytest.raises(UserError, match="2 times a minute here"), visits.visit(Visitor("here")):
        pass
    with visits.visit(Visitor("elsewhere")):
        assert visits.here == {"elsewhere": 1}


def test_types_are_read_from_lines() -> None:
    assert types.schema_of("person: a human: being\n\n 人物：真实的人 ", "ner")["entities"] == [
        {"name": "person", "description": "a human: being"},
        {"name": "人物", "description": "真实的人"},
    ]
    [works] = types.schema_of("works for (person → organisation): is paid", "re")["relations"]
    assert works == {"name": "works for", "description": "is paid", "head": "person", "tail": "organisation"}
    [attack] = types.schema_of("attack (attacker, target)", "ee")["events"]
    assert attack["roles"] == ["attacker", "target"]
    with pytest.raises(UserError, match="is no type"):
        types.schema_of(": nothing", "ner")


def test_spans_that_overlap_are_coloured_once_and_the_text_stays_whole() -> None:
    text = "𠮷 Ada Lovelace wrote."
    span = {"text": "Ada Lovelace", "start": 2, "end": 14}
    inner = {"text": "Ada", "start": 2, "end": 5, "type": "name"}
    lost = {"text": "Bob", "start": None, "end": None, "type": "person"}
    found: dict[str, Any] = {"text": text, "entities": [inner, span | {"type": "person"}, lost], "relations": [],
                             "events": []}  # fmt: skip
    pieces, colours = results.marked(found)
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece in pieces if piece[1]] == [("Ada Lovelace", "person")] and set(colours) == {"person"}
    assert [row[2] for row in results.tables(found, Words("zh"))[0].rows] == ["2–5", "2–14", "–"]
