"""The server for others, as the process it is, asked with OpenAI's own library; its model is a stub on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from core import paths
from core.inference import client
from core.inference.decoding import Decoding
from core.serve import tokens
from tests.core import serve_stub

HELLO: Any = [{"role": "user", "content": "hello 😀 𠮷"}]
SLOW: Any = [{"role": "user", "content": "SLOW"}]
SAID = "You said: hello 😀 𠮷 "
PEOPLE = {"entities": [{"name": "person", "description": "a human being"}]}


@dataclass
class Served:
    process: subprocess.Popen
    url: str
    home: Path
    stub: serve_stub.Server

    def library(self, key: str = "none", **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=30, **options)

    def http(self, **headers: str) -> httpx.Client:
        root = self.url.removesuffix("/v1")
        return httpx.Client(base_url=root, headers=headers, trust_env=False, timeout=30)


@contextmanager
def serving(home: Path, *words: str) -> Iterator[Served]:
    """`python -m core serve` with the stub, in a workspace of its own."""
    with serve_stub.running() as stub, started(home, "--model", stub.ref, *words) as (process, url):
        yield Served(process, url, home, stub)


@contextmanager
def started(home: Path, *words: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """`python -m core serve`, once it says where."""
    environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "core", "serve", "--port", "0", *words]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=paths.PROJECT, env=environment, text=True, **pipes) as process:
        line = process.stderr.readline()
        assert line.startswith("serving "), line + process.stderr.read()
        try:
            yield process, next(word.rstrip(",") for word in line.split() if word.startswith("http"))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """On loopback, without a token."""
    with serving(tmp_path_factory.mktemp("opened"), "--body-limit", "1") as served:
        yield served


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For those with a token, behind a proxy named kg.example."""
    home = tmp_path_factory.mktemp("closed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWLM_STUDIO_HOME", str(home))
        tokens.add("first", per_minute=0, per_day=0)
    with serving(home, "--allow-host", "kg.example") as served:
        yield served


@pytest.fixture
def theirs(closed: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The closed one, with this test's process in its workspace."""
    monkeypatch.setenv("KNOWLM_STUDIO_HOME", str(closed.home))
    return closed


def test_openais_library_chats_streams_and_completes(opened: Served) -> None:
    library = opened.library()
    assert [model.id for model in library.models.list()] == ["stub"]
    assert library.models.retrieve("stub").id == "stub"
    answer = library.chat.completions.create(model="stub", messages=HELLO, temperature=0.3, max_tokens=50, seed=7)
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_tokens == 13
    assert {"temperature": 0.3, "max_tokens": 50, "seed": 7}.items() <= opened.stub.asked[-1].items()
    stream = library.chat.completions.create(
        model="stub", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 4
    assert library.completions.create(model="stub", prompt="hello").choices[0].text == "You said: hello "
    texts = [chunk.choices[0].text for chunk in library.completions.create(model="stub", prompt="a b", stream=True)]
    assert "".join(texts) == "You said: a b "


def test_what_is_wrong_has_openais_errors(opened: Served) -> None:
    library = opened.library()
    with pytest.raises(openai.NotFoundError, match="not served here"):
        library.chat.completions.create(model="gpt-9", messages=HELLO)
    with pytest.raises(openai.NotFoundError, match="not served here"):
        library.models.retrieve("starter/hf")
    with pytest.raises(openai.NotFoundError, match="nothing at"):
        library.embeddings.create(model="stub", input="x")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        library.chat.completions.create(model="stub", messages=HELLO, temperature=99)
    with pytest.raises(openai.BadRequestError, match="not supported"):
        library.chat.completions.create(model="stub", messages=HELLO, n=3)
    for stream in (False, True):  # a stream that fails at once has an error's status too
        with pytest.raises(openai.InternalServerError, match="told to fail") as failed:
            library.chat.completions.create(
                model="stub", messages=[{"role": "user", "content": "BROKEN"}], stream=stream
            )
        assert failed.value.status_code == 502
        assert opened.stub.ref.split("#")[0] not in str(failed.value.body)
    assert library.chat.completions.create(model="stub", messages=HELLO).choices[0].message.content == SAID


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"messages": 5}'])
def test_a_body_that_is_no_request_is_refused_in_words(opened: Served, body: bytes) -> None:
    with opened.http() as http:
        answer = http.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_body_has_a_largest_size_also_in_chunks(opened: Served) -> None:
    body = json.dumps({"prompt": "x" * (2 << 20)}).encode()
    with opened.http() as http:
        assert http.post("/v1/completions", content=body).status_code == 413
        pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
        with contextlib.suppress(httpx.WriteError):  # it may answer and close while we still send
            assert http.post("/v1/completions", content=pieces).status_code == 413
        assert http.get("/v1/models").status_code == 200


def test_a_caller_who_leaves_ends_the_computation(opened: Served) -> None:
    opened.stub.left.clear()
    with opened.library().chat.completions.create(model="stub", messages=SLOW, stream=True) as stream:
        next(iter(stream))
    assert opened.stub.left.wait(3)
    opened.stub.left.clear()
    with pytest.raises(openai.APITimeoutError):
        opened.library().with_options(timeout=0.5).chat.completions.create(model="stub", messages=SLOW)
    assert opened.stub.left.wait(3)


def test_records_come_with_offsets_into_the_text(opened: Served) -> None:
    with opened.http() as http:
        text = "  𠮷 was seen. Ada Lovelace wrote."
        answer = http.post("/v1/extract", json={"text": text, "schema": PEOPLE, "tasks": "ner"})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        [entity] = body["entities"]
        assert (
            (entity["type"], text[entity["start"] : entity["end"]]) == ("person", entity["text"]) == ("person", "Ada")
        )
        assert body["usage"]["total_tokens"] == 13
        assert body["provenance"]["model"] == body["model"] == "stub"
        ready = http.post("/v1/extract", json={"text": text, "schema": "general-news-en", "tasks": ["ner"]})
        assert ready.json()["entities"] == body["entities"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"schema": PEOPLE}, "text"),
        ({"text": "Ada"}, "schema"),
        ({"text": " ", "schema": PEOPLE}, "no text"),
        ({"text": "Ada", "schema": "../../pyproject.toml"}, "no ready-made schema"),
        ({"text": "Ada", "schema": "/etc/hostname"}, "no ready-made schema"),
        ({"text": "Ada", "schema": []}, "no types"),
        ({"text": "Ada", "schema": {"entities": [{}]}}, "not well-formed"),
        ({"text": "Ada", "schema": PEOPLE, "tasks": ["re"]}, "no types for the task"),
        ({"text": "Ada", "schema": PEOPLE, "tasks": ["sing"]}, "tasks"),
        ({"text": "Ada", "schema": PEOPLE, "colour": 1}, "colour"),
        ({"text": "Ada", "schema": PEOPLE, "dialect": "klingon"}, "no dialect"),
        ({"text": "Ada", "schema": PEOPLE, "model": "other"}, "not served here"),
    ],
)
def test_a_wrong_extraction_is_refused_in_words(opened: Served, body: dict, says: str) -> None:
    with opened.http() as http:
        answer = http.post("/v1/extract", json=body)
    assert answer.status_code in (400, 404)
    assert says in answer.json()["error"]["message"]


def test_an_answer_that_is_not_understood_is_not_called_empty(opened: Served) -> None:
    with opened.http() as http:
        answer = http.post("/v1/extract", json={"text": "Ada PROSE", "schema": PEOPLE})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "answer_not_understood")
        assert http.post("/v1/extract", json={"text": "nobody here", "schema": PEOPLE}).json()["entities"] == []


def test_the_licence_is_shown(opened: Served) -> None:
    with opened.http() as http:
        assert "Licence: not declared" in http.get("/").text
        assert http.get("/v1/models").json()["data"][0]["license"] == ""


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.7", "a b", "user@localhost", ""])
def test_a_foreign_host_header_is_refused(opened: Served, host: str) -> None:
    with opened.http(Host=host) as http:
        assert http.get("/v1/models").status_code in (400, 403)


def test_pages_of_other_sites_are_not_answered(opened: Served) -> None:
    with opened.http(Origin="https://evil.example") as http:
        answer = http.post("/v1/completions", json={"prompt": "x"})
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "access-control-allow-origin" not in http.options("/v1/completions").headers
    with opened.http(Origin=opened.url.removesuffix("/v1")) as http:
        assert http.get("/v1/models").status_code == 200


def test_a_token_is_needed_where_there_are_any(theirs: Served) -> None:
    with pytest.raises(openai.AuthenticationError, match="token"):
        theirs.library("wrong").models.list()
    with theirs.http() as http:
        for method, path in [("GET", "/v1/models"), ("POST", "/v1/extract"), ("GET", "/health"), ("GET", "/nothing")]:
            assert http.request(method, path, json={}).status_code == 401
        assert http.get("/").status_code == 200
    secret = tokens.add("second", per_minute=0, per_day=0)
    assert theirs.library(secret).models.list()
    assert tokens.revoke("second").name == "second"
    with pytest.raises(openai.AuthenticationError):  # without a restart
        theirs.library(secret).models.list()


def test_the_door_does_not_open_when_the_last_token_is_revoked(theirs: Served) -> None:
    for token in tokens.every():
        tokens.revoke(token.name)
    with pytest.raises(openai.AuthenticationError):
        theirs.library("x").models.list()


def test_a_proxys_name_is_answered(theirs: Served) -> None:
    secret = tokens.add("proxy", per_minute=0, per_day=0)
    for host, status in (("kg.example", 200), ("kg.example:443", 200), ("other.example", 403)):
        with theirs.http(Host=host, Authorization=f"Bearer {secret}") as http:
            assert http.get("/v1/models").status_code == status


def test_requests_a_minute_are_limited_for_each_token(theirs: Served) -> None:
    library = theirs.library(tokens.add("hasty", per_minute=2, per_day=0))
    for _ in range(2):
        library.chat.completions.create(model="stub", messages=HELLO)
    with pytest.raises(openai.RateLimitError, match="2 times a minute") as refused:
        library.chat.completions.create(model="stub", messages=HELLO)
    assert 50 <= int(refused.value.response.headers["retry-after"]) <= 60
    calm = theirs.library(tokens.add("calm", per_minute=2, per_day=0))
    assert calm.chat.completions.create(model="stub", messages=HELLO).choices


def test_tokens_a_day_are_limited_and_counted(theirs: Served) -> None:
    library = theirs.library(tokens.add("greedy", per_minute=0, per_day=20))
    library.chat.completions.create(model="stub", messages=HELLO)
    list(library.chat.completions.create(model="stub", messages=HELLO, stream=True))
    greedy = next(token for token in tokens.every() if token.name == "greedy")
    assert (greedy.tokens_today, greedy.requests_today) == (26, 2)
    with pytest.raises(openai.RateLimitError, match="a day") as refused:
        library.chat.completions.create(model="stub", messages=HELLO)
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 86_400


def test_requests_side_by_side_dont_pass_a_days_limit_together(theirs: Served) -> None:
    library = theirs.library(tokens.add("parallel", per_minute=0, per_day=100))
    with library.chat.completions.create(model="stub", messages=SLOW, stream=True, max_tokens=200) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError):
            library.chat.completions.create(model="stub", messages=HELLO)
    until = time.monotonic() + 10
    while not (used := next(t for t in tokens.every() if t.name == "parallel").tokens_today):
        assert time.monotonic() < until, "a caller who left was not charged"
        time.sleep(0.05)
    assert used < 50


def test_the_app_uses_it_as_any_server_with_a_key(theirs: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWLM_API_KEY", tokens.add("app", per_minute=0, per_day=0))
    connected = client.connect(f"{theirs.url}#stub")
    assert connected.chat(HELLO, Decoding()).text == SAID
    assert "".join(connected.stream("a b", Decoding())) == "You said: a b "
    assert connected.can["grammar"] is False  # the stub's, handed on


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_order_also_in_the_middle_of_an_answer(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as served:
        with served.library().chat.completions.create(model="stub", messages=SLOW, stream=True) as stream:
            next(iter(stream))
            served.process.send_signal(number)
            list(stream)  # it comes to an end, not to a broken connection
        out, errors = served.process.communicate(timeout=10)
        assert served.process.returncode == 0, errors
        assert out.startswith("served 1 requests")
        assert "Traceback" not in errors
        assert served.stub.left.wait(3)


def test_a_request_that_stalls_does_not_keep_others_waiting(opened: Served) -> None:
    host, port = opened.url.removeprefix("http://").removesuffix("/v1").split(":")
    stalled = http.client.HTTPConnection(host, int(port), timeout=5)
    stalled.putrequest("POST", "/v1/completions")
    stalled.putheader("Content-Length", "100")
    stalled.endheaders(b"{")
    assert opened.library().models.list().data
    stalled.close()


def core(home: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(home)}
    command = [sys.executable, "-m", "core", *words]
    return subprocess.run(
        command, cwd=paths.PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("words", [["--host", "0.0.0.0"], ["--host", "::"], ["--allow-host", "kg.example"]])  # noqa: S104
def test_beyond_loopback_it_does_not_start_without_a_token(tmp_path: Path, words: list[str]) -> None:
    refused = core(tmp_path, "serve", "--model", "http://127.0.0.1:9/v1#m", *words)
    assert refused.returncode == 1
    assert "serve tokens add" in refused.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = core(tmp_path, "serve", "--model", "http://127.0.0.1:9/v1#m", "--port", port)
    assert refused.returncode == 1
    assert "can't listen" in refused.stderr
