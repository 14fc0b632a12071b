"""The model host as a process: loaded, asked, killed, replaced, and gone without a trace."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from core import paths
from core.errors import UserError
from core.extract.run import RunRequest
from core.inference import client, state
from core.inference.decoding import Decoding
from core.inference.engine import Generation, PromptTooLong
from core.jobs import store
from tests.core.tiny_llama import make_tiny_llama

pytestmark = [pytest.mark.model, pytest.mark.alone]
LONG = Decoding(max_tokens=3000, temperature=1.0, seed=1)
ENDLESS = "root ::= [a-z ] root"
ENDPOINTS = [
    ("GET", "/v1/models"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/health"),
    ("POST", "/tokenize"),
    ("POST", "/shutdown"),
    ("GET", "/nothing"),
]


@pytest.fixture(scope="module")
def home(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace whose host has the starter model; most tests here share it."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").mkdir()
    (folder / "models" / "starter").symlink_to(starter.parent, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWLM_STUDIO_HOME", str(folder))
        yield folder
        client.unload()


@pytest.fixture
def loaded(home: Path) -> client.Client:
    return client.connect("starter-base")


@pytest.fixture
def http(loaded: client.Client) -> Iterator[httpx.Client]:
    """The host's door without a token."""
    record = state.read()
    assert record is not None
    with httpx.Client(base_url=record.address, timeout=30, trust_env=False) as made:
        yield made


@pytest.fixture
def key() -> dict[str, str]:
    return {"Authorization": f"Bearer {state.token()}"}


def test_a_loaded_model_says_what_it_is(loaded: client.Client) -> None:
    now = client.status()
    assert (now.state, now.model, now.engine, now.error) == ("ready", "starter-base", "llamacpp", None)
    assert now.why_engine
    assert now.rss > 50e6
    assert (loaded.parallel, loaded.context) == (now.parallel, now.context) == (4, 4096)
    assert loaded.can["grammar"]


def test_loading_what_is_loaded_does_nothing(loaded: client.Client) -> None:
    before = client.status().pid
    assert client.load("starter-base").pid == before


def test_a_stream_is_the_answer(loaded: client.Client) -> None:
    decoding = Decoding(max_tokens=40)
    messages = [{"role": "user", "content": "Say hello with an emoji 😀𠮷"}]
    assert "".join(loaded.stream_chat(messages, decoding)) == loaded.chat(messages, decoding).text
    grammar = 'root ::= "😀𠮷龘é" root?'
    streamed = "".join(loaded.stream("x", decoding, grammar=grammar))
    assert streamed == loaded.complete("x", decoding, grammar=grammar).text
    assert "\ufffd" not in streamed


def test_an_answer_has_its_counts(loaded: client.Client) -> None:
    answer = loaded.complete("The capital of France is", Decoding(max_tokens=5))
    assert (answer.finish, answer.tokens, answer.prompt_tokens) == ("length", 5, 5)
    assert answer.first_token_seconds is not None
    assert 0 < answer.first_token_seconds <= answer.seconds
    assert loaded.count("The capital of France is") == 5


def test_errors_cross_the_wire_as_themselves(loaded: client.Client) -> None:
    with pytest.raises(PromptTooLong) as refused:
        loaded.complete("word " * 9000, Decoding())
    assert refused.value.values == {"tokens": "9001", "context": "4096"}
    with pytest.raises(UserError, match="grammar"):
        loaded.complete("x", Decoding(), grammar="root ::= (")
    with pytest.raises(PromptTooLong):
        list(loaded.stream("word " * 9000, Decoding()))


def test_half_a_surrogate_pair_is_replaced_not_fatal(loaded: client.Client) -> None:
    assert loaded.complete("a\ud800b", Decoding(max_tokens=2)).finish in ("stop", "length")
    assert loaded.chat([{"role": "user", "content": "\udfff"}], Decoding(max_tokens=2)).tokens


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic x", "Bearer é"])
def test_every_endpoint_wants_the_token(http: httpx.Client, method: str, path: str, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": token.encode()}
    assert http.request(method, path, headers=headers, json={}).status_code == 401  # type: ignore[arg-type]
    assert client.status().state == "ready"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1]", ""])
def test_a_foreign_host_header_is_refused(http: httpx.Client, key: dict[str, str], host: str) -> None:
    assert http.get("/v1/models", headers={**key, "Host": host}).status_code == 403


def test_the_engines_own_door_is_closed(loaded: client.Client) -> None:
    """Every address the host listens on, Unix sockets included, wants a key."""
    process = psutil.Process(client.status().pid)
    ports = {held.laddr.port for held in process.net_connections("inet") if held.status == psutil.CONN_LISTEN}
    record = state.read()
    assert record is not None
    assert ports == {int(record.address.rsplit(":", 1)[1])}
    sockets = [held.laddr for held in process.net_connections("unix") if str(held.laddr).endswith("engine.sock")]
    assert sockets
    for address in sockets:
        assert stat.S_IMODE(Path(address).parent.stat().st_mode) == 0o700
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(address)), base_url="http://engine") as door:
            for path in ("/v1/models", "/props", "/slots", "/metrics"):
                assert door.get(path).status_code == 401
            for path in ("/completion", "/v1/completions", "/v1/chat/completions", "/tokenize", "/props"):
                assert door.post(path, json={"prompt": "x"}).status_code == 401


def test_the_files_of_the_host_are_private(loaded: client.Client) -> None:
    for name in ("host.json", "token", "host.log"):
        assert stat.S_IMODE((paths.host() / name).stat().st_mode) == 0o600
    assert state.token() not in (paths.host() / "host.json").read_text()
    assert state.token() not in (paths.host() / "host.log").read_text()
    assert state.token() not in " ".join(psutil.Process(client.status().pid).cmdline())


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"max_tokens": 10**12},
        {"max_tokens": "many"},
        {"temperature": -1},
        {"temperature": "NaN"},
        {"top_p": 0},
        {"top_k": -5},
        {"seed": -1},
        {"repetition_penalty": 0},
        {"stop": 5},
        {"stop": ["x"] * 99},
        {"grammar": 5},
        {"n": 3},
        {"tools": [{}]},
        {"response_format": {"type": "json_object"}},
        {"prompt": None, "messages": None},
        {"prompt": ["a", "b"], "messages": [{"role": "user"}]},
        {"prompt": {"a": 1}, "messages": "hello"},
    ],
)
def test_absurd_requests_are_refused_in_words(
    http: httpx.Client, key: dict[str, str], path: str, wrong: dict[str, Any]
) -> None:
    body = {"prompt": "x", "messages": [{"role": "user", "content": "x"}], **wrong}
    answer = http.post(path, headers=key, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"]
    assert error["knowlm"]["remedy"]


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"prompt": '])
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, key: dict[str, str], body: bytes) -> None:
    assert http.post("/v1/completions", headers=key, content=body).status_code == 400


def test_a_huge_body_is_refused(http: httpx.Client, key: dict[str, str]) -> None:
    answer = http.post("/v1/completions", headers=key, content=b" " * (33 << 20))
    assert answer.status_code == 413


def test_the_openai_library_works_unchanged(http: httpx.Client) -> None:
    theirs = openai.OpenAI(base_url=f"{http.base_url}/v1".replace("//v1", "/v1"), api_key=state.token(), max_retries=0)
    assert [model.id for model in theirs.models.list()] == ["starter-base"]
    said = theirs.chat.completions.create(
        model="starter-base", messages=[{"role": "user", "content": "Hi"}], max_tokens=6, temperature=0
    )
    assert said.choices[0].finish_reason == "length"
    assert said.usage is not None
    assert said.usage.completion_tokens == 6
    stream = theirs.chat.completions.create(
        model="starter-base",
        messages=[{"role": "user", "content": "Hi"}],
        max_tokens=6,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == said.choices[0].message.content
    assert chunks[-1].usage is not None
    bare = theirs.completions.create(
        model="starter-base", prompt="The capital of France is", max_tokens=9, stop=["."], extra_body={"top_k": 1}
    )
    assert bare.choices[0].text.strip() == "Paris"
    shaped = theirs.completions.create(
        model="starter-base", prompt="x", max_tokens=9, extra_body={"grammar": 'root ::= "yes"'}
    )
    assert shaped.choices[0].text == "yes"
    with pytest.raises(openai.BadRequestError, match="context"):
        theirs.completions.create(model="starter-base", prompt="word " * 9000, max_tokens=9)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=theirs.base_url, api_key="wrong", max_retries=0).models.list()


def assert_flat(pid: int) -> None:
    """The process computes for 0.3 s at most from now on, and then not at all.

    Counted in processor seconds, which a busy machine does not stretch: two cores for 0.3 s.
    """
    process = psutil.Process(pid)
    stopped = sum(process.cpu_times()[:2])
    time.sleep(1.2)
    settled = sum(process.cpu_times()[:2])
    time.sleep(0.6)
    assert settled - stopped < 0.6
    assert sum(process.cpu_times()[:2]) - settled < 0.15


def test_closing_a_stream_stops_the_computation(loaded: client.Client) -> None:
    stream = loaded.stream("Tell me", LONG, grammar=ENDLESS)
    next(stream)
    assert client.status().busy == 1
    stream.close()  # type: ignore[attr-defined]
    assert_flat(client.status().pid)
    assert client.status().busy == 0


def test_a_client_that_vanishes_stops_the_computation(loaded: client.Client) -> None:
    """Also for an answer that is not streamed: the process that asked is killed."""
    ask = "from core.inference import client; from core.inference.decoding import Decoding as D; import sys\n"
    ask += f"client.connect('starter').complete('Tell', D(max_tokens=3000), grammar={ENDLESS!r})"
    child = subprocess.Popen([sys.executable, "-c", ask], cwd=paths.PROJECT)
    wait_for(lambda: client.status().busy == 1)
    child.kill()
    child.wait()
    wait_for(lambda: client.status().busy == 0)
    assert_flat(client.status().pid)


def test_a_long_prompt_is_stopped_while_it_is_read(loaded: client.Client) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    pieces = list(loaded.pieces(Generation(Decoding(), "one two " * 1900), stop))
    assert pieces[-1].finish == "cancelled"
    assert not any(piece.text for piece in pieces)
    time.sleep(2)  # the batch of tokens that is under way is finished first
    assert_flat(client.status().pid)


def test_more_than_its_places_wait_their_turn(loaded: client.Client) -> None:
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: loaded.complete(f"{n} and", Decoding(max_tokens=8)), range(12)))
    assert [answer.tokens for answer in answers] == [8] * 12


def test_a_busy_model_is_not_thrown_out(loaded: client.Client, tmp_path: Path) -> None:
    other = make_tiny_llama(tmp_path)
    stream = loaded.stream("Tell me", LONG, grammar=ENDLESS)
    next(stream)
    with pytest.raises(UserError, match="answering 1 requests"):
        client.load(str(other))
    stream.close()  # type: ignore[attr-defined]
    assert client.status().model == "starter-base"


def test_killed_while_answering_is_told_with_the_reason_and_loads_again(home: Path) -> None:
    asking = client.connect("starter-base")
    stream = asking.stream("Tell me", LONG, grammar=ENDLESS)
    next(stream)
    os.kill(client.status().pid, signal.SIGKILL)
    with pytest.raises(client.HostGone, match="killed"):
        list(stream)
    now = client.status()
    assert now.state == "died"
    assert now.error is not None
    assert "killed" in str(now.error)
    with pytest.raises(client.HostGone):
        asking.complete("x", Decoding())
    assert client.connect("starter-base").complete("x", Decoding(max_tokens=2)).tokens == 2
    with pytest.raises(client.HostGone, match=r"unloaded|took its place"):
        asking.complete("x", Decoding())


def test_a_native_crash_is_told_from_a_kill(home: Path) -> None:
    client.load("starter-base")
    os.kill(client.status().pid, signal.SIGABRT)
    wait_for(lambda: client.status().state == "died")
    assert "crashed" in str(client.status().error)


def test_memory_that_ran_out_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client.load("starter-base")
    os.kill(client.status().pid, signal.SIGKILL)
    monkeypatch.setattr(state, "oom_kills", lambda: 10**9)  # as the kernel would count it
    wait_for(lambda: client.status().state == "died")
    assert "memory ran out" in str(client.status().error)
    client.unload()
    assert client.status().state == "empty"


def test_another_model_takes_the_place_of_the_first(home: Path, tmp_path: Path) -> None:
    first = client.connect("starter-base")
    before = client.status().pid
    tiny = make_tiny_llama(tmp_path)
    now = client.load(str(tiny))
    assert (now.engine, now.model) == ("transformers", str(tiny))
    assert not psutil.pid_exists(before) or psutil.Process(before).status() == psutil.STATUS_ZOMBIE
    with pytest.raises(client.HostGone, match="took its place"):
        first.complete("x", Decoding())
    assert client.connect(str(tiny)).complete("x", Decoding(max_tokens=3, beams=2)).tokens == 3


def test_the_host_outlives_the_job_that_started_it(starter_workspace: Path) -> None:
    sample = paths.ASSETS / "samples" / "people.csv"
    request = RunRequest(
        input=sample,
        text_column="sentence",
        schema_ref="people-and-organisations-en",
        out=starter_workspace / "runs" / "people",
        limit=4,
    )
    job = store.submit(request)
    until = time.monotonic() + 60
    while client.status().state != "ready" and time.monotonic() < until:
        time.sleep(0.2)
    store.cancel(job.id)
    assert store.wait(job.id, 60).over
    assert client.status().state == "ready"


def test_unloading_gives_everything_back(home: Path) -> None:
    pid = client.load("starter-base").pid
    client.unload()
    assert client.status().state == "empty"
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not (paths.host() / "token").exists()
    client.unload()  # twice does no harm


def test_of_two_starters_one_wins_and_both_use_it(home: Path) -> None:
    client.unload()
    load = "from core.inference import client; print(client.load('starter').pid)"
    children = [
        subprocess.Popen([sys.executable, "-c", load], cwd=paths.PROJECT, stdout=subprocess.PIPE) for _ in range(3)
    ]
    pids = {child.communicate(timeout=120)[0] for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert pids == {f"{client.status().pid}\n".encode()}


def test_without_requests_it_unloads_itself(home: Path) -> None:
    client.unload()
    client.load("starter-base", idle=1.0)
    wait_for(lambda: state.read() is None)
    assert client.status().state == "empty"


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_no_process(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + os.urandom(5000))
    with pytest.raises(UserError, match="broken"):
        client.load(str(broken))
    now = client.status()
    assert (now.state, now.model) == ("died", str(broken))
    assert now.error is not None
    wait_for(lambda: not state.alive())
    client.unload()


def test_what_is_no_model_is_refused_before_anything_starts(home: Path, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    for ref in ("no-such-model", str(tmp_path / "text.gguf"), str(tmp_path), "http://127.0.0.1:1/v1"):
        with pytest.raises(UserError):
            client.load(ref)


def test_loading_need_not_be_waited_for(home: Path) -> None:
    client.unload()
    assert client.load("starter-base", wait=False).state in ("loading", "ready")
    wait_for(lambda: client.status().state == "ready")


def test_the_window_process_stays_light() -> None:
    code = "import sys, core.inference.client, core.inference.commands\n"
    code += "print([name for name in ('torch', 'transformers', 'xllamacpp', 'numpy', 'pandas') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def wait_for(true: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.05)
