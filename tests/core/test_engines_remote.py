"""The remote engine against servers that misbehave, each a real one on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core import settings
from core.errors import UserError
from core.inference import client
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Options
from core.inference.engines import remote
from core.models import resolve

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test's functions say, by path; counts what came."""

    def handle_any(self) -> None:
        self.server.seen.append((self.path, dict(self.headers), self._body()))  # type: ignore[attr-defined]
        behaviour: dict[str, Behaviour] = self.server.behaviour  # type: ignore[attr-defined]
        behaviour.get(self.path, lambda handler: handler.say(404, "{}"))(self)

    do_GET = do_POST = handle_any

    def say(self, status: int, body: str, kind: str = "application/json", **headers: str) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content_Type": kind, "Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def stream(self, *events: str) -> None:
        """Events, then the connection is closed."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(event.encode())
            self.wfile.flush()
        self.close_connection = True

    def _body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        return json.loads(self.rfile.read(length)) if length else None

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server(workspace: object) -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.seen = []
    made.behaviour = {"/v1/models": models("small", "large")}
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    made.url = f"http://127.0.0.1:{made.server_address[1]}/v1"
    yield made
    made.shutdown()
    made.server_close()


def models(*names: str) -> Behaviour:
    listed = json.dumps({"data": [{"id": name, "max_model_len": 4096} for name in names]})
    return lambda handler: handler.say(200, listed)


def completion(text: str = "fine", **more: Any) -> str:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    return json.dumps({"choices": [{"text": text, "finish_reason": "stop"}], "usage": usage, **more})


def opened(server: Any, *, ref: str = "", **options: Any) -> remote.Engine:
    engine = remote.Engine(**options)
    engine.load(resolve(ref or server.url), Options())
    return engine


ASK = Generation(Decoding(max_tokens=5, top_k=3, seed=1), "hello", (), None, ("\n",))


def asked_bodies(server: Any) -> list[dict]:
    return [body for path, _headers, body in server.seen if path.endswith("completions")]


def test_a_plain_server_gets_plain_openai_fields(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, completion())
    opened(server).answer(ASK)
    assert asked_bodies(server) == [
        {
            "model": "small",
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 5,
            "seed": 1,
            "stop": ["\n"],
            "prompt": "hello",
        }
    ]


def test_the_model_after_the_hash_is_asked_for(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, completion())
    opened(server, ref=f"{server.url}#large").answer(ASK)
    assert asked_bodies(server)[0]["model"] == "large"
    with pytest.raises(UserError, match=r"huge.*It serves: small, large"):
        opened(server, ref=f"{server.url}#huge")


@pytest.mark.parametrize(
    ("page", "content", "field"),
    [
        ("/props", {"default_generation_settings": {}}, "grammar"),
        ("/version", {"version": "0.10.2"}, "guided_grammar"),
        ("/version", {"version": "0.19.0"}, "structured_outputs"),
    ],
)
def test_a_known_server_gets_the_grammar_where_it_reads_it(server: Any, page: str, content: dict, field: str) -> None:
    server.behaviour |= {
        page: lambda handler: handler.say(200, json.dumps(content)),
        "/v1/completions": lambda handler: handler.say(200, completion()),
    }
    engine = opened(server)
    assert engine.can.grammar
    engine.answer(Generation(Decoding(), "x", (), 'root ::= "a"'))
    sent = asked_bodies(server)[0][field]
    assert sent in ('root ::= "a"', {"grammar": 'root ::= "a"'})


def test_an_unknown_server_is_not_said_to_keep_a_grammar(server: Any) -> None:
    engine = opened(server)
    assert not engine.can.grammar
    with pytest.raises(UserError, match="grammar"):
        engine.answer(Generation(Decoding(), "x", (), 'root ::= "a"'))


def test_a_busy_server_is_asked_again_after_the_time_it_names(server: Any) -> None:
    def busy_twice(handler: Handler) -> None:
        if len(asked_bodies(server)) < 3:
            handler.say(429 if len(asked_bodies(server)) == 1 else 503, "{}", Retry_After="0")
        else:
            handler.say(200, completion("at last"))

    server.behaviour["/v1/completions"] = busy_twice
    assert opened(server).answer(ASK)["choices"][0]["text"] == "at last"


def test_a_server_that_stays_busy_is_given_up_in_words(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(429, "{}", Retry_After="0")
    with pytest.raises(UserError, match="429"):
        opened(server, tries=3).answer(ASK)
    assert len(asked_bodies(server)) == 3


def test_stopping_ends_the_waiting_for_a_busy_server(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(503, "{}", Retry_After="20")
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    pieces = list(opened(server).generate(ASK, stop))
    assert [piece.finish for piece in pieces] == ["cancelled"]
    assert time.monotonic() - began < 5


def test_a_wrong_key_is_named_and_never_shown(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWLM_API_KEY", "secret-of-mine")
    server.behaviour["/v1/models"] = lambda handler: handler.say(401, '{"error": {"message": "bad key"}}')
    with pytest.raises(UserError, match="refuses the key") as refused:
        opened(server)
    assert "secret-of-mine" not in str(refused.value)
    assert server.seen[0][1]["Authorization"] == "Bearer secret-of-mine"


def test_the_key_is_read_from_the_variable_that_settings_name(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVERS_KEY", "from-settings")
    endpoint = settings.Endpoint(name="mine", url=server.url, key_env="MY_SERVERS_KEY")
    settings.write(settings.Settings(endpoints=(endpoint,)))
    opened(server)
    assert server.seen[0][1]["Authorization"] == "Bearer from-settings"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html>login</html>", "text/html"),
        ("[1, 2]", "application/json"),
        ("[" * 100_000, "application/json"),
        ("", ""),
    ],
)
def test_what_is_no_answer_is_refused_in_words(server: Any, body: str, kind: str) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, body, kind)
    engine = opened(server)
    with pytest.raises(UserError, match="not an answer"):
        engine.answer(ASK)
    with pytest.raises(UserError, match="not an answer"):
        list(engine.generate(ASK, threading.Event()))


@pytest.mark.parametrize(
    "body", ['{"choices": []}', '{"choices": [{}]}', "{}", '{"choices": [{"text": null}]}', '{"a": 1}']
)
def test_an_answer_without_text_is_no_crash(server: Any, body: str) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, body)
    connected = client.connect(server.url)
    try:
        assert connected.complete("x", Decoding()).text == ""
    except UserError as error:
        assert "without a text" in str(error)


@pytest.mark.parametrize(
    "events",
    [
        ('data: {"choices": [{"text": "half"}]}\n\n',),
        ('data: {"choices": [{"te',),
        ("data: nonsense\n\n",),
        (),
    ],
)
def test_half_an_answer_is_an_error(server: Any, events: tuple[str, ...]) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(*events)
    with pytest.raises(UserError):
        list(opened(server).generate(ASK, threading.Event()))


def test_a_body_shorter_than_announced_is_an_error(server: Any) -> None:
    def short(handler: Handler) -> None:
        handler.say(200, completion(), Content_Length="9999")
        handler.close_connection = True

    server.behaviour["/v1/completions"] = short
    with pytest.raises(UserError, match="broke off"):
        opened(server, silence=2).answer(ASK)


def test_an_error_in_the_middle_of_a_stream_is_raised(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(
        'data: {"choices": [{"text": "so far"}]}\n\n', 'data: {"error": {"message": "out of memory"}}\n\n'
    )
    with pytest.raises(UserError, match="out of memory"):
        list(opened(server).generate(ASK, threading.Event()))


def test_a_stream_is_read_whole(server: Any) -> None:
    events = [
        f"data: {json.dumps({'choices': [{'text': text}]}, ensure_ascii=False)}\n\n" for text in ("a", "😀", "𠮷")
    ]
    end = 'data: {"choices": [{"text": "", "finish_reason": "length"}], "usage": {"prompt_tokens": 2, '
    end += '"completion_tokens": 9}}\n\n'
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(
        ": hello\n\n", *events, end, "data: [DONE]\n\n"
    )
    pieces = list(opened(server).generate(ASK, threading.Event()))
    assert "".join(piece.text for piece in pieces) == "a😀𠮷"
    assert (pieces[-1].finish, pieces[-1].tokens, pieces[-1].prompt_tokens) == ("length", 9, 2)


def test_a_server_that_hangs_is_given_up(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: time.sleep(30)
    began = time.monotonic()
    with pytest.raises(UserError, match="does not answer"):
        opened(server, silence=0.5).answer(ASK)
    assert time.monotonic() - began < 10


def test_nobody_there_is_an_error_with_a_remedy(workspace: object) -> None:
    with pytest.raises(UserError, match="does not answer"):
        remote.Engine(tries=1).load(resolve("http://127.0.0.1:9/v1"), Options())


def test_offline_means_that_only_this_machine_is_asked(workspace: object) -> None:
    settings.write(settings.Settings(offline=True))
    with pytest.raises(UserError, match="offline"):
        remote.Engine(tries=1).load(resolve("http://model.example/v1"), Options())


def test_a_redirect_is_not_followed_with_the_key(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWLM_API_KEY", "secret-of-mine")
    server.behaviour["/v1/models"] = lambda handler: handler.say(302, "", Location="/elsewhere")
    with pytest.raises(UserError, match="302"):
        opened(server)
    assert "/elsewhere" not in [path for path, _headers, _body in server.seen]


def test_a_remote_reference_needs_no_host(server: Any) -> None:
    server.behaviour["/v1/chat/completions"] = lambda handler: handler.say(
        200, '{"choices": [{"message": {"content": "hi"}, "finish_reason": "length"}]}'
    )
    connected = client.connect(server.url)
    answer = connected.chat([{"role": "user", "content": "hello"}], Decoding())
    assert (answer.text, answer.finish, connected.context) == ("hi", "length", 4096)
    assert client.status().state == "empty"
